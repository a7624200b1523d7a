"""Crops of photographs with object masks, to train the SOLOv2 branch on without classes.

Like the crops of :mod:`sapnet.proposals.builtin.boundary_data`, every draw depends on (seed, number of
the crop) alone. Everything is in the frame of the crop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray

from sapnet.proposals.builtin.boundary_data import (
    ObjectPhotograph,
    PhotographPools,
    View,
    read_objects,
    recolored,
    some_pixel,
)
from sapnet.proposals.builtin.boundary_targets import object_targets
from sapnet.proposals.builtin.strides import COARSE_STRIDE

_LEAST_AREA = 16
"""Pixels of the crop below which an object is left out."""


@dataclass(frozen=True)
class ObjectCrop:
    """One crop of S x S pixels with its objects on the grid of stride 4."""

    image: UInt8[ndarray, "S S 3"]
    masks: Float[ndarray, "n h4 w4"]
    """How much of every cell an object covers, in [0, 1]."""
    known: Float[ndarray, "h4 w4"]
    """How sure it is that all objects of a cell are labelled, in [0, 1]: 1 where everything is and on
    the objects, 0 in crowds and away from a photograph's only labelled object, in between around it."""


class ObjectCrops:
    """Draws crops from several pools of photographs.

    Args:
        pools: The photographs of each pool.
        shares: How often a crop comes from each pool; only their ratios count.
        side: Pixels per side of a crop, a multiple of 4.
        seed: Seed of all draws.
    """

    def __init__(
        self, pools: Sequence[Sequence[ObjectPhotograph]], shares: Sequence[float], *, side: int, seed: int
    ) -> None:
        self._pools = PhotographPools(pools, shares)
        self._side = side
        self._seed = seed

    def __getitem__(self, number: int) -> ObjectCrop:
        """Return the crop of a running number; any number not below 0 has one.

        Raises:
            DataError: The photograph cannot be read.
        """
        rng = np.random.default_rng([self._seed, number])
        photograph = self._pools.draw(rng)
        image, masks, unusable = read_objects(photograph)
        view = View.draw(
            image.shape[:2], self._side, rng, focus=some_pixel(masks, rng), always=not photograph.complete
        )
        covered, known = self._objects(masks, unusable, view, complete=photograph.complete)
        pixels = view.apply(image, view.interpolation, outside=None)
        return ObjectCrop(recolored(pixels, rng), covered, known)

    def _objects(
        self, masks: Bool[ndarray, "n H W"], unusable: Bool[ndarray, "H W"], view: View, *, complete: bool
    ) -> tuple[ndarray, ndarray]:
        """Return the ``masks`` and ``known`` of a crop."""
        side, cells = self._side, self._side // COARSE_STRIDE
        windows = [view.apply(mask.astype(np.float32), view.interpolation, outside=0.0) for mask in masks]
        seen = np.asarray(windows, dtype=np.float32).reshape(-1, side, side)
        seen = seen[(seen > 0.5).sum((1, 2)) >= _LEAST_AREA]
        hidden = view.apply(unusable.astype(np.float32), cv2.INTER_LINEAR, outside=0.0) > 0.5
        known = object_targets(seen > 0.5, hidden, complete=complete).inside_weight[0]
        covered = seen.reshape(len(seen), cells, COARSE_STRIDE, cells, COARSE_STRIDE).mean((2, 4))
        return covered, known
