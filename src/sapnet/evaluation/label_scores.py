"""Whether the scores of labels tell good ones from bad ones, so that the lowest are worth a look."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

_PARTS = 5
_GOOD = 0.5


def score_figures(scores: Float[ndarray, " n"], overlaps: Float[ndarray, " n"]) -> dict[str, Any]:
    """Compare the scores of labels with their overlaps with the objects.

    Args:
        scores: (n,) of the labels.
        overlaps: (n,) IoU of their masks with the ground truth.

    Returns:
        JSON-serialisable: ``rank_correlation`` (Spearman's, of equal scores the mean rank; None where all
        scores or all overlaps are the same) and ``fifths``, the labels by rising score in five parts of
        equal size: ``labels`` (how many), ``lowest_score``, ``highest_score``, ``mask_miou`` and
        ``at_least_half`` (share with an IoU of at least 0.5); empty where there are fewer than five labels.
    """
    order = np.argsort(scores, kind="stable")
    parts = np.array_split(order, _PARTS) if len(order) >= _PARTS else []
    return {
        "rank_correlation": _correlation(_ranks(scores), _ranks(overlaps)),
        "fifths": [
            {
                "labels": len(part),
                "lowest_score": float(scores[part[0]]),
                "highest_score": float(scores[part[-1]]),
                "mask_miou": float(overlaps[part].mean()),
                "at_least_half": float((overlaps[part] >= _GOOD).mean()),
            }
            for part in parts
        ],
    }


def _ranks(values: ndarray) -> ndarray:
    """Place of every value among all, from 0; equal values share the mean of theirs."""
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts + 1) / 2)[group]


def _correlation(first: ndarray, second: ndarray) -> float | None:
    if len(first) < 2 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return None
    return float(np.corrcoef(first, second)[0, 1])
