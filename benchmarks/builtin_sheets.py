"""Sheets of four photographs, for objects that are small and have neighbours of their class.

The photographs with labelled objects mostly show one large person. On a sheet the same objects are half as
large, and clicks on the others are neighbours of their class, as in photographs of streets.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy import ndarray

from sapnet.proposals.proposer import ImagePrompts

_CELL = (240, 320)
"""Height and width of a quarter of a sheet."""


def sheets(chosen: ndarray, count: int, folds: int, seed: int) -> list[list[int]]:
    """Return the photographs (four each) of some sheets.

    Args:
        chosen: The photographs, of which every ``folds``-th are in one fold; at least four in each.
        count: Number of sheets. Numbered on from the photographs, they take turns in being of the folds, and
            hold photographs of their own fold alone.
        folds: Number of folds.
        seed: Of the draws.
    """
    rng = np.random.default_rng([seed, 4])
    folds_of = [(len(chosen) + number) % folds for number in range(count)]
    return [rng.choice(chosen[fold::folds], 4, replace=False).tolist() for fold in folds_of]


def sheet_image(images: Sequence[ndarray]) -> ndarray:
    """Return a sheet of four photographs, or a single one as it is.

    Each lies in the upper left of its quarter, whose remainder shows its mirror image.
    """
    if len(images) == 1:
        return images[0]
    quarters = []
    for image in images:
        factor = _factor(image.shape[:2])
        size = (round(image.shape[1] * factor), round(image.shape[0] * factor))
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        below, beside = _CELL[0] - size[1], _CELL[1] - size[0]
        quarters.append(cv2.copyMakeBorder(small, 0, below, 0, beside, cv2.BORDER_REFLECT))
    return np.vstack([np.hstack(quarters[:2]), np.hstack(quarters[2:])])


def on_sheet(
    prompts: Sequence[ImagePrompts], masks: Sequence[ndarray], working: tuple[int, int], size: tuple[int, int]
) -> tuple[ImagePrompts, ndarray]:
    """Return the clicks on a sheet, and their masks in the working frame.

    Args:
        prompts: Of every photograph, in its own frame.
        masks: (A, H, W) of every photograph.
        working: ``(h, w)`` of the working frame.
        size: ``(H, W)`` of the sheet, or of the single photograph.
    """
    single = len(prompts) == 1
    xy, drawn = [], [np.zeros((0, *working), dtype=bool)]
    scale = np.array([working[1] / size[1], working[0] / size[0]])
    for number, (part, objects) in enumerate(zip(prompts, masks, strict=True)):
        factor = 1.0 if single else _factor(objects.shape[1:])
        corner = np.zeros(2) if single else np.array([number % 2, number // 2]) * _CELL[::-1]
        xy.append(part.xy * factor + corner)
        grown = factor * scale
        shift = corner * scale + (grown - 1.0) / 2.0  # OpenCV's pixel centres are at whole numbers
        matrix = np.array([[grown[0], 0.0, shift[0]], [0.0, grown[1], shift[1]]])
        for mask in objects:
            seen = cv2.warpAffine(mask.astype(np.float32), matrix, working[::-1], flags=cv2.INTER_LINEAR)
            drawn.append((seen > 0.5)[None])
    joined = ImagePrompts(
        image_id=prompts[0].image_id,
        annotation_ids=np.concatenate([part.annotation_ids for part in prompts]),
        xy=np.concatenate(xy),
        labels=np.concatenate([part.labels for part in prompts]),
    )
    return joined, np.concatenate(drawn)


def _factor(size: tuple[int, ...]) -> float:
    return min(_CELL[0] / size[0], _CELL[1] / size[1])
