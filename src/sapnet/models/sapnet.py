"""The whole network: backbone, pyramid, pseudo-label branch and SOLOv2 branch (figure 2)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sapnet.losses.segmentation import SegmentationSums
from sapnet.mil.agreement import segmenter_agreement
from sapnet.mil.expected_overlap import mean_of_views
from sapnet.mil.label_rule import (
    PAPER_RULE,
    LabelRule,
    choose_by_rule,
    promised_overlap,
    voted_masks,
    with_votes,
)
from sapnet.mil.selection import best_valid_index, take_rows
from sapnet.models.backbone import Backbone
from sapnet.models.frozen_features import FeatureKeeper, frozen_features
from sapnet.models.pyramid import FeaturePyramid
from sapnet.models.selection_branch import SelectionBranch, SelectionOutputs
from sapnet.models.solov2_head import Solov2Head
from sapnet.structures import (
    Batch,
    LossSums,
    ProposalBags,
    PseudoLabels,
    SegmentationOutputs,
    Selection,
)

Phase = Literal["selection", "joint", "segmentation"]
"""selection: the pseudo-label branch alone; joint: both branches, end to end; segmentation: the
SOLOv2 branch alone, supervised by the first proposal of every bag without alternates."""

FIRST_POOLED = 1
"""The first backbone stage that the pseudo-label branch pools where it pools the backbone (stride 8)."""


@dataclass(frozen=True)
class Picks:
    """The chosen proposal of every click of a batch, for labelling."""

    proposal_index: Int[Tensor, " G"]
    """Index into the bag; -1 for an empty bag."""
    scores: Float[Tensor, " G"]
    """Overlap with the object that the label promises, in [0, 1] (``mil.label_rule.promised_overlap``)."""
    needed: Float[Tensor, " G"]
    """Share of the votes above which a pixel is kept."""
    votes: Float[Tensor, "G M"] | None = None
    """Weight of every proposal in a vote over the label's pixels, adding up to 1 in a bag that is not
    empty; None where the label is the pick's mask."""


class SapNet(nn.Module):
    """Semantic-aware instance segmentation network.

    Args:
        backbone: Features at strides 4, 8, 16, 32.
        pyramid: Feature pyramid over them.
        selection: The pseudo-label branch.
        segmentation: The SOLOv2 branch.
        pool_backbone: The pseudo-label branch pools the backbone's stages from stride 8 on instead
            of the pyramid.
        map_to_masks: Pick to pseudo masks, with multi-mask supervision settings bound; its ranks are
            replaced by none where no selection ranks the proposals.
        segmentation_sums: Loss of the SOLOv2 branch with its settings bound.
        agreement_exponent: How strongly agreement with the SOLOv2 branch's own mask at the click
            weighs in the picks; 0: not at all (paper).
        supervision_rule: How final scores choose what supervises the SOLOv2 branch; the paper's: the
            pseudo-label branch's own pick.
    """

    def __init__(
        self,
        *,
        backbone: Backbone,
        pyramid: FeaturePyramid,
        selection: SelectionBranch,
        segmentation: Solov2Head,
        pool_backbone: bool,
        map_to_masks: Callable[..., PseudoLabels],
        segmentation_sums: Callable[..., SegmentationSums],
        agreement_exponent: float = 0.0,
        supervision_rule: LabelRule = PAPER_RULE,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.pyramid = pyramid
        self.selection = selection
        self.segmentation = segmentation
        self.pool_backbone = pool_backbone
        self.map_to_masks = map_to_masks
        self.segmentation_sums = segmentation_sums
        self.agreement_exponent = agreement_exponent
        self.supervision_rule = supervision_rule
        self.feature_keeper: FeatureKeeper | None = None
        """Told the features of a wholly frozen backbone that are worth keeping."""

    def forward(self, batch: Batch, phase: Phase = "joint", *, use_agreement: bool = False) -> LossSums:
        """Compute the loss sums of a training batch.

        Args:
            batch: Images, clicks, bags and draws.
            phase: Which branches learn.
            use_agreement: In the joint phase, let the SOLOv2 branch's agreement weigh in.

        Returns:
            Unnormalised sums and their counts; those of an inactive branch are 0.
        """
        maps, levels = self._maps(batch, with_levels=phase != "selection")
        found: SelectionOutputs | None = None
        if phase != "segmentation":
            found = self.selection(maps, batch)
        segmented: SegmentationSums | None = None
        if phase != "selection":
            outputs = _in_full_precision(self.segmentation(levels))
            # Losses add up thousands of cells, which half precision cannot.
            with torch.autocast(batch.images.device.type, enabled=False):
                labels = self._pseudo_labels(found, outputs if use_agreement else None, batch)
                segmented = self.segmentation_sums(outputs, labels)
        zero = maps[-1].sum() * 0.0
        return LossSums(
            selection=found.selection_sum if found else zero,
            refinement_positive=found.refinement_positive_sum if found else zero,
            refinement_negative=found.refinement_negative_sum if found else zero,
            category=segmented.category if segmented else zero,
            mask=segmented.mask if segmented else zero,
            num_prompts=found.num_prompts if found else zero.detach(),
            num_negatives=found.num_negatives if found else zero.detach(),
            num_positive_cells=segmented.num_positive_cells if segmented else zero.detach(),
            selected_score_sum=found.selected_score_sum if found else zero.detach(),
        )

    def segment(self, images: Float[Tensor, "B 3 H W"]) -> SegmentationOutputs:
        """Run the part that inference needs: backbone, pyramid and SOLOv2 branch.

        Args:
            images: Normalised images, padded no further than each alone would be.

        Returns:
            Raw outputs for ``inference.postprocess``.
        """
        return self.segmentation(self.pyramid(self.backbone(images)))

    @torch.no_grad()
    def pick(
        self,
        batch: Batch,
        *,
        use_segmenter: bool = True,
        others: Sequence[Batch] = (),
        rule: LabelRule = PAPER_RULE,
    ) -> Picks:
        """Choose a proposal for every click of a batch.

        Args:
            batch: Images, clicks and bags.
            use_segmenter: Let the SOLOv2 branch's agreement weigh in where the network was built
                with it; False while that branch is untrained.
            others: Other views of the same images with the same clicks and bags.
            rule: How the scores choose.

        Returns:
            The picks. From one view and by the paper's rule they are the branch's own: mined ones where box
            mining is on.
        """
        picks, ranking = self._ranked(batch, use_segmenter)
        index = picks.proposal_index
        if others:
            ranking = mean_of_views([ranking, *(self._ranked(view, use_segmenter)[1] for view in others)])
        choice = choose_by_rule(ranking, batch.bags, batch.prompts.image_index, batch.image_sizes, rule)
        if others or not rule.is_highest_score:
            index = choice.proposal_index
        masks = take_rows(batch.bags.masks, index, absent=False)
        if choice.is_vote:
            masks, _ = voted_masks(masks, choice.belief, choice.needed, batch.bags)
        promised = promised_overlap(masks, choice.belief, batch.bags)
        return Picks(index, promised, choice.needed, choice.belief if choice.is_vote else None)

    def _maps(self, batch: Batch, *, with_levels: bool) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        """The maps that the pseudo-label branch pools, and the pyramid's levels where they are needed."""
        needs_pyramid = with_levels or not self.pool_backbone
        first = 0 if needs_pyramid else FIRST_POOLED
        if self.backbone.is_frozen:
            stages = frozen_features(self.backbone, batch, first=first, keeper=self.feature_keeper)
        else:
            stages = self.backbone(batch.images)[first:]
        levels = self.pyramid(stages) if needs_pyramid else ()
        return (stages[FIRST_POOLED - first :] if self.pool_backbone else levels), levels

    def _ranked(self, batch: Batch, use_segmenter: bool) -> tuple[Selection, Float[Tensor, "G M"]]:
        """The branch's own picks and the final scores of all proposals, from one view."""
        weighs_agreement = use_segmenter and self.agreement_exponent > 0
        maps, levels = self._maps(batch, with_levels=weighs_agreement)
        found = self.selection(maps, batch, picks_only=True)
        outputs = self.segmentation(levels) if weighs_agreement else None
        return self._final(found, outputs, batch)

    def _pseudo_labels(
        self, found: SelectionOutputs | None, outputs: SegmentationOutputs | None, batch: Batch
    ) -> PseudoLabels:
        """Masks that supervise the SOLOv2 branch."""
        bags, prompts = batch.bags, batch.prompts
        picks, ranking = self._final(found, outputs, batch)
        if found is None:
            # Without a selection nothing ranks alternates: the first proposal supervises alone.
            return self.map_to_masks(picks, bags, ranking, prompts, ranks=())
        if self.supervision_rule.is_highest_score:
            return self.map_to_masks(picks, bags, ranking, prompts)
        choice = choose_by_rule(ranking, bags, prompts.image_index, batch.image_sizes, self.supervision_rule)
        picks = _selection(choice.proposal_index, choice.scores, picks.guidance, bags)
        labels = self.map_to_masks(picks, bags, choice.scores, prompts)
        if not choice.is_vote:
            return labels
        stride = batch.images.shape[-1] // bags.masks.shape[-1]
        return with_votes(labels, choice.belief, choice.needed, bags, mask_stride=stride)

    def _final(
        self, found: SelectionOutputs | None, outputs: SegmentationOutputs | None, batch: Batch
    ) -> tuple[Selection, Float[Tensor, "G M"]]:
        """The branch's own picks and the final scores of all proposals."""
        bags = batch.bags
        if found is None:
            index = torch.where(bags.valid.any(dim=1), 0, -1)
            return _selection(index, bags.scores, bags.scores.new_ones(len(bags.scores)), bags), bags.scores
        if outputs is None or self.agreement_exponent == 0:
            return found.picks, found.ranking_scores
        agreement = segmenter_agreement(outputs, batch.prompts, bags, batch.image_sizes)
        ranking = found.ranking_scores * agreement.clamp_min(1e-6) ** self.agreement_exponent
        # The branch's own pick may be a mined one that does not score highest.
        index = best_valid_index(ranking, bags.valid)
        return _selection(index, ranking, found.picks.guidance, bags), ranking


def _selection(index: Tensor, scores: Tensor, guidance: Tensor, bags: ProposalBags) -> Selection:
    """The selection of proposals of some rank in their bags."""
    return Selection(
        boxes=take_rows(bags.boxes, index, absent=0.0),
        proposal_index=index,
        scores=take_rows(scores, index, absent=0.0),
        guidance=guidance,
    )


def _in_full_precision(outputs: SegmentationOutputs) -> SegmentationOutputs:
    return SegmentationOutputs(
        category_logits=tuple(level.float() for level in outputs.category_logits),
        kernels=tuple(level.float() for level in outputs.kernels),
        mask_features=outputs.mask_features.float(),
    )
