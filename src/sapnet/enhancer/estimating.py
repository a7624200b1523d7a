"""Estimating the box of every click with a trained network."""

from __future__ import annotations

import numpy as np
import torch

from sapnet.data.dataset import TrainingDataset
from sapnet.data.loading import clicked_images
from sapnet.enhancer.box_file import ClickBox
from sapnet.enhancer.network import PointToBox
from sapnet.proposals.proposer import ImageProposals
from sapnet.structures import Batch


class NoProposals:
    """A source of bags for a data set whose bags are not looked at: all are empty."""

    def of_image(self, image_id: int) -> ImageProposals:
        """Return no proposal at all."""
        none = np.zeros(0, dtype=np.int64)
        return ImageProposals(
            image_id=image_id,
            image_size=(1, 1),
            annotation_ids=none,
            prompt_index=none,
            counts=(),
            boxes=np.zeros((0, 4), dtype=np.float32),
            scores=np.zeros(0, dtype=np.float32),
            areas=np.zeros(0, dtype=np.float32),
            kinds=(),
        )


def estimate_boxes(
    model: PointToBox,
    dataset: TrainingDataset,
    *,
    size_divisor: int,
    mask_stride: int,
    device: torch.device,
    num_workers: int = 0,
    skip_bad: bool = False,
    quiet: bool = False,
) -> dict[int, ClickBox]:
    """Estimate the box of every click of a data set.

    Args:
        model: The trained network.
        dataset: Samples at test size.
        size_divisor: Padded sizes are multiples of this.
        mask_stride: Input pixels per mask cell.
        device: Where to compute.
        num_workers: Loader processes.
        skip_bad: Leave out images that cannot be read instead of failing.
        quiet: Show no progress.

    Returns:
        Annotation id to box, in the original frame. Clicks without a usable box are missing.

    Raises:
        DataError: Images cannot be read and ``skip_bad`` is off.
    """
    model.eval().to(device)
    found: dict[int, ClickBox] = {}
    images = dataset.points.images
    for batch in clicked_images(
        dataset,
        title="boxes",
        size_divisor=size_divisor,
        mask_stride=mask_stride,
        num_workers=num_workers,
        skip_bad=skip_bad,
        quiet=quiet,
    ):
        size = images.size(images.index_of(batch.image_ids[0]))
        found |= _of_image(model, batch.to(device), size)
    return found


def _of_image(model: PointToBox, batch: Batch, original_size: tuple[int, int]) -> dict[int, ClickBox]:
    """Boxes of a batch of one image, scaled back to ``original_size`` (height, width)."""
    estimates = model.estimate(batch)
    height, width = batch.image_sizes[0].tolist()
    scale = torch.tensor([original_size[1] / width, original_size[0] / height] * 2, dtype=torch.float64)
    boxes = (estimates.boxes.cpu().double() * scale).tolist()
    ids, scores = batch.prompts.annotation_ids.tolist(), estimates.confidence.cpu().tolist()
    rows = zip(ids, boxes, scores, estimates.valid.tolist(), strict=True)
    return {
        annotation_id: ClickBox(box=(box[0], box[1], box[2], box[3]), score=score)
        for annotation_id, box, score, valid in rows
        if valid
    }
