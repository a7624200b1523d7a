"""A small learned scorer of the regions at a click, and the choice of those worth proposing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from sapnet.proposals.builtin.candidate_features import Candidates
from sapnet.proposals.builtin.region_table import RegionTable
from sapnet.proposals.candidates import distinct_best, pairwise_overlap

_NESTED_RATIO = 0.92
"""Of nested regions with areas closer than this, the better one stands for both."""
_COMPARED = 24
"""Best regions of each tree that are compared as masks."""
_STEP = 2
"""Masks are compared on every second row and column."""
_FARTHEST = 5.0
"""Standardised features are cut off here."""


@dataclass(frozen=True)
class Ranking:
    """Two hidden layers that predict the IoU of a candidate with the clicked object.

    ``f`` features, ``u`` units. All arrays float32.
    """

    mean: Float[ndarray, " f"]
    deviation: Float[ndarray, " f"]
    weight_1: Float[ndarray, "f u"]
    bias_1: Float[ndarray, " u"]
    weight_2: Float[ndarray, "u u"]
    bias_2: Float[ndarray, " u"]
    weight_3: Float[ndarray, "u 1"]
    bias_3: Float[ndarray, " 1"]

    def predict(self, features: Float[ndarray, "n f"]) -> Float[ndarray, " n"]:
        """Return the predicted IoU of every candidate, in (0, 1)."""
        hidden = standardised(features, self.mean, self.deviation)
        hidden = np.maximum(hidden @ self.weight_1 + self.bias_1, 0.0)
        hidden = np.maximum(hidden @ self.weight_2 + self.bias_2, 0.0)
        return 1.0 / (1.0 + np.exp(-(hidden @ self.weight_3 + self.bias_3)[:, 0]))

    def arrays(self) -> dict[str, ndarray]:
        """Return the arrays by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, ndarray]) -> Ranking:
        """Return the ranking of arrays by name; the inverse of :meth:`arrays`.

        Raises:
            KeyError: An array is missing.
        """
        return cls(**{field.name: arrays[field.name] for field in fields(cls)})


def standardised(
    features: Float[ndarray, "n f"], mean: Float[ndarray, " f"], deviation: Float[ndarray, " f"]
) -> Float[ndarray, "n f"]:
    """Return features with mean 0 and deviation 1, cut off at 5 deviations."""
    return np.clip((features - mean) / deviation, -_FARTHEST, _FARTHEST)


def choose_distinct(
    candidates: Candidates,
    scores: Float[ndarray, " n"],
    tables: Sequence[RegionTable],
    *,
    duplicate_iou: float,
    most: int,
) -> Int[ndarray, " k"]:
    """Pick the best candidates of a click, none of them a near-duplicate of a better one.

    Args:
        candidates: Of all trees.
        scores: Their scores.
        tables: The trees they come from.
        duplicate_iou: Candidates that overlap a picked one at least this much are left out.
        most: Pick at most this many.

    Returns:
        Indices into the candidates, best score first.
    """
    kept, masks = [], []
    for number, table in enumerate(tables):
        index = np.flatnonzero(candidates.tree == number)
        # Regions of a tree at one click are nested: their IoU is the ratio of their areas.
        ratio = candidates.area[index, None] / candidates.area[index]
        best = distinct_best(scores[index], np.minimum(ratio, 1.0 / ratio), _NESTED_RATIO, _COMPARED)
        kept.append(index[best])
        masks.append(coarse_masks(table, candidates.node[index[best]]))
    chosen = np.concatenate(kept)
    overlap = pairwise_overlap(np.concatenate(masks))
    return chosen[distinct_best(scores[chosen], overlap, duplicate_iou, most)]


def coarse_masks(table: RegionTable, nodes: Int[ndarray, " n"]) -> ndarray:
    """Return the masks (n, h', w') of regions on every second row and column."""
    tree = table.tree
    place = tree.place[tree.leaves[::_STEP, ::_STEP]]
    return (place >= tree.first[nodes, None, None]) & (place < tree.last[nodes, None, None])
