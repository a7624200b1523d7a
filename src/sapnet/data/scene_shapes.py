"""The objects of the embedded scenes: four classes put together from the same kinds of part.

Discs, bars, boxes, ovals and triangles occur in several classes and colours are drawn from one
palette for all, so one part tells nothing; how the parts are arranged tells the class.
Local coordinates: the object's centre is the origin, x to the right, y down, height about 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from numpy.random import Generator

Role = Literal["body", "limb", "head"]
CLASSES = ("figure", "beast", "cart", "boat")


@dataclass(frozen=True)
class Part:
    """One part of an object: its outline, and which of the object's colours it has."""

    outline: Float[ndarray, "v 2"]
    role: Role


def draw_parts(class_name: str, rng: Generator) -> list[Part]:
    """Return the parts of one object of a class in a random pose, from back to front.

    Args:
        class_name: One of :data:`CLASSES`.
        rng: Draws proportions and pose.
    """
    return _CLASSES[class_name](rng)


def disc(x: float, y: float, radius: float) -> Float[ndarray, "v 2"]:
    """Return the outline of a disc."""
    return oval(x, y, radius, radius)


def oval(x: float, y: float, radius_x: float, radius_y: float) -> Float[ndarray, "v 2"]:
    """Return the outline of an ellipse along the axes."""
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    return np.stack([x + radius_x * np.cos(angle), y + radius_y * np.sin(angle)], axis=-1)


def bar(x0: float, y0: float, x1: float, y1: float, width: float) -> Float[ndarray, "v 2"]:
    """Return the outline of a straight bar with round ends between two points."""
    along = np.array([x1 - x0, y1 - y0])
    angle = np.arctan2(along[1], along[0]) + np.linspace(-np.pi / 2, np.pi / 2, 9)
    end = width / 2 * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    return np.concatenate([np.array([x1, y1]) + end, np.array([x0, y0]) - end])


def box(x: float, y: float, width: float, height: float, taper: float = 0.0) -> Float[ndarray, "v 2"]:
    """Return a rectangle around a centre whose lower side is shorter by a share ``taper``."""
    low = width * (1 - taper) / 2
    half = height / 2
    return np.array(
        [[x - width / 2, y - half], [x + width / 2, y - half], [x + low, y + half], [x - low, y + half]]
    )


def _figure(rng: Generator) -> list[Part]:
    """A head above an upright body with two arms and two legs."""
    width, height = rng.uniform(0.24, 0.32), rng.uniform(0.34, 0.4)
    thick = rng.uniform(0.075, 0.1)
    hip, shoulder = 0.08 + height / 2 - 0.12, 0.02 - height / 2 + 0.03
    parts = []
    for side in (-1, 1):
        spread = rng.uniform(0.03, 0.16)
        parts.append(Part(bar(side * width * 0.28, hip, side * (width * 0.28 + spread), 0.5, thick), "limb"))
    for side in (-1, 1):
        angle = rng.uniform(-0.5, 1.3)
        reach = rng.uniform(0.24, 0.32)
        hand = (side * (width * 0.4 + reach * np.cos(angle)), shoulder + reach * np.sin(angle))
        parts.append(Part(bar(side * width * 0.4, shoulder + 0.04, *hand, thick * 0.9), "limb"))
    body = box(0, -0.01, width, height, 0.2) if rng.random() < 0.5 else oval(0, -0.01, width / 2, height / 2)
    radius = rng.uniform(0.11, 0.14)
    return [*parts, Part(body, "body"), Part(disc(0, -0.5 + radius, radius), "head")]


def _beast(rng: Generator) -> list[Part]:
    """A lying body on four legs, a head in front, an ear or a tail."""
    long, tall = rng.uniform(0.4, 0.5), rng.uniform(0.19, 0.24)
    thick = rng.uniform(0.08, 0.11)
    parts = []
    for place in (-0.75, -0.4, 0.4, 0.75):
        foot = place * long + rng.uniform(-0.07, 0.07)
        parts.append(Part(bar(place * long, 0.08, foot, 0.45, thick), "limb"))
    tail = rng.uniform(-0.35, 0.05)
    parts.append(Part(bar(-long * 0.9, -0.05, -long - 0.22, tail, thick * 0.7), "limb"))
    body = oval(0, 0.02, long, tall) if rng.random() < 0.7 else box(0, 0.02, 1.8 * long, 1.7 * tall)
    radius = rng.uniform(0.15, 0.19)
    head_x, head_y = long + rng.uniform(0, 0.06), -0.2 + rng.uniform(-0.06, 0.04)
    top = head_y - radius
    ear = np.array([[head_x - 0.14, top + 0.09], [head_x - 0.05, top - 0.14], [head_x + 0.05, top + 0.04]])
    return [*parts, Part(body, "body"), Part(ear, "limb"), Part(disc(head_x, head_y, radius), "head")]


def _cart(rng: Generator) -> list[Part]:
    """A lying box on two wheels with a roof and a bar to pull."""
    width, height = rng.uniform(0.85, 1.05), rng.uniform(0.26, 0.34)
    radius = rng.uniform(0.17, 0.21)
    parts = [Part(bar(width * 0.4, 0.08, width * 0.5 + 0.28, rng.uniform(-0.15, 0.2), 0.07), "limb")]
    base = width * rng.uniform(0.38, 0.48)
    peak = base * rng.uniform(-0.5, 0.5)
    roof = np.array([[-base, -0.12], [base, -0.12], [peak, -0.46]])
    parts.append(Part(roof, "head"))
    parts.append(Part(box(0, 0.0, width, height, rng.uniform(0, 0.15)), "body"))
    for side in (-1, 1):
        parts.append(Part(disc(side * width * rng.uniform(0.26, 0.34), 0.46 - radius * 0.9, radius), "limb"))
    return parts


def _boat(rng: Generator) -> list[Part]:
    """A tapering hull with a mast, a triangular sail and a lamp."""
    width, height = rng.uniform(0.85, 1.1), rng.uniform(0.2, 0.28)
    mast = rng.uniform(-0.12, 0.12)
    sail_width, side = rng.uniform(0.34, 0.44), 1 if rng.random() < 0.5 else -1
    sail = np.array([[mast, -0.4], [mast + side * sail_width, 0.14], [mast, 0.14]])
    jib = np.array([[mast, -0.3], [mast - side * sail_width * 0.7, 0.12], [mast, 0.12]])
    parts = [Part(bar(mast, 0.3, mast, -0.44, 0.06), "limb"), Part(sail, "head")]
    if rng.random() < 0.6:
        parts.append(Part(jib, "limb"))
    hull = box(0, 0.48 - height / 2, width, height, rng.uniform(0.3, 0.45))
    parts.append(Part(hull, "body"))
    parts.append(Part(disc(mast, -0.42, rng.uniform(0.06, 0.08)), "head"))
    return parts


_CLASSES: dict[str, Callable[[Generator], list[Part]]] = {
    "figure": _figure,
    "beast": _beast,
    "cart": _cart,
    "boat": _boat,
}
