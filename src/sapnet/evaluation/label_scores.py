"""Whether the scores of labels tell good ones from bad ones, so that the lowest are worth a look."""

from __future__ import annotations

from collections.abc import Iterable
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
        scores or all overlaps are the same) and ``fifths``, columns of the labels by rising score in five
        parts of equal size: ``labels`` (how many), ``lowest_score``, ``highest_score``, ``mask_miou`` and
        ``at_least_half`` (share with an IoU of at least 0.5); empty where there are fewer than five labels.
    """
    order = np.argsort(scores, kind="stable")
    fifths: dict[str, list[float]] = {}
    if len(order) >= _PARTS:
        parts = np.array_split(order, _PARTS)
        fifths = {
            "labels": [len(part) for part in parts],
            "lowest_score": _rounded(scores[part[0]] for part in parts),
            "highest_score": _rounded(scores[part[-1]] for part in parts),
            "mask_miou": _rounded(overlaps[part].mean() for part in parts),
            "at_least_half": _rounded((overlaps[part] >= _GOOD).mean() for part in parts),
        }
    return {"rank_correlation": _correlation(_ranks(scores), _ranks(overlaps)), "fifths": fifths}


def _rounded(values: Iterable[float]) -> list[float]:
    return [round(float(value), 4) for value in values]


def _ranks(values: ndarray) -> ndarray:
    """Place of every value among all, from 0; equal values share the mean of theirs."""
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts + 1) / 2)[group]


def _correlation(first: ndarray, second: ndarray) -> float | None:
    if len(first) < 2 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return None
    return float(np.corrcoef(first, second)[0, 1])
