"""Ground-truth masks in the form of proposals, for the fully supervised reference run of benchmarks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy import ndarray

from sapnet.data.instances import InstanceSet
from sapnet.proposals.proposer import ImagePrompts, ImageProposals, collect_proposals


class GroundTruthProposer:
    """Gives every click its object's own mask (benchmarks only).

    Args:
        instances: Ground truth; prompts are matched by annotation id.
    """

    name = "ground-truth"

    def __init__(self, instances: InstanceSet) -> None:
        self.settings: Mapping[str, Any] = {"version": 1}
        self._instances = instances
        self._row = {int(item): row for row, item in enumerate(instances.annotation_ids)}

    def propose(self, image: ndarray | None, prompts: ImagePrompts) -> ImageProposals:
        """Return one mask per click that has ground truth.

        Args:
            image: Not looked at.
            prompts: The clicks.

        Returns:
            At most one proposal per click, kind ``ground-truth``, score 1.
        """
        rows = [self._row.get(item, -1) for item in prompts.annotation_ids.tolist()]
        index = [place for place, row in enumerate(rows) if row >= 0]
        image_row = self._instances.images.index_of(int(prompts.image_id))
        return collect_proposals(
            prompts,
            self._instances.images.size(image_row),
            prompt_index=index,
            counts=[self._instances.counts[rows[place]] for place in index],
            scores=np.ones(len(index), dtype=np.float32).tolist(),
            kinds=["ground-truth"] * len(index),
        )
