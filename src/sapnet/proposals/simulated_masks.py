"""Draws the part, whole and group masks of the simulated SAM from one ground-truth mask.

All masks are bool (h, w) windows of the original image; lengths are in pixels of the original
image unless called a share, which is relative to the square root of the object's area.
"""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray
from numpy.random import Generator

PART_SHARES = (0.15, 0.65)
"""Smallest and largest share of the object's area that a drawn part may have."""
_PART_ATTEMPTS = 8
_CLUSTER_ROUNDS = 3
_MAX_CLUSTER_SAMPLES = 2000


def smooth_noise(shape: tuple[int, int], wavelength: float, random: Generator) -> Float[ndarray, "h w"]:
    """Return a smooth random field with deviation about 1.

    Args:
        shape: ``(h, w)`` of the field.
        wavelength: Distance in pixels over which the field changes.
        random: Source of randomness; takes ``ceil(h / wavelength) + 3`` rows of draws and likewise columns.

    Returns:
        float32 (h, w).
    """
    rows = int(np.ceil(shape[0] / wavelength)) + 3
    columns = int(np.ceil(shape[1] / wavelength)) + 3
    grid = random.standard_normal((rows, columns)).astype(np.float32)
    size = (int(np.ceil(columns * wavelength)), int(np.ceil(rows * wavelength)))
    field = cv2.resize(grid, size, interpolation=cv2.INTER_CUBIC)
    start = int(wavelength)
    # Cubic interpolation of white noise has a deviation of about 0.8.
    return field[start : start + shape[0], start : start + shape[1]] / np.float32(0.8)


def disturb_boundary(
    mask: Bool[ndarray, "h w"], area: float, share: float, random: Generator
) -> Bool[ndarray, "h w"]:
    """Move the boundary of a mask by smooth random displacements.

    Args:
        mask: The mask, with room around it in the window.
        area: Object area in pixels that sets the scale of the displacement.
        share: Deviation of the displacement relative to ``sqrt(area)``. At least 0.6 pixels are
            moved, which is why small objects lose more overlap, as they do with SAM.
        random: Source of randomness.

    Returns:
        The disturbed mask, same window.
    """
    length = float(np.sqrt(max(area, 1.0)))
    amplitude = max(share * length, 0.6)
    wavelength = max(length * 0.3, 3.0)
    shift_x = smooth_noise(mask.shape, wavelength, random) * np.float32(amplitude)
    shift_y = smooth_noise(mask.shape, wavelength, random) * np.float32(amplitude)
    rows, columns = np.mgrid[: mask.shape[0], : mask.shape[1]].astype(np.float32)
    moved = cv2.remap(
        mask.astype(np.float32), columns + shift_x, rows + shift_y, cv2.INTER_LINEAR, borderValue=0
    )
    return moved > 0.5


def component_at(mask: Bool[ndarray, "h w"], row: int, column: int) -> Bool[ndarray, "h w"]:
    """Return the connected component of ``mask`` at a pixel, or the whole mask if the pixel is off it."""
    if not mask[row, column]:
        return mask
    _, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    return labels == labels[row, column]


def _cluster_cell(features: ndarray, seed_row: int, clusters: int, random: Generator) -> ndarray:
    """Return which rows of ``features`` (n, d) fall into the k-means cell that starts at ``seed_row``."""
    sample = features
    if len(features) > _MAX_CLUSTER_SAMPLES:
        sample = features[random.integers(0, len(features), _MAX_CLUSTER_SAMPLES)]
    others = sample[random.integers(0, len(sample), clusters - 1)]
    centers = np.concatenate([features[seed_row : seed_row + 1], others])
    for _ in range(_CLUSTER_ROUNDS):
        nearest_center = ((sample[:, None] - centers[None]) ** 2).sum(-1).argmin(1)
        member = nearest_center[:, None] == np.arange(clusters)
        count = member.sum(0)[:, None]
        mean = member.T.astype(sample.dtype) @ sample / np.maximum(count, 1)
        centers = np.where(count > 0, mean, centers)
    cells = ((features[:, None] - centers[None]) ** 2).sum(-1).argmin(1)
    return cells == cells[seed_row]


def draw_part(
    mask: Bool[ndarray, "h w"],
    row: int,
    column: int,
    color: Float[ndarray, "h w 3"] | None,
    random: Generator,
) -> Bool[ndarray, "h w"]:
    """Draw a contiguous part of a mask that contains a pixel of it.

    The mask is cut into the cells of a few rounds of k-means on position and, where an image is
    given, colour; the part is the connected piece of the cell at the pixel. Draws whose share of
    the mask leaves ``PART_SHARES`` are repeated; the last resort is the half on the pixel's side
    of a random line.

    Args:
        mask: The object (or a large piece of it) in a window.
        row: Row of the click, on the mask.
        column: Column of the click, on the mask.
        color: Lab colours divided by 255 in the same window, or None.
        random: Source of randomness.

    Returns:
        The part, a subset of ``mask``; the mask itself where it has fewer than 4 pixels.
    """
    rows, columns = np.nonzero(mask)
    area = len(rows)
    if area < 4:
        return mask.copy()
    seed_row = int(np.argmin((rows - row) ** 2 + (columns - column) ** 2))
    place = np.stack([rows, columns], axis=1).astype(np.float32) / np.float32(np.sqrt(area))
    features = place
    if color is not None:
        weight = np.float32(random.uniform(1.0, 5.0))
        features = np.concatenate([place, weight * color[rows, columns]], axis=1)
    part = np.zeros_like(mask)
    for _ in range(_PART_ATTEMPTS):
        cell = _cluster_cell(features, seed_row, int(random.integers(2, 6)), random)
        part[:] = False
        part[rows[cell], columns[cell]] = True
        part = component_at(part, int(rows[seed_row]), int(columns[seed_row]))
        share = part.sum() / area
        if max(PART_SHARES[0], 3.0 / area) <= share <= PART_SHARES[1]:
            return part
    angle = random.uniform(0.0, 2.0 * np.pi)
    along = place @ np.array([np.sin(angle), np.cos(angle)], dtype=np.float32)
    side = (along <= np.median(along)) == (along[seed_row] <= np.median(along))
    part[:] = False
    part[rows[side], columns[side]] = True
    return component_at(part, int(rows[seed_row]), int(columns[seed_row]))


def grow_into_background(
    mask: Bool[ndarray, "h w"], area: float, share: float, random: Generator
) -> Bool[ndarray, "h w"]:
    """Grow a mask outwards by a smoothly varying distance.

    Args:
        mask: The mask, with room around it in the window.
        area: Object area in pixels.
        share: Mean growth relative to ``sqrt(area)``.
        random: Source of randomness.

    Returns:
        A superset of ``mask``.
    """
    length = float(np.sqrt(max(area, 1.0)))
    outside = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 3)
    noise = smooth_noise(mask.shape, max(length * 0.6, 3.0), random)
    reach = np.maximum(share * length, 1.0) * np.clip(1.0 + 0.8 * noise, 0.0, 3.0)
    return mask | (outside <= reach)


def dilated(mask: Bool[ndarray, "h w"], reach: int) -> Bool[ndarray, "h w"]:
    """Return the pixels within ``reach`` pixels (chessboard distance) of a mask."""
    kernel = np.ones((2 * reach + 1, 2 * reach + 1), dtype=np.uint8)
    return cv2.dilate(mask.astype(np.uint8), kernel).astype(bool)
