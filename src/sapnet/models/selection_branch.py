"""The pseudo-label branch: select pass, region generation, refine pass, box mining (figure 2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
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
from sapnet.mil.refinement import picking_scores, positive_guidance, refine
from sapnet.mil.scoring import bag_scores, class_probabilities, guide_class_logits, scores_at_label
from sapnet.mil.selection import select, take_rows
from sapnet.models.mil_head import MilHead
from sapnet.models.region_features import RegionFeatures
from sapnet.models.selection_settings import SelectionSettings, StageFunctions
from sapnet.structures import BagScores, Batch, PointPrompts, ProposalBags, Regions, Selection


@dataclass(frozen=True)
class SelectionOutputs:
    """What the branch found for a batch."""

    picks: Selection
    """box_prm and its proposal (box_psm where the refine pass is off)."""
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
        regions: Region features.
        head: The two-branch head with its select and refine outputs.
        stages: The stages with their settings.
        settings: The rest of the settings.
    """

    def __init__(
        self,
        *,
        regions: RegionFeatures,
        head: MilHead,
        stages: StageFunctions,
        settings: SelectionSettings,
    ) -> None:
        super().__init__()
        self.regions = regions
        self.head = head
        self.stages = stages
        self.settings = settings

    def forward(
        self, features: Sequence[Float[Tensor, "B _ _ _"]], batch: Batch, *, picks_only: bool = False
    ) -> SelectionOutputs:
        """Run all stages on a batch.

        Args:
            features: The maps that are pooled, finest first.
            batch: Clicks, bags and random draws.
            picks_only: Leave out the boxes that no pick depends on; the sums then mean nothing.

        Returns:
            Picks without gradient, and differentiable loss sums with their counts.
        """
        maps = self.regions.project(features)
        bags, prompts, labels = batch.bags, batch.prompts, batch.prompts.labels
        pooled = self.regions.of_bags(maps, bags, prompts)
        embedded = self.head.embed(pooled)
        guidance = self._guidance(prompts, bags)
        usable = bags.valid.any(dim=1)

        scores, plain_scores, loss_scores = self._select_scores(embedded, bags, guidance)
        recorded = guidance if self.settings.guide_logits else None
        first = select(scores, bags, labels, batch.image_sizes, prompts.image_index, guidance=recorded)
        if self.stages.mine is not None and (self.settings.mine_after_select or not self.settings.refine):
            first = self.stages.mine(first, scores_at_label(scores.scores, labels).detach(), bags)
        selection_sum = selection_loss_sum(loss_scores.bag_scores, labels, usable=usable)
        weights = annotated_bag_scores(plain_scores.bag_scores, labels)
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
                ranking_scores=ranking,
                num_negatives=zero.detach(),
                **common,
                **empty,
            )
        regions = self.stages.generate(
            first, bags, prompts, batch.image_sizes, batch.background_draws, batch.part_draws
        )
        if picks_only:
            regions = self._without_the_unpicked(regions, bags)
        positives, negatives = self._embed_regions(maps, pooled, embedded, regions, first, batch)
        picks, ranking, positive_sum = self._refine(positives, regions, first, guidance, weights, batch)
        return SelectionOutputs(
            picks=picks,
            ranking_scores=ranking,
            refinement_positive_sum=positive_sum,
            refinement_negative_sum=self._negative_sum(negatives),
            num_negatives=zero.new_tensor(float(len(regions.negative_boxes))),
            **common,
        )

    def _guidance(self, prompts: PointPrompts, bags: ProposalBags) -> Tensor:
        if self.stages.guide is None:
            return torch.ones_like(bags.area)
        return self.stages.guide(prompts, bags)

    def _logits(
        self, embedded: Tensor, shape: tuple[int, int], pass_name: Literal["select", "refine"]
    ) -> tuple[Tensor, Tensor]:
        class_logits, instance_logits = self.head.outputs(embedded, pass_name)
        return class_logits.unflatten(0, shape), instance_logits.unflatten(0, shape)  # (G, P, C) each

    def _select_scores(
        self, embedded: Tensor, bags: ProposalBags, guidance: Tensor
    ) -> tuple[BagScores, BagScores, BagScores]:
        """Scores that pick, scores that weigh the refine pass, scores of the loss of eq. 3."""
        shape = (bags.valid.shape[0], bags.valid.shape[1])
        class_logits, instance_logits = self._logits(embedded, shape, "select")
        count = self.settings.num_classes
        if self.settings.guide_logits:
            plain = bag_scores(class_logits, instance_logits, bags.valid, num_classes=count)
            guided = guide_class_logits(class_logits, guidance)
            trained = bag_scores(guided, instance_logits, bags.valid, num_classes=count)
            in_scores = None
        else:
            plain = trained = bag_scores(
                class_logits, instance_logits, bags.valid, num_classes=count, guidance=guidance
            )
            in_scores = guidance
        picking = self._picking_scores(
            class_logits, instance_logits, bags.valid, self.stages.prior(bags), in_scores
        )
        return picking, plain, trained

    def _picking_scores(
        self,
        class_logits: Tensor,
        instance_logits: Tensor,
        valid: Tensor,
        prior: Tensor,
        guidance: Tensor | None,
    ) -> BagScores:
        rule = self.settings.picking
        return picking_scores(
            class_logits,
            instance_logits,
            valid,
            num_classes=self.settings.num_classes,
            class_activation=rule.class_activation,
            use_instances=rule.use_instances,
            prior=prior,
            guidance=guidance,
        )

    def _without_the_unpicked(self, regions: Regions, bags: ProposalBags) -> Regions:
        """Only the boxes that a pick may depend on."""
        regions = replace(
            regions,
            negative_boxes=regions.negative_boxes[:0],
            negative_image_index=regions.negative_image_index[:0],
        )
        if self.settings.picking.from_positives:
            return regions
        return replace(regions, positive_boxes=bags.boxes, positive_valid=bags.valid)

    def _embed_regions(
        self,
        maps: Sequence[Tensor],
        pooled: Tensor,
        embedded: Tensor,
        regions: Regions,
        first: Selection,
        batch: Batch,
    ) -> tuple[Float[Tensor, "n E"], Float[Tensor, "N E"]]:
        """Embeddings of the positives, ``n = G * P``, and of the negatives."""
        num_prompts, num_proposals = batch.bags.valid.shape
        generated = self.regions.of_generated(maps, regions, first, batch)
        fresh = [generated, self.regions.of_negatives(maps, regions, batch)]
        if self.head.draws:  # dropout draws anew for this pass; otherwise the bag's embeddings stay
            fresh = [pooled, *fresh]
        # One product with the large layer is faster than one for each kind of box.
        *parts, extra, negatives = self.head.embed(torch.cat(fresh)).split([len(item) for item in fresh])
        bag = parts[0] if parts else embedded
        if len(extra) == 0:
            return bag, negatives
        rows = [bag.unflatten(0, (num_prompts, num_proposals)), extra.unflatten(0, (num_prompts, -1))]
        return torch.cat(rows, dim=1).flatten(0, 1), negatives

    def _refine(
        self,
        embedded: Float[Tensor, "n E"],
        regions: Regions,
        first: Selection,
        guidance: Tensor,
        weights: Float[Tensor, " G"],
        batch: Batch,
    ) -> tuple[Selection, Tensor, Tensor]:
        """The refine pass: picks, ranking scores and the positive loss sum."""
        bags, labels, settings = batch.bags, batch.prompts.labels, self.settings
        shape = (len(bags.valid), regions.positive_valid.shape[1])
        class_logits, instance_logits = self._logits(embedded, shape, "refine")
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
        picks, ranking = self._pick_refined(class_logits, instance_logits, regions, first, guidance, batch)
        if self.stages.mine is not None:
            picks = self.stages.mine(picks, ranking, bags)
        return picks, ranking, positive_sum

    def _pick_refined(
        self,
        class_logits: Tensor,
        instance_logits: Tensor,
        regions: Regions,
        first: Selection,
        guidance: Tensor,
        batch: Batch,
    ) -> tuple[Selection, Tensor]:
        """The refine pass's pick, and its scores of the proposals for the annotated class."""
        bags, labels = batch.bags, batch.prompts.labels
        num_proposals = bags.valid.shape[1]
        if not self.settings.picking.from_positives:
            class_logits, instance_logits = (
                class_logits[:, :num_proposals],
                instance_logits[:, :num_proposals],
            )
            regions = replace(regions, positive_boxes=bags.boxes, positive_valid=bags.valid)
        count = regions.positive_valid.shape[1]
        # A generated box inherits what speaks for the proposal it was generated from.
        prior = self.stages.prior(bags)
        base = take_rows(prior, first.proposal_index, absent=0.0)[:, None]
        prior = torch.cat([prior, base.expand(-1, count - num_proposals)], dim=1)
        factors = positive_guidance(guidance, first, num_positives=count)
        picking = self._picking_scores(
            class_logits,
            instance_logits,
            regions.positive_valid,
            prior,
            factors if self.settings.guide_refinement else None,
        )
        picks = refine(picking, regions, bags, labels)
        return picks, scores_at_label(picking.scores, labels)[:, :num_proposals]

    def _negative_sum(self, embedded: Float[Tensor, "N E"]) -> Tensor:
        probs = class_probabilities(
            self.head.classes["refine"](embedded),
            num_classes=self.settings.num_classes,
            class_activation=self.settings.refine_activation,
        )
        return refinement_negative_sum(probs, gamma=self.settings.focal_gamma)
