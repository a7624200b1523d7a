"""Near-duplicates within a bag are merged: several prompts of a click often give the same mask."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from pycocotools import mask as coco_mask

from sapnet.errors import InputError
from sapnet.proposals.candidates import distinct_best
from sapnet.proposals.proposer import ImageProposals


def merge_duplicates(proposals: ImageProposals, *, iou: float, max_per_prompt: int) -> ImageProposals:
    """Keep, in every bag, the proposals that differ from all better ones.

    A bag is gone through by falling score; a proposal is dropped when its mask overlaps one that was
    kept with an IoU of at least ``iou``, and the bag ends at ``max_per_prompt``. What is kept stays as
    it is, so a mask that several prompts gave has the score and the kind of the best of them.
    Masks are compared run by run, not pixel by pixel, at the full resolution.

    Args:
        proposals: The proposals of an image, original frame.
        iou: Overlap in (0, 1] from which two masks of a bag are one; 1 merges equal masks only.
        max_per_prompt: The most proposals kept per click.

    Returns:
        The kept proposals, in their order.

    Raises:
        InputError: A setting is out of its range; lists every problem.
    """
    problems = []
    if not 0.0 < iou <= 1.0:
        problems.append(f"iou is {iou}, expected more than 0 and at most 1.")
    if max_per_prompt < 1:
        problems.append(f"max_per_prompt is {max_per_prompt}, expected at least 1.")
    if problems:
        raise InputError("the settings of merging", problems)
    kept = [
        rows.start + place
        for rows in map(proposals.of_prompt, range(len(proposals.annotation_ids)))
        for place in _distinct(proposals, rows, iou, max_per_prompt)
    ]
    return _rows_of(proposals, kept)


def run_length_iou(counts: Sequence[bytes], size: tuple[int, int]) -> Float[ndarray, "n n"]:
    """Return the IoU of every two masks, float64, from their run lengths; 0 for two empty ones.

    Args:
        counts: n compressed counts.
        size: ``(height, width)`` of the masks.
    """
    if not counts:
        return np.zeros((0, 0))
    masks = [{"size": [int(size[0]), int(size[1])], "counts": item} for item in counts]
    return np.asarray(coco_mask.iou(masks, masks, [0] * len(masks))).reshape(len(masks), len(masks))


def _distinct(proposals: ImageProposals, rows: slice, iou: float, most: int) -> list[int]:
    """Return which proposals of a bag are kept, counted from its first."""
    counts = proposals.counts[rows]
    if len(counts) < 2:
        return list(range(len(counts)))
    overlap = run_length_iou(counts, proposals.image_size)
    return distinct_best(proposals.scores[rows], overlap, iou, most)


def _rows_of(proposals: ImageProposals, rows: Sequence[int]) -> ImageProposals:
    """Return some of the proposals of an image; every click keeps its (maybe empty) bag."""
    index = np.asarray(rows, dtype=np.int64)
    return ImageProposals(
        image_id=proposals.image_id,
        image_size=proposals.image_size,
        annotation_ids=proposals.annotation_ids,
        prompt_index=proposals.prompt_index[index],
        counts=tuple(proposals.counts[row] for row in rows),
        boxes=proposals.boxes[index],
        scores=proposals.scores[index],
        areas=proposals.areas[index],
        kinds=tuple(proposals.kinds[row] for row in rows),
        opinions=None if proposals.opinions is None else proposals.opinions[index],
    )
