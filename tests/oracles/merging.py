"""Merging of near-duplicates, written as loops over decoded masks."""

from __future__ import annotations


def kept_rows(proposals, iou, most):
    """Return the rows that are kept, bag by bag."""
    masks = proposals.masks()
    kept = []
    for prompt in range(len(proposals.annotation_ids)):
        mine = []
        for row in range(proposals.num_proposals):
            if proposals.prompt_index[row] != prompt or len(mine) == most:
                continue
            if all(overlap(masks[row], masks[other]) < iou for other in mine):
                mine.append(row)
        kept += mine
    return kept


def overlap(a, b):
    """Return the IoU of two masks, pixel by pixel."""
    both = either = 0
    for one, other in zip(a.ravel().tolist(), b.ravel().tolist(), strict=True):
        both += one and other
        either += one or other
    return both / either if either else 0.0
