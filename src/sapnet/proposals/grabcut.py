"""Masks grown by GrabCut from squares around a click, on small crops.

GrabCut (Rother et al., 2004) alternates colour models of figure and ground with a graph cut. Here
the square around the click may be figure, its surroundings are ground, a disc at the click is
figure, and discs at clicks on other objects are ground.
"""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray

SQUARE_SHARES = (0.047, 0.094, 0.19, 0.38, 0.62)
"""Sides of the squares as shares of the image's long side."""
_CROP_SIDE = 64
"""Pixels per side of the reduced crop that is cut."""
_SURROUNDINGS = 2.0
"""Side of the crop over the side of its square."""
_FIGURE_DISC = 0.10
"""Radius of the disc of sure figure over the side of the crop."""
_GROUND_DISC = 0.06
"""Radius of the discs of sure ground at clicks that are not on the object."""
_ITERATIONS = 1


def grabcut_masks(
    image: UInt8[ndarray, "h w 3"],
    xy: Float[ndarray, " 2"],
    inside: Float[ndarray, "e 2"],
    outside: Float[ndarray, "n 2"],
) -> Bool[ndarray, "s h w"]:
    """Cut one mask per square size.

    Args:
        image: RGB image.
        xy: The click, in pixels of this image.
        inside: Further points on the object.
        outside: Points that are not on the object.

    Returns:
        The connected piece at the click for each entry of ``SQUARE_SHARES``; empty where the cut
        fails. Fully determined by the arguments.
    """
    shape = (len(SQUARE_SHARES), *image.shape[:2])
    masks = np.zeros(shape, dtype=bool)
    for i, share in enumerate(SQUARE_SHARES):
        masks[i] = _cut(image, xy, share * max(image.shape[:2]), inside, outside)
    return masks


def _cut(image: ndarray, xy: ndarray, side: float, inside: ndarray, outside: ndarray) -> ndarray:
    """Return the (h, w) mask cut from the square of a side in pixels."""
    height, width = image.shape[:2]
    scale = _CROP_SIDE / (side * _SURROUNDINGS)
    center = _CROP_SIDE / 2
    # Pixel centres are at half integers in our frame, at integers in OpenCV's.
    shift = center - scale * xy + (scale - 1.0) / 2.0
    to_crop = np.array([[scale, 0.0, shift[0]], [0.0, scale, shift[1]]])
    source = cv2.blur(image, (round(1 / scale),) * 2) if scale < 0.67 else image
    crop = cv2.warpAffine(
        source, to_crop, (_CROP_SIDE, _CROP_SIDE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    marks = _marks((inside - xy) * scale + center, (outside - xy) * scale + center)
    # GrabCut starts its colour clusters from OpenCV's global generator.
    cv2.setRNGSeed(0)
    models = np.zeros((1, 65)), np.zeros((1, 65))
    try:
        cv2.grabCut(crop, marks, (0, 0, 0, 0), *models, _ITERATIONS, cv2.GC_INIT_WITH_MASK)
    except cv2.error:  # no pixel left for one of the two models
        return np.zeros((height, width), dtype=bool)
    figure = (marks == cv2.GC_FGD) | (marks == cv2.GC_PR_FGD)
    _, labels = cv2.connectedComponents(figure.astype(np.uint8))
    piece = figure & (labels == labels[int(center), int(center)])
    back = cv2.warpAffine(
        piece.astype(np.float32), to_crop, (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    )
    return back > 0.5


def _marks(inside: ndarray, outside: ndarray) -> ndarray:
    """Return GrabCut's initial labels; points are in pixels of the crop."""
    marks = np.full((_CROP_SIDE, _CROP_SIDE), cv2.GC_BGD, dtype=np.uint8)
    margin = int(_CROP_SIDE * (1.0 - 1.0 / _SURROUNDINGS) / 2.0)
    marks[margin:-margin, margin:-margin] = cv2.GC_PR_FGD
    grid = np.arange(_CROP_SIDE) + 0.5
    figure = np.concatenate([np.full((1, 2), _CROP_SIDE / 2), inside])
    marks[_near(grid, outside, _GROUND_DISC * _CROP_SIDE)] = cv2.GC_BGD
    marks[_near(grid, figure, _FIGURE_DISC * _CROP_SIDE)] = cv2.GC_FGD
    return marks


def _near(grid: ndarray, points: ndarray, radius: float) -> ndarray:
    """Return which cells of a square grid lie within a radius of any of the points."""
    points = points[(points > -radius).all(1) & (points < len(grid) + radius).all(1)]
    along_x = (grid[None, :] - points[:, :1]) ** 2
    along_y = (grid[None, :] - points[:, 1:]) ** 2
    return ((along_y[:, :, None] + along_x[:, None, :]) <= radius**2).any(0)
