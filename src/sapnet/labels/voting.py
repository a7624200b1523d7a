"""A vote over pixels: what the proposals with half of the weight, or the share that is needed, cover."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from sapnet.data.rle import encode_runs, run_lengths

_WHOLE = 2**40
"""A group's weights are added up as integers, so that the order of the proposals changes nothing."""


def voted_masks(
    counts: Sequence[bytes],
    group: Int[ndarray, " n"],
    weights: Float[ndarray, " n"],
    size: tuple[int, int],
    needed: Float[ndarray, " groups"] | None = None,
) -> dict[int, bytes]:
    """Vote on the pixels of every group of masks, without decoding them.

    All masks of a group are gone along at once, from one end of a run to the next: the weight above a
    pixel changes only there.

    Args:
        counts: n compressed counts.
        group: Which masks vote together; not negative.
        weights: Not negative; only their shares of a group's sum matter.
        size: ``(height, width)`` of the masks.
        needed: Share of the weight above which a pixel is kept, by group; None: half.

    Returns:
        Compressed counts of the pixels that masks with more than the needed share of the group's weight
        cover, by group; a group without such a pixel, or without weight, is left out.

    Raises:
        ValueError: A mask does not fill ``size``.
    """
    pixels = size[0] * size[1]
    runs, offsets = run_lengths(counts, size)
    mask = np.repeat(np.arange(len(counts)), np.diff(offsets))
    filled = ((np.arange(len(runs)) - offsets[mask]) % 2 == 1) & (runs > 0)
    stops = (np.cumsum(runs) - mask * pixels)[filled]
    starts, mask = stops - runs[filled], mask[filled]
    whole = _whole_numbers(np.asarray(group, dtype=np.int64), np.asarray(weights, dtype=np.float64))
    # Every group takes pixels + 1 positions of one long line, so one sweep serves all of them.
    line = np.asarray(group, dtype=np.int64)[mask] * (pixels + 1)
    places = np.concatenate([line + starts, line + stops])
    order = np.argsort(places, kind="stable")
    places = places[order]
    covered = np.cumsum(np.concatenate([whole[mask], -whole[mask]])[order])
    settled = np.flatnonzero(np.diff(places, append=-1))
    owner, place = np.divmod(places[settled], pixels + 1)
    # Weights of a group add up to one whole, give or take the rounding of each.
    least = 0.5 if needed is None else np.asarray(needed, dtype=np.float64)[owner]
    inside = covered[settled] > least * _WHOLE + len(counts) / 2
    # All runs of a group have ended at its end, so a change of sides never spans two groups.
    changes = np.flatnonzero(np.diff(inside, prepend=False))
    owner, place = owner[changes], place[changes]
    first = np.flatnonzero(np.diff(owner, prepend=-1))
    last = np.append(first, len(owner))[1:]
    return {
        int(owner[start]): encode_runs(place[start:stop], size)
        for start, stop in zip(first, last, strict=True)
    }


def _whole_numbers(group: Int[ndarray, " n"], weights: Float[ndarray, " n"]) -> Int[ndarray, " n"]:
    """Each weight's share of its group's sum, in units of one part in ``_WHOLE``."""
    total = np.bincount(group, weights=weights, minlength=1)[group]
    shares = np.divide(weights, total, out=np.zeros_like(weights), where=total > 0)
    return np.rint(shares * _WHOLE).astype(np.int64)
