"""The pseudo-label branch: select pass, region generation, refine pass, box mining (figure 2)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sapnet.losses.mil import (
    annotated_bag_scores,
    refinement_negative_sum,
    refinement_positive_sum,
    selection_loss_sum,
)
from sapnet.mil.refinement import SelectWith, picking_scores, positive_guidance, refine
from sapnet.mil.scoring import (
    ClassActivation,
    bag_scores,
    class_probabilities,
    guide_class_logits,
    scores_at_label,
)
from sapnet.mil.selection import select
from sapnet.models.mil_head import MilHead
from sapnet.models.region_pooling import RegionPooler, borrowed_shapes
from sapnet.structures import BagScores, Batch, PointPrompts, ProposalBags, Regions, Selection


@dataclass(frozen=True)
class StageFunctions:
    """The paper's stages with their settings bound (``build.py`` binds them).

    A stage that is switched off is None.
    """

    guide: Callable[[PointPrompts, ProposalBags], Tensor] | None
    """Point distance guidance (eq. 2)."""
    generate: Callable[..., Regions]
    """Positive and negative proposal generation (algorithm 1)."""
    mine: Callable[..., Selection] | None
    """Box mining strategy (section 3.4)."""


@dataclass(frozen=True)
class SelectionSettings:
    """Settings of the branch that belong to no single stage."""

    num_classes: int
    guide_logits: bool = False
    """Guidance multiplies the class logits of the loss only (released code)."""
    refine: bool = True
    refine_activation: ClassActivation = "sigmoid"
    select_with: SelectWith = "softmax"
    guide_refinement: bool = True
    focal_gamma: float = 2.0
    mine_after_select: bool = False
    mask_stride: int = 4


@dataclass(frozen=True)
class SelectionOutputs:
    """What the branch found for a batch."""

    picks: Selection
    """box_prm and its proposal (box_psm where the refine pass is off)."""
    first_picks: Selection
    """box_psm and its proposal."""
    ranking_scores: Float[Tensor, "G M"]
    """Scores of the proposals for the annotated class by the last pass; detached."""
    selection_sum: Float[Tensor, ""]
    refinement_positive_sum: Float[Tensor, ""]
    refinement_negative_sum: Float[Tensor, ""]
    num_prompts: Float[Tensor, ""]
    num_negatives: Float[Tensor, ""]
    selected_score_sum: Float[Tensor, ""]


class SelectionBranch(nn.Module):
    """Chooses one proposal per click with multiple-instance learning (PSM, PNPG, PRM).

    Args:
        pooler: Region features.
        head: The two-branch head with its select and refine outputs.
        projections: One module per feature map, applied before pooling.
        stages: The stages with their settings.
        settings: The rest of the settings.
    """

    def __init__(
        self,
        *,
        pooler: RegionPooler,
        head: MilHead,
        projections: Sequence[nn.Module],
        stages: StageFunctions,
        settings: SelectionSettings,
    ) -> None:
        super().__init__()
        self.pooler = pooler
        self.head = head
        self.projections = nn.ModuleList(projections)
        self.stages = stages
        self.settings = settings

    def forward(self, features: Sequence[Float[Tensor, "B _ _ _"]], batch: Batch) -> SelectionOutputs:
        """Run all stages on a batch.

        Args:
            features: The maps that are pooled, finest first.
            batch: Clicks, bags and random draws.

        Returns:
            Picks without gradient, and differentiable loss sums with their counts.
        """
        maps = [projection(feature) for projection, feature in zip(self.projections, features, strict=True)]
        bags, prompts, labels = batch.bags, batch.prompts, batch.prompts.labels
        pooled = self._pool_bags(maps, bags, prompts)
        guidance = self._guidance(prompts, bags)
        usable = bags.valid.any(dim=1)

        scores, loss_scores = self._select_scores(pooled, bags, guidance)
        recorded = guidance if self.settings.guide_logits else None
        first = select(scores, bags, labels, batch.image_sizes, prompts.image_index, guidance=recorded)
        if self.stages.mine is not None and (self.settings.mine_after_select or not self.settings.refine):
            first = self.stages.mine(first, scores_at_label(scores.scores, labels).detach(), bags)
        selection_sum = selection_loss_sum(loss_scores.bag_scores, labels, usable=usable)
        weights = annotated_bag_scores(scores.bag_scores, labels)
        zero = selection_sum * 0.0
        common = {
            "selection_sum": selection_sum,
            "num_prompts": usable.sum().to(zero.dtype),
            "selected_score_sum": weights[usable].sum(),
        }
        if not self.settings.refine:
            ranking = scores_at_label(scores.scores, labels).detach()
            empty = {"refinement_positive_sum": zero, "refinement_negative_sum": zero}
            return SelectionOutputs(
                picks=first,
                first_picks=first,
                ranking_scores=ranking,
                num_negatives=zero.detach(),
                **common,
                **empty,
            )
        regions = self.stages.generate(
            first, bags, prompts, batch.image_sizes, batch.background_draws, batch.part_draws
        )
        picks, ranking, positive_sum, negative_sum = self._refine(
            maps, pooled, regions, first, guidance, weights, batch
        )
        return SelectionOutputs(
            picks=picks,
            first_picks=first,
            ranking_scores=ranking,
            refinement_positive_sum=positive_sum,
            refinement_negative_sum=negative_sum,
            num_negatives=zero.new_tensor(float(len(regions.negative_boxes))),
            **common,
        )

    def _guidance(self, prompts: PointPrompts, bags: ProposalBags) -> Tensor:
        if self.stages.guide is None:
            return torch.ones_like(bags.area)
        return self.stages.guide(prompts, bags)

    def _pool_bags(self, maps: Sequence[Tensor], bags: ProposalBags, prompts: PointPrompts) -> Tensor:
        """Region features of all proposals, ``(G * M, D, r, r)``."""
        num_proposals = bags.valid.shape[1]
        index = prompts.image_index.repeat_interleave(num_proposals)
        masks = bags.masks.flatten(0, 1)
        return self.pooler(
            maps, bags.boxes.flatten(0, 1), index, masks=masks, mask_stride=self.settings.mask_stride
        )

    def _logits(
        self, pooled: Tensor, shape: tuple[int, int], pass_name: Literal["select", "refine"]
    ) -> tuple[Tensor, Tensor]:
        class_logits, instance_logits = self.head(pooled, pass_name)
        return class_logits.unflatten(0, shape), instance_logits.unflatten(0, shape)  # (G, P, C) each

    def _select_scores(
        self, pooled: Tensor, bags: ProposalBags, guidance: Tensor
    ) -> tuple[BagScores, BagScores]:
        """Scores that select, and scores that enter the loss of eq. 3."""
        shape = (bags.valid.shape[0], bags.valid.shape[1])
        class_logits, instance_logits = self._logits(pooled, shape, "select")
        if self.settings.guide_logits:
            plain = bag_scores(
                class_logits, instance_logits, bags.valid, num_classes=self.settings.num_classes
            )
            guided = bag_scores(
                guide_class_logits(class_logits, guidance),
                instance_logits,
                bags.valid,
                num_classes=self.settings.num_classes,
            )
            return plain, guided
        scores = bag_scores(
            class_logits,
            instance_logits,
            bags.valid,
            num_classes=self.settings.num_classes,
            guidance=guidance,
        )
        return scores, scores

    def _refine(
        self,
        maps: Sequence[Tensor],
        pooled: Tensor,
        regions: Regions,
        first: Selection,
        guidance: Tensor,
        weights: Float[Tensor, " G"],
        batch: Batch,
    ) -> tuple[Selection, Tensor, Tensor, Tensor]:
        """The refine pass: picks, ranking scores, positive and negative loss sums."""
        bags, labels, settings = batch.bags, batch.prompts.labels, self.settings
        num_prompts, num_proposals = bags.valid.shape
        num_positives = regions.positive_valid.shape[1]
        features = self._pool_positives(maps, pooled, regions, first, batch)
        class_logits, instance_logits = self._logits(features, (num_prompts, num_positives), "refine")
        trained = bag_scores(
            class_logits,
            instance_logits,
            regions.positive_valid,
            num_classes=settings.num_classes,
            class_activation=settings.refine_activation,
        )
        positive_sum = refinement_positive_sum(
            trained.bag_scores, labels, weights, gamma=settings.focal_gamma, usable=bags.valid.any(dim=1)
        )
        negative_sum = self._negative_sum(maps, regions, batch)
        factors = positive_guidance(guidance, first, num_positives=num_positives)
        picking = picking_scores(
            class_logits,
            instance_logits,
            regions.positive_valid,
            num_classes=settings.num_classes,
            select_with=settings.select_with,
            guidance=factors if settings.guide_refinement else None,
        )
        picks = refine(picking, regions, bags, labels)
        ranking = scores_at_label(picking.scores, labels)[:, :num_proposals]
        if self.stages.mine is not None:
            picks = self.stages.mine(picks, ranking, bags)
        return picks, ranking, positive_sum, negative_sum

    def _pool_positives(
        self, maps: Sequence[Tensor], pooled: Tensor, regions: Regions, first: Selection, batch: Batch
    ) -> Tensor:
        """Region features of all positives; those of the bag are not pooled twice."""
        num_prompts, num_proposals = batch.bags.valid.shape
        generated = regions.positive_boxes[:, num_proposals:]
        count = generated.shape[1]
        if count == 0:
            return pooled
        # A generated box looks through the mask of the proposal it was generated from.
        rows = torch.arange(num_prompts, device=pooled.device)
        own = rows * num_proposals + first.proposal_index.clamp_min(0)
        own = torch.where(first.proposal_index >= 0, own, -1).repeat_interleave(count)
        extra = self.pooler(
            maps,
            generated.flatten(0, 1),
            batch.prompts.image_index.repeat_interleave(count),
            masks=batch.bags.masks.flatten(0, 1),
            mask_index=own,
            mask_stride=self.settings.mask_stride,
        )
        joined = torch.cat(
            [pooled.unflatten(0, (num_prompts, num_proposals)), extra.unflatten(0, (num_prompts, count))],
            dim=1,
        )
        return joined.flatten(0, 1)

    def _negative_sum(self, maps: Sequence[Tensor], regions: Regions, batch: Batch) -> Tensor:
        """Focal loss of the negatives; they borrow shapes, or having a mask would betray a positive."""
        bags = batch.bags
        features = self.pooler(
            maps,
            regions.negative_boxes,
            regions.negative_image_index,
            masks=bags.masks.flatten(0, 1),
            mask_index=borrowed_shapes(
                regions, bags, batch.prompts.image_index, num_images=len(batch.images)
            ),
            mask_boxes=bags.boxes.flatten(0, 1),
            mask_stride=self.settings.mask_stride,
        )
        probs = class_probabilities(
            self.head.class_logits(features, "refine"),
            num_classes=self.settings.num_classes,
            class_activation=self.settings.refine_activation,
        )
        return refinement_negative_sum(probs, gamma=self.settings.focal_gamma)
