"""The network of the point-to-box enhancer: two multiple-instance passes over generated boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from sapnet.enhancer.box_mean import MeanBoxes, mean_of_best
from sapnet.enhancer.coarse_bags import Cut, coarse_boxes
from sapnet.enhancer.refinement_bags import refinement_boxes, shown_share
from sapnet.losses.mil import (
    annotated_bag_scores,
    refinement_negative_sum,
    refinement_positive_sum,
    selection_loss_sum,
)
from sapnet.mil.point_guidance import point_guidance
from sapnet.mil.positives_negatives import generate_regions
from sapnet.mil.prior import proposal_prior
from sapnet.mil.scoring import bag_scores, class_probabilities, scores_at_label
from sapnet.models.backbone import Backbone
from sapnet.models.mil_head import MilHead
from sapnet.models.pyramid import FeaturePyramid
from sapnet.models.region_pooling import RegionPooler
from sapnet.ops.boxes import box_areas, clip_boxes
from sapnet.structures import BagScores, Batch, LossSums, ProposalBags, Regions, Selection

_CHUNK = 4096
"""Boxes whose features are in memory at a time; an image with 1,000 clicks has some ten times as many."""

_PassName = Literal["select", "refine"]


@dataclass(frozen=True)
class EnhancerSettings:
    """Constants of the two passes."""

    num_classes: int
    base_sizes: tuple[float, ...] = (4, 8, 16, 32, 64, 128)
    aspect_factors: tuple[float, ...] = (1 / 3, 1 / 2, 2 / 3, 1.0, 1.5, 2.0, 3.0)
    cut: Cut = "symmetric"
    best_count: int = 7
    refinement_scales: tuple[float, ...] = (1.0, 1.2, 1.3, 0.8, 0.7)
    refinement_shift: float = 0.1
    min_shown_share: float = 0.7
    background_iou: float = 0.3
    part_iou: float = 0.5
    part_min_area: float = 0.0
    guidance_exponent: float = 0.0
    """d of SAPNet's eq. 2 for boxes that cover other clicks of the class; 0: none (P2BNet)."""
    instance_probability: bool = True
    """The mean's scores have the instance probability as a factor (P2BNet); it prefers telling parts."""
    size_exponent: float = 0.0
    """The mean's scores have (area / largest area of the bag) to this power as a factor; P2BNet: 0."""
    focal_gamma: float = 2.0


@dataclass(frozen=True)
class _Pass:
    boxes: Float[Tensor, "G V 4"]
    valid: Bool[Tensor, "G V"]
    scores: BagScores
    mean: MeanBoxes


class PointToBox(nn.Module):
    """Learns boxes from clicks and their classes (P2BNet: coarse box prediction, then box refinement).

    The select pass scores coarse boxes around the click; the weighted mean of the best is refined by the
    second pass over boxes near it. Both learn from the class of the click alone.

    Args:
        backbone: Its stages of strides 8 to 32 are pooled from where there is no pyramid.
        pyramid: Gives the maps to pool from; None: the backbone's stages.
        projections: One module per map.
        pooler: RoIAlign with its settings.
        head: The two-branch head with its two passes.
        settings: Constants.
    """

    def __init__(
        self,
        *,
        backbone: Backbone,
        pyramid: FeaturePyramid | None,
        projections: Sequence[nn.Module],
        pooler: RegionPooler,
        head: MilHead,
        settings: EnhancerSettings,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.pyramid = pyramid
        self.projections = nn.ModuleList(projections)
        self.pooler = pooler
        self.head = head
        self.settings = settings

    def forward(self, batch: Batch, phase: str = "selection", *, use_agreement: bool = False) -> LossSums:
        """Compute the loss sums of a training batch; ``losses.total.total_loss`` combines them.

        Args:
            batch: Images, clicks and draws; the bags of proposals are not looked at.
            phase: Not used: there is one phase. The training loop names it.
            use_agreement: Not used: there is no segmenter.

        Returns:
            Sums: ``selection`` of the first pass (cross-entropy of the bag scores), ``refinement_positive``
            and ``refinement_negative`` of the second (focal losses); the segmenter's are 0.
        """
        settings, labels = self.settings, batch.prompts.labels
        maps = self._maps(batch)
        first, second = self._passes(maps, batch)
        usable = second.mean.valid
        weights = annotated_bag_scores(first.scores.bag_scores, labels)
        negatives = self._negatives(first.mean, second, batch)
        logits = self._class_logits(maps, negatives)
        probs = class_probabilities(logits, num_classes=settings.num_classes, class_activation="sigmoid")
        zero = torch.stack([part.sum() for part in maps]).sum() * 0.0
        return LossSums(
            selection=selection_loss_sum(first.scores.bag_scores, labels, usable=usable) + zero,
            refinement_positive=refinement_positive_sum(
                second.scores.bag_scores, labels, weights, gamma=settings.focal_gamma, usable=usable
            ),
            refinement_negative=refinement_negative_sum(probs, gamma=settings.focal_gamma),
            category=torch.zeros_like(zero),
            mask=torch.zeros_like(zero),
            num_prompts=usable.sum().to(weights.dtype),
            num_negatives=weights.new_tensor(float(len(probs))),
            num_positive_cells=weights.new_zeros(()),
            selected_score_sum=weights[usable].sum(),
        )

    @torch.no_grad()
    def estimate(self, batch: Batch) -> MeanBoxes:
        """Estimate the box of every click.

        Args:
            batch: Images and clicks.

        Returns:
            Boxes in input pixels, clipped to the image; ``confidence`` is the class probability of the
            click's class in the second pass.
        """
        _, second = self._passes(self._maps(batch), batch)
        sizes = batch.image_sizes[batch.prompts.image_index]
        boxes = clip_boxes(second.mean.boxes, sizes)
        return MeanBoxes(
            boxes=boxes,
            confidence=second.mean.confidence,
            valid=second.mean.valid & (box_areas(boxes) > 0),
        )

    def _maps(self, batch: Batch) -> list[Tensor]:
        stages = self.backbone(batch.images)
        levels = stages[1:] if self.pyramid is None else self.pyramid(stages)
        return [project(level) for project, level in zip(self.projections, levels, strict=True)]

    def _passes(self, maps: Sequence[Tensor], batch: Batch) -> tuple[_Pass, _Pass]:
        settings = self.settings
        sizes = batch.image_sizes[batch.prompts.image_index]
        coarse = coarse_boxes(
            batch.prompts.xy,
            sizes,
            base_sizes=settings.base_sizes,
            aspect_factors=settings.aspect_factors,
            cut=settings.cut,
        )
        first = self._pass(maps, coarse, box_areas(coarse) > 0, batch, "select")
        near = refinement_boxes(
            first.mean.boxes, scale_factors=settings.refinement_scales, shift=settings.refinement_shift
        )
        valid = (shown_share(near, sizes) > settings.min_shown_share) & first.mean.valid[:, None]
        return first, self._pass(maps, near, valid, batch, "refine")

    def _pass(
        self, maps: Sequence[Tensor], boxes: Tensor, valid: Tensor, batch: Batch, name: _PassName
    ) -> _Pass:
        """Score the boxes of every bag, class times instance probability, and average the best."""
        settings, prompts = self.settings, batch.prompts
        images = prompts.image_index.repeat_interleave(boxes.shape[1])
        classes, instances = self._logits(maps, boxes.flatten(0, 1), images, name)
        bags = _bags_of(boxes, valid)
        guidance = point_guidance(
            prompts, bags, overlap="box-covers-point", exponent=settings.guidance_exponent
        )
        scores = bag_scores(
            classes.unflatten(0, valid.shape),
            instances.unflatten(0, valid.shape),
            valid,
            num_classes=settings.num_classes,
            class_activation="softmax" if name == "select" else "sigmoid",
            guidance=guidance,
        )
        class_probs = scores_at_label(scores.class_probs, prompts.labels).detach()
        ranking = class_probs * scores.guidance
        if settings.instance_probability:
            ranking = scores_at_label(scores.scores, prompts.labels).detach()
        ranking = ranking * proposal_prior(bags, size_exponent=settings.size_exponent)
        mean = mean_of_best(boxes, ranking, valid, count=settings.best_count, confidence=class_probs)
        return _Pass(boxes, valid, scores, mean)

    def _logits(
        self, maps: Sequence[Tensor], boxes: Tensor, images: Tensor, name: _PassName
    ) -> tuple[Tensor, Tensor]:
        """Class and instance logits of any number of boxes, in bounded memory also when training."""

        def of_part(part: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
            return self.head(self.pooler(maps, part, index), name)

        parts = list(zip(boxes.split(_CHUNK), images.split(_CHUNK), strict=True))
        if len(parts) == 1 or not torch.is_grad_enabled():
            found = [of_part(*part) for part in parts]
        else:
            found = [checkpoint(of_part, *part, use_reentrant=False) for part in parts]
        return torch.cat([classes for classes, _ in found]), torch.cat([instances for _, instances in found])

    def _class_logits(self, maps: Sequence[Tensor], negatives: Regions) -> Tensor:
        features = self.pooler(maps, negatives.negative_boxes, negatives.negative_image_index)
        return self.head.class_logits(features, "refine")

    def _negatives(self, first: MeanBoxes, second: _Pass, batch: Batch) -> Regions:
        """Random boxes that overlap no box of the second bags much (P2BNet), and parts if drawn."""
        selection = Selection(
            boxes=first.boxes,
            proposal_index=torch.where(second.mean.valid, 0, -1),
            scores=first.confidence,
            guidance=torch.ones_like(first.confidence),
        )
        return generate_regions(
            selection,
            _bags_of(second.boxes, second.valid),
            batch.prompts,
            batch.image_sizes,
            batch.background_draws,
            batch.part_draws,
            positives=False,
            background_iou=self.settings.background_iou,
            part_iou=self.settings.part_iou,
            part_min_area=self.settings.part_min_area,
        )


def _bags_of(boxes: Float[Tensor, "G V 4"], valid: Bool[Tensor, "G V"]) -> ProposalBags:
    """Boxes without masks in the form that the stages of SAPNet take."""
    nothing = boxes.new_zeros(valid.shape)
    return ProposalBags(
        boxes=boxes,
        masks=valid.new_zeros((*valid.shape, 0, 0)),
        scores=nothing,
        valid=valid,
        covered_points=torch.zeros_like(valid),
        covered_distance=nothing,
        area=box_areas(boxes),
        opinions=torch.ones_like(nothing),
    )
