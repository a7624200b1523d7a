"""Painting an embedded scene: textured ground, shaded parts, shadows, light and noise.

Colours are RGB in [0, 1]; the canvas is :data:`~sapnet.data.scene_layout.SUPERSAMPLING` times finer
than the image.
"""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray
from numpy.random import Generator

from sapnet.data.scene_layout import SUPERSAMPLING, Layout, PlacedPart, draw_palette, fill


def paint(layout: Layout, rng: Generator) -> UInt8[ndarray, "H W 3"]:
    """Paint a layout.

    Args:
        layout: What to paint, back to front.
        rng: Draws background, light and noise.

    Returns:
        RGB image of ``layout.size``.
    """
    fine = (layout.size[1] * SUPERSAMPLING, layout.size[0] * SUPERSAMPLING)
    # Ground and light have no sharp edges that matter, so they are made at the image's own size.
    canvas = cv2.resize(_background(layout.size, rng), fine, interpolation=cv2.INTER_LINEAR)
    light = rng.uniform(0, 2 * np.pi)
    for piece in layout.clutter:
        _paint_part(canvas, piece, light)
    for item in layout.objects:
        if rng.random() < 0.7:
            _shadow(canvas, np.concatenate([part.outline for part in item.parts]), rng)
        for part in item.parts:
            _paint_part(canvas, part, light)
    for piece in layout.occluders:
        _paint_part(canvas, piece, light)
    small = cv2.resize(canvas, layout.size[::-1], interpolation=cv2.INTER_AREA)
    return _camera(small * _lighting(layout.size, light, rng), rng)


def smooth_noise(
    size: tuple[int, int], cell: float, rng: Generator, octaves: int = 3
) -> Float[ndarray, "H W"]:
    """Return smooth noise in about [-1, 1].

    Args:
        size: ``(height, width)``.
        cell: Size in pixels of its largest features.
        rng: The generator.
        octaves: How many times finer noise of half the strength is added.
    """
    total = np.zeros(size, dtype=np.float32)
    for octave in range(octaves):
        step = max(cell / 2**octave, 1.0)
        coarse = [int(side / step) + 2 for side in size]
        grid = rng.uniform(-1, 1, coarse).astype(np.float32)
        total += cv2.resize(grid, (size[1], size[0]), interpolation=cv2.INTER_CUBIC) / 2**octave
    return total / 1.5


def _background(size: tuple[int, int], rng: Generator) -> ndarray:
    """A gradient between two muted colours with patches, stripes or both, and grain."""
    palette = draw_palette(rng)
    grey = palette.mean(axis=1, keepdims=True)
    muted = (grey + rng.uniform(0.25, 0.7) * (palette - grey)).astype(np.float32)
    first, second, third = muted[rng.choice(len(muted), 3, replace=False)]
    height, width = size
    blend = smooth_noise(size, rng.uniform(0.3, 0.8) * width, rng, octaves=4)[..., None]
    down = np.linspace(-1, 1, height, dtype=np.float32)[:, None, None] * rng.uniform(-1, 1)
    canvas = first + (second - first) * np.clip(0.5 + 0.5 * blend + 0.5 * down, 0, 1)
    kind = rng.integers(4)
    if kind in {0, 2}:
        patches = smooth_noise(size, rng.uniform(0.05, 0.2) * width, rng, octaves=4)
        edge = np.clip(0.5 + patches[..., None] * rng.uniform(1.5, 12), 0, 1)
        canvas += (third - canvas) * edge * rng.uniform(0.3, 0.8)
    if kind in {1, 2}:
        period = rng.uniform(5, 20)
        canvas *= 1 + rng.uniform(0.06, 0.2) * _stripes(size, period, rng)[..., None]
    if kind == 3:
        horizon = int(rng.uniform(0.25, 0.6) * height)
        canvas[horizon:] = 0.4 * canvas[horizon:] + 0.6 * third
        canvas[horizon:] *= 1 + 0.25 * smooth_noise((height - horizon, width), 10, rng)[..., None]
    grain = smooth_noise(size, rng.uniform(2, 6), rng, octaves=2)[..., None]
    return np.clip(canvas * (1 + rng.uniform(0.05, 0.25) * grain), 0, 1).astype(np.float32)


def _stripes(size: tuple[int, int], period: float, rng: Generator) -> Float[ndarray, "H W"]:
    angle = rng.uniform(0, np.pi)
    y, x = np.indices(size, dtype=np.float32)
    wobble = smooth_noise(size, 5 * period, rng, octaves=1) * rng.uniform(0, 0.2) * period
    wave = np.sin((x * np.cos(angle) + y * np.sin(angle) + wobble) * 2 * np.pi / period)
    return np.clip(wave * rng.uniform(1, 4), -1, 1)


def _paint_part(canvas: ndarray, part: PlacedPart, light: float) -> None:
    """Paint one part in place: colour, texture, a rounded look and a lit side."""
    low = np.floor(part.outline.min(axis=0)).astype(int) - 1
    size = np.ceil(part.outline.max(axis=0)).astype(int) + 2 - low
    mask = np.zeros(size[::-1], dtype=np.uint8)
    fill(mask, part.outline - low, 1)
    x0, y0 = np.maximum(low, 0)
    x1, y1 = np.minimum(low + size, [canvas.shape[1], canvas.shape[0]])
    if x1 <= x0 or y1 <= y0:
        return
    rng = np.random.default_rng(part.texture)
    depth = cv2.distanceTransform(mask, cv2.DIST_L2, 3)
    depth = np.sqrt(depth / max(float(depth.max()), 1e-6))
    y, x = np.indices(mask.shape, dtype=np.float32)
    toward = (x / size[0] - 0.5) * np.cos(light) + (y / size[1] - 0.5) * np.sin(light)
    shade = 0.72 + 0.33 * depth + 0.3 * toward
    shade *= 1 + 0.14 * smooth_noise(mask.shape, 24, rng, octaves=2)
    pattern = rng.random()
    if pattern < 0.22:
        shade *= 1 + 0.16 * _stripes(mask.shape, rng.uniform(14, 50), rng)
    elif pattern < 0.4:
        shade *= 1 + 0.2 * np.sign(smooth_noise(mask.shape, rng.uniform(12, 30), rng, octaves=1))
    window = np.s_[y0 - low[1] : y1 - low[1], x0 - low[0] : x1 - low[0]]
    filled = mask[window] > 0
    color = (shade[window][..., None] * part.color).astype(np.float32)
    canvas[y0:y1, x0:x1][filled] = np.clip(color, 0, 1)[filled]


def _shadow(canvas: ndarray, outlines: ndarray, rng: Generator) -> None:
    """Darken the ground below an object softly, in place."""
    (left, top), (right, bottom) = outlines.min(axis=0), outlines.max(axis=0)
    axes = (max(1, int((right - left) * 0.5)), max(1, int((bottom - top) * 0.1)))
    reach = 2 * axes[1]
    dark = np.zeros((2 * (axes[1] + reach) + 1, 2 * (axes[0] + reach) + 1), dtype=np.float32)
    middle = (axes[0] + reach, axes[1] + reach)
    cv2.ellipse(dark, middle, axes, 0, 0, 360, 1.0, -1)
    soft = cv2.blur(cv2.blur(dark, (axes[1] + 1, axes[1] + 1)), (axes[1] + 1, axes[1] + 1))
    center = np.array([(left + right) / 2 + rng.uniform(-0.1, 0.1) * (right - left), bottom])
    low = np.round(center).astype(int) - np.array(middle)
    x0, y0 = np.maximum(low, 0)
    x1, y1 = np.minimum(low + dark.shape[::-1], canvas.shape[1::-1])
    strength = rng.uniform(0.25, 0.55)
    if x1 > x0 and y1 > y0:
        window = soft[y0 - low[1] : y1 - low[1], x0 - low[0] : x1 - low[0]]
        canvas[y0:y1, x0:x1] *= 1 - np.float32(strength) * window[..., None]


def _lighting(size: tuple[int, int], light: float, rng: Generator) -> ndarray:
    y = np.linspace(-0.5, 0.5, size[0], dtype=np.float32)[:, None]
    x = np.linspace(-0.5, 0.5, size[1], dtype=np.float32)[None, :]
    slope = 1 + rng.uniform(0, 0.5) * (x * np.cos(light) + y * np.sin(light))
    cast = 1 + rng.uniform(-0.12, 0.12, 3)
    return (slope[..., None] * cast).astype(np.float32)


def _camera(image: ndarray, rng: Generator) -> UInt8[ndarray, "H W 3"]:
    """Slight blur, gamma, noise that is stronger in bright places, and eight bits."""
    image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 0.7))
    image = np.clip(image, 0, 1) ** rng.uniform(0.75, 1.2)
    image += rng.normal(0, rng.uniform(0.008, 0.03), image.shape) * (0.5 + 0.5 * image)
    return np.clip(np.round(image * 255), 0, 255).astype(np.uint8)
