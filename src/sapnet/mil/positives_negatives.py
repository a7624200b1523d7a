"""Positive and negative proposal generation (PNPG, section 3.3, eq. 4 and algorithm 1).

Random numbers come in from outside, so that every function here is deterministic.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sapnet.ops.boxes import box_areas, clip_boxes, pairwise_iou, scale_about_center
from sapnet.structures import PointPrompts, ProposalBags, Regions, Selection

_MIN_GUIDANCE = 1e-6
"""Keeps v / S_dis finite when a large exponent drives the guidance factor to 0."""

_OUTSIDE_SHARE = 0.2
"""Background boxes may start this share of the image size left of or above the image, and end as
far right of or below it (released code)."""


def generate_positives(
    boxes: Float[Tensor, "G 4"],
    guidance: Float[Tensor, " G"],
    *,
    scale_factors: Sequence[float],
    shift: bool = False,
) -> Float[Tensor, "G V 4"]:
    """Boxes around the selected ones (PPG, eq. 4): sides times ``1 + v / S_dis`` and ``1 - v / S_dis``.

    How the ``±`` of b_x and b_y is read: with ``shift=False`` b_x, b_y are a corner that moves
    against the growth, so boxes stay concentric (as in the released code). With ``shift=True``
    they are the centre and the two signs are independent: every size comes four times, each time
    moved by half its growth along x and y, so that one corner of the selected box stays in place.

    Args:
        boxes: ``(G, 4)`` selected boxes, xyxy.
        guidance: ``(G,)`` S_dis of the selected proposals, in (0, 1].
        scale_factors: The v of eq. 4.
        shift: Take the four corner-anchored boxes instead of the concentric one.

    Returns:
        ``(G, V, 4)`` boxes in the same frame, not clipped; first all enlarged ones in the order of
        ``scale_factors``, then all shrunk ones. V is twice (shifted: eight times) the number of
        factors. Where ``v / S_dis`` is 1 or more the shrunk box is empty.
    """
    steps = torch.tensor(tuple(scale_factors), dtype=boxes.dtype, device=boxes.device)
    growth = steps / guidance.to(boxes.dtype).clamp_min(_MIN_GUIDANCE)[:, None]
    factors = 1 + torch.cat([growth, -growth], dim=1)  # (G, V)
    scaled = scale_about_center(boxes, factors)
    if not shift:
        return scaled
    half_growth = (scaled[..., 2:] - scaled[..., :2] - (boxes[:, 2:] - boxes[:, :2])[:, None]) / 2
    signs = torch.tensor([(-1, -1), (-1, 1), (1, -1), (1, 1)], dtype=boxes.dtype, device=boxes.device)
    offsets = (half_growth[:, :, None] * signs).repeat(1, 1, 1, 2)  # (G, V, 4, 4): x, y, x, y
    return (scaled[:, :, None] + offsets).flatten(1, 2)


def place_background_boxes(
    draws: Float[Tensor, "B R 4"], image_sizes: Int[Tensor, "B 2"]
) -> Float[Tensor, "B R 4"]:
    """Random boxes all over the images and a little beyond (the released code's placement).

    ``x1 = -0.2 W + 1.2 W u`` and ``x2 = x1 + (1.2 W - x1) u'``; y likewise. Boxes may stick out
    of the image on every side.

    Args:
        draws: ``(B, R, 4)`` uniform numbers in [0, 1): for x1, y1, x2, y2.
        image_sizes: ``(B, 2)`` sizes ``(height, width)``.

    Returns:
        ``(B, R, 4)`` xyxy boxes in the frame of each image.
    """
    extent = image_sizes.flip(-1).to(draws.dtype)[:, None]  # (B, 1, 2): width, height
    limit = (1 + _OUTSIDE_SHARE) * extent
    start = -_OUTSIDE_SHARE * extent + limit * draws[..., :2]
    end = start + (limit - start) * draws[..., 2:]
    return torch.cat([start, end], dim=-1)


def place_part_boxes(boxes: Float[Tensor, "G 4"], draws: Float[Tensor, "G S 4"]) -> Float[Tensor, "G S 4"]:
    """Smaller boxes inside the selected ones.

    Args:
        boxes: ``(G, 4)`` selected boxes, xyxy.
        draws: ``(G, S, 4)`` uniform numbers in [0, 1): the share of the width and of the height
            that the part takes, then where in the free space it starts along x and y.

    Returns:
        ``(G, S, 4)`` boxes in the same frame; their overlap with the selected box is the product
        of the two shares.
    """
    sides = (boxes[:, 2:] - boxes[:, :2])[:, None]
    part_sides = sides * draws[..., :2]
    start = boxes[:, None, :2] + (sides - part_sides) * draws[..., 2:]
    return torch.cat([start, start + part_sides], dim=-1)


@torch.no_grad()
def generate_regions(
    selection: Selection,
    bags: ProposalBags,
    prompts: PointPrompts,
    image_sizes: Int[Tensor, "B 2"],
    background_draws: Float[Tensor, "B R 4"],
    part_draws: Float[Tensor, "G S 4"],
    *,
    positives: bool = True,
    negatives: bool = True,
    scale_factors: Sequence[float] = (0.01, 0.03, 0.05, 0.07, 0.09),
    shift: bool = False,
    background_iou: float = 0.3,
    part_iou: float = 0.5,
    part_min_area: float = 4096.0,
) -> Regions:
    """Positive bags B+ and the negative set U around a selection (algorithm 1).

    Args:
        selection: box_psm of every prompt and the guidance factors of eq. 4.
        bags: The proposals; they open the positives, in order.
        prompts: The clicks, for their ``image_index``.
        image_sizes: ``(B, 2)`` sizes ``(height, width)`` of the pictures in input pixels.
        background_draws: See ``place_background_boxes``.
        part_draws: See ``place_part_boxes``.
        positives: Add generated boxes to the bag (PPG).
        negatives: Generate negatives (NPG).
        scale_factors: v of eq. 4.
        shift: See ``generate_positives``.
        background_iou: T_neg1: background boxes overlap every valid positive of their image less.
        part_iou: T_neg2: part boxes overlap their selected box less.
        part_min_area: Selected boxes below this area (input pixels) get no parts.

    Returns:
        The regions. Generated boxes are clipped; those without area or of an empty bag are invalid.
        Negatives: background boxes that show some of the image, by image, then parts, by prompt.
    """
    positive_boxes, positive_valid, images = bags.boxes, bags.valid, prompts.image_index
    selected = selection.proposal_index >= 0
    if positives:
        generated = generate_positives(
            selection.boxes, selection.guidance, scale_factors=scale_factors, shift=shift
        )
        generated = clip_boxes(generated, image_sizes[images][:, None])
        positive_boxes = torch.cat([positive_boxes, generated], dim=1)
        positive_valid = torch.cat([positive_valid, (box_areas(generated) > 0) & selected[:, None]], dim=1)
    if not negatives:
        background_draws, part_draws = background_draws[:, :0], part_draws[:, :0]
    background = place_background_boxes(background_draws.to(bags.boxes.dtype), image_sizes)
    clear = _clear_of_positives(background, positive_boxes, positive_valid, images, threshold=background_iou)
    clear &= box_areas(clip_boxes(background, image_sizes[:, None])) > 0
    parts = place_part_boxes(selection.boxes, part_draws.to(bags.boxes.dtype))
    partial = _partial(parts, selection.boxes, threshold=part_iou, min_area=part_min_area)
    partial &= selected[:, None]
    return Regions(
        positive_boxes=positive_boxes,
        positive_valid=positive_valid,
        negative_boxes=torch.cat([background[clear], parts[partial]]),
        negative_image_index=torch.cat([clear.nonzero()[:, 0], images[partial.nonzero()[:, 0]]]),
    )


def _partial(
    parts: Float[Tensor, "G S 4"], boxes: Float[Tensor, "G 4"], *, threshold: float, min_area: float
) -> Bool[Tensor, "G S"]:
    """Which part boxes have area, overlap their box less than the threshold, and may be had at all."""
    areas, part_areas = box_areas(boxes)[:, None], box_areas(parts)
    # A part lies inside, so its overlap with the box is the ratio of the areas.
    return (part_areas < threshold * areas) & (part_areas > 0) & (areas >= min_area)


def _clear_of_positives(
    background: Float[Tensor, "B R 4"],
    positive_boxes: Float[Tensor, "G P 4"],
    positive_valid: Bool[Tensor, "G P"],
    image_index: Int[Tensor, " G"],
    *,
    threshold: float,
) -> Bool[Tensor, "B R"]:
    """Which background boxes overlap every valid positive of their image less than the threshold."""
    clear = torch.ones(background.shape[:2], dtype=torch.bool, device=background.device)
    # One image at a time: a joint matrix would grow with the square of the batch.
    for image in range(background.shape[0]):
        of_image = image_index == image
        boxes = positive_boxes[of_image][positive_valid[of_image]]
        if boxes.shape[0]:
            clear[image] = pairwise_iou(background[image], boxes).amax(dim=1) < threshold
    return clear
