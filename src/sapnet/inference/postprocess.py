"""From the raw outputs of the SOLOv2 head to instances in the original image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from sapnet.inference.mask_resizing import resized_masks
from sapnet.models.solov2_head import dynamic_masks
from sapnet.ops.masks import masks_to_boxes
from sapnet.ops.matrix_nms import matrix_nms
from sapnet.structures import Instances, SegmentationOutputs


@torch.no_grad()
def postprocess(
    outputs: SegmentationOutputs,
    image_sizes: Int[Tensor, "B 2"],
    original_sizes: Sequence[tuple[int, int]],
    *,
    mask_stride: int = 4,
    score_threshold: float = 0.1,
    mask_threshold: float = 0.5,
    max_candidates: int = 500,
    nms_kernel: Literal["gaussian", "linear"] = "gaussian",
    nms_sigma: float = 2.0,
    keep_threshold: float = 0.05,
    max_instances: int = 100,
) -> list[Instances]:
    """Turn the outputs for a batch into instances (SOLOv2, 3.3.2 and 3.3.3).

    Local maxima of the category probabilities above ``score_threshold`` become candidates; the best
    ``max_candidates`` get masks. A candidate's score is its category probability times its maskness
    (the mean probability inside its binary mask). Matrix NMS runs at the stride of the mask features,
    so memory depends on neither the original size nor the number of cells; what remains is enlarged.

    Args:
        outputs: What the head returned.
        image_sizes: (height, width) of every picture inside the padding, input frame.
        original_sizes: (height, width) of every original image.
        mask_stride: Input pixels per cell of the mask features.
        score_threshold: Smallest category probability of a candidate.
        mask_threshold: Mask probability above which a pixel belongs to the mask.
        max_candidates: Candidates that enter Matrix NMS, per image.
        nms_kernel: Decay function of Matrix NMS.
        nms_sigma: Steepness of the gaussian decay.
        keep_threshold: Smallest score after Matrix NMS.
        max_instances: Largest number of instances per image.

    Returns:
        One ``Instances`` per image, by falling score, possibly empty; boxes are tight around masks.
    """
    levels = [suppress_neighbours(torch.sigmoid(logits)) for logits in outputs.category_logits]
    category_probs = torch.cat([level.flatten(2) for level in levels], dim=2)
    kernels = torch.cat([level.flatten(2) for level in outputs.kernels], dim=2)
    results = []
    for image, original_size in enumerate(original_sizes):
        height, width = image_sizes[image].tolist()
        # Cells of the padding take no part: neither in maskness nor in overlaps.
        features = outputs.mask_features[image, :, : -(-height // mask_stride), : -(-width // mask_stride)]
        scores, labels, cells = _candidates(category_probs[image], score_threshold, max_candidates)
        probs = torch.sigmoid(dynamic_masks(kernels[image, :, cells].T, features))
        binary = probs > mask_threshold
        rescored = scores * maskness(probs, mask_threshold)
        scores = matrix_nms(binary, labels, rescored, kernel=nms_kernel, sigma=nms_sigma)
        order = _survivors(scores, binary, keep_threshold, max_instances)
        masks = resized_masks(
            probs[order], (height, width), original_size, stride=mask_stride, threshold=mask_threshold
        )
        boxes = masks_to_boxes(masks)
        visible = boxes[:, 2] > boxes[:, 0]
        if not bool(visible.all()):  # indexing copies the masks, which can be gigabytes
            masks, boxes, order = masks[visible], boxes[visible], order[visible]
        results.append(Instances(masks, boxes, scores[order], labels[order], original_size))
    return results


def suppress_neighbours(probs: Float[Tensor, "B K S S"]) -> Float[Tensor, "B K S S"]:
    """Zero the cells that are not the largest of the 2 x 2 cells ending at them (points NMS).

    Args:
        probs: Category probabilities of one level.

    Returns:
        The probabilities, 0 where the cell above, to the left or diagonally above-left is larger.
    """
    largest = F.max_pool2d(probs, kernel_size=2, stride=1, padding=1)[:, :, :-1, :-1]
    return torch.where(largest == probs, probs, torch.zeros_like(probs))


def maskness(probs: Float[Tensor, "n h w"], threshold: float) -> Float[Tensor, " n"]:
    """Return the mean probability of each mask over the cells above the threshold; 0 if none is.

    Args:
        probs: Mask probabilities.
        threshold: What counts as inside.
    """
    inside = probs > threshold
    return (probs * inside).sum(dim=(-2, -1)) / inside.sum(dim=(-2, -1)).clamp_min(1)


def _candidates(probs: Tensor, threshold: float, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Scores, labels and cells of the best pairs of class and cell of one image, best first."""
    labels, cells = (probs > threshold).nonzero(as_tuple=True)
    scores = probs[labels, cells]
    best = scores.sort(descending=True, stable=True).indices[:count]
    return scores[best], labels[best], cells[best]


def _survivors(scores: Tensor, binary: Tensor, threshold: float, count: int) -> Tensor:
    """Indices of the best candidates after Matrix NMS that have a mask at all, best first."""
    order = scores.sort(descending=True, stable=True).indices
    alive = (scores >= threshold) & binary.flatten(1).any(dim=1)
    return order[alive[order]][:count]
