"""Where the objects of an embedded scene stand, and which of their pixels are visible.

Coordinates are pixels of a canvas that is :data:`SUPERSAMPLING` times finer than the image.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray
from numpy.random import Generator

from sapnet.data.scene_shapes import CLASSES, Role, bar, box, disc, draw_parts, oval

SUPERSAMPLING = 3
_MAX_OBJECTS = 6
_LEAST_VISIBLE = 0.6
_LEAST_PIXELS = 90
_SUBPIXEL_BITS = 4


@dataclass(frozen=True)
class PlacedPart:
    """One piece to paint."""

    outline: Float[ndarray, "v 2"]
    color: Float[ndarray, " 3"]
    """RGB in [0, 1]."""
    texture: int
    """Seed of its texture."""


@dataclass(frozen=True)
class PlacedObject:
    """One object with its parts from back to front."""

    label: int
    parts: tuple[PlacedPart, ...]


@dataclass
class Layout:
    """Everything of a scene that is painted over the background, from back to front."""

    size: tuple[int, int]
    """(height, width) of the image in pixels; the canvas is finer."""
    clutter: list[PlacedPart] = field(default_factory=list)
    objects: list[PlacedObject] = field(default_factory=list)
    occluders: list[PlacedPart] = field(default_factory=list)

    def part_map(self) -> UInt8[ndarray, "H W"]:
        """Return which part shows at each canvas pixel, counted from 1 over all objects; 0: none."""
        canvas = np.zeros([side * SUPERSAMPLING for side in self.size], dtype=np.uint8)
        value = 0
        for item in self.objects:
            for part in item.parts:
                value += 1
                fill(canvas, part.outline, value)
        for part in self.occluders:
            fill(canvas, part.outline, 0)
        return canvas

    def part_owner(self) -> ndarray:
        """Return the index of the object of each value of :meth:`part_map`; -1 for the value 0."""
        owners = [index for index, item in enumerate(self.objects) for _ in item.parts]
        return np.array([-1, *owners])


def fill(canvas: ndarray, outline: Float[ndarray, "v 2"], value: int) -> None:
    """Fill a polygon in place, with edges at a sixteenth of a canvas pixel."""
    # A vertex (x, y) is a position; OpenCV counts from pixel centres.
    vertices = np.round((outline - 0.5) * 2**_SUBPIXEL_BITS).astype(np.int32)
    cv2.fillPoly(canvas, [vertices], value, shift=_SUBPIXEL_BITS)


def draw_layout(size: tuple[int, int], rng: Generator) -> Layout:
    """Draw a scene: two to six objects, often neighbours of one class that touch.

    Every object shows most of itself and some ninety pixels.

    Args:
        size: ``(height, width)`` of the image.
        rng: The generator of the scene.
    """
    palette = draw_palette(rng)
    layout = Layout(size)
    wanted = int(rng.integers(2, _MAX_OBJECTS + 1))
    for _ in range(200):
        if len(layout.objects) >= wanted:
            break
        room = wanted - len(layout.objects)
        group = _draw_group(layout, min(room, int(rng.choice([1, 2, 3], p=[0.35, 0.4, 0.25]))), palette, rng)
        trial = Layout(size, objects=[*layout.objects, *group])
        if _all_visible(trial):
            layout = trial
    layout.clutter = [_draw_piece(size, palette, rng) for _ in range(int(rng.integers(6, 14)))]
    for _ in range(int(rng.integers(0, 4))):
        trial = Layout(
            size, layout.clutter, layout.objects, [*layout.occluders, _draw_piece(size, palette, rng)]
        )
        if _all_visible(trial):
            layout = trial
    return layout


def draw_palette(rng: Generator) -> Float[ndarray, "8 3"]:
    """Return eight colours around the colour wheel, from which a whole scene is painted."""
    hue = (np.arange(8) / 8 + rng.uniform(0, 1) + rng.uniform(-0.03, 0.03, 8)) % 1
    saturation, value = rng.uniform(0.4, 0.85, 8), rng.uniform(0.35, 0.95, 8)
    hsv = np.stack([hue * 360, saturation, value], axis=-1).astype(np.float32)
    return cv2.cvtColor(hsv[None], cv2.COLOR_HSV2RGB)[0].astype(np.float64)


def _draw_group(layout: Layout, count: int, palette: ndarray, rng: Generator) -> list[PlacedObject]:
    """Draw neighbours of one class side by side, close enough to touch, much alike in colour."""
    height, width = (side * SUPERSAMPLING for side in layout.size)
    label = int(rng.integers(len(CLASSES)))
    scale = height * np.exp(rng.uniform(np.log(0.2), np.log(0.5)))
    own = palette[rng.choice(len(palette), 3, replace=False)]
    center = np.array([rng.uniform(0.08, 0.92) * width, rng.uniform(0.25, 0.85) * height])
    group: list[PlacedObject] = []
    right = 0.0
    for number in range(count):
        colors = dict(zip(("body", "limb", "head"), own, strict=True))
        if rng.random() < 0.35:
            colors["limb" if rng.random() < 0.5 else "head"] = palette[rng.integers(len(palette))]
        parts = _pose(label, scale * rng.uniform(0.9, 1.1), rng)
        left = min(outline[:, 0].min() for outline, _ in parts)
        span = max(outline[:, 0].max() for outline, _ in parts) - left
        if number:
            center = np.array([right - span * rng.uniform(0.08, 0.25) - left, center[1]])
            center[1] += scale * rng.uniform(-0.08, 0.08)
        right = center[0] + left + span
        group.append(_place(label, parts, center, colors, rng))
    return group


def _pose(label: int, scale: float, rng: Generator) -> list[tuple[ndarray, Role]]:
    """Return the outlines of an object in canvas pixels around the origin, mirrored and turned."""
    angle = np.deg2rad(rng.uniform(-14, 14))
    mirror = rng.choice([-1.0, 1.0])
    stretch = rng.uniform(0.88, 1.12)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = scale * turn @ np.diag([mirror * stretch, 1.0])
    return [(part.outline @ matrix.T, part.role) for part in draw_parts(CLASSES[label], rng)]


def _place(
    label: int,
    parts: list[tuple[ndarray, Role]],
    center: ndarray,
    colors: dict[str, ndarray],
    rng: Generator,
) -> PlacedObject:
    placed = []
    for outline, role in parts:
        color = np.clip(colors[role] * rng.uniform(0.88, 1.12) + rng.uniform(-0.04, 0.04, 3), 0.03, 1)
        placed.append(PlacedPart(outline + center, color, int(rng.integers(2**31))))
    return PlacedObject(label, tuple(placed))


def _draw_piece(size: tuple[int, int], palette: ndarray, rng: Generator) -> PlacedPart:
    """Draw a loose part: the same shapes and colours as those of the objects."""
    height, width = (side * SUPERSAMPLING for side in size)
    scale = height * np.exp(rng.uniform(np.log(0.06), np.log(0.3)))
    shape = [
        disc(0, 0, 0.4),
        oval(0, 0, 0.6, 0.3),
        box(0, 0, 0.9, 0.5, rng.uniform(0, 0.4)),
        bar(-0.6, 0, 0.6, 0, rng.uniform(0.12, 0.25)),
        np.array([[-0.5, 0.3], [0.5, 0.3], [rng.uniform(-0.4, 0.4), -0.4]]),
    ][rng.integers(5)]
    angle = rng.uniform(0, 2 * np.pi)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    outline = scale * shape @ turn.T + rng.uniform(0, 1, 2) * [width, height]
    color = np.clip(palette[rng.integers(len(palette))] + rng.uniform(-0.08, 0.08, 3), 0.03, 1)
    return PlacedPart(outline, color, int(rng.integers(2**31)))


def _all_visible(layout: Layout) -> bool:
    """Tell whether every object shows enough of itself, inside the image and unhidden."""
    visible = np.bincount(layout.part_map().ravel(), minlength=256)
    owners = layout.part_owner()
    for index, item in enumerate(layout.objects):
        outlines = np.concatenate([part.outline for part in item.parts])
        low = np.floor(outlines.min(axis=0)) - 1
        alone = np.zeros(np.ceil(outlines.max(axis=0) - low).astype(int)[::-1] + 2, dtype=np.uint8)
        for part in item.parts:
            fill(alone, part.outline - low, 1)
        shown = visible[: len(owners)][owners == index].sum()
        if shown < max(_LEAST_VISIBLE * alone.sum(), _LEAST_PIXELS * SUPERSAMPLING**2):
            return False
    return True
