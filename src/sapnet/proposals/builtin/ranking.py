"""A small learned scorer of the regions at a click, and the choice of those worth proposing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Float
from numpy import ndarray

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
