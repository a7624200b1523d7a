"""A vote over pixels: what the proposals with more than half of the weight cover."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from sapnet.data.rle import encode_runs, run_lengths

_WHOLE = 2**40
"""Weights are added up as integers, so that the order of the proposals changes nothing."""


def voted_masks(
    counts: Sequence[bytes],
    group: Int[ndarray, " n"],
    weights: Float[ndarray, " n"],
    size: tuple[int, int],
) -> dict[int, bytes]:
    """Vote on the pixels of every group of masks, without decoding them.

    All masks of a group are gone along at once, from one end of a run to the next: the weight above a
    pixel changes only there.

    Args:
        counts: n compressed counts.
        group: Which masks vote together.
        weights: Not negative.
        size: ``(height, width)`` of the masks.

    Returns:
        Compressed counts of the pixels that masks with more than half of the group's weight cover, by group;
        a group without such a pixel, or without weight, is left out.

    Raises:
        ValueError: A mask does not fill ``size``.
    """
    pixels = size[0] * size[1]
    runs, offsets = run_lengths(counts, size)
    mask = np.repeat(np.arange(len(counts)), np.diff(offsets))
    filled = (np.arange(len(runs)) - offsets[mask]) % 2 == 1
    ends = np.cumsum(runs) - mask * pixels
    whole = np.rint(np.asarray(weights, dtype=np.float64) * _WHOLE).astype(np.int64)
    # A mask begins where an empty run ends, and ends where a filled one does; nothing begins at the end.
    kept = filled | (ends < pixels)
    line = (np.asarray(group)[mask] * (pixels + 1) + ends)[kept]
    steps = np.where(filled, -whole[mask], whole[mask])[kept]
    order = np.argsort(line, kind="stable")
    line, covered = line[order], np.cumsum(steps[order])
    settled = np.flatnonzero(np.diff(line, append=-1))
    line, covered = line[settled], covered[settled]
    owner, place = np.divmod(line, pixels + 1)
    total = np.bincount(group, weights=whole, minlength=1 + int(max(group, default=0))).astype(np.int64)
    inside = 2 * covered > total[owner]
    # Every group ends outside, so a change of sides never spans two of them.
    changes = np.flatnonzero(np.diff(inside, prepend=False))
    owner, place = owner[changes], place[changes]
    first = np.flatnonzero(np.diff(owner, prepend=-1))
    last = np.append(first, len(owner))[1:]
    return {
        int(owner[start]): encode_runs(place[start:stop], size)
        for start, stop in zip(first, last, strict=True)
    }
