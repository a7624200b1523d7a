"""Features of proposals, generated positives and negatives, with or without their masks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sapnet.models.region_pooling import RegionPooler
from sapnet.structures import Batch, PointPrompts, ProposalBags, Regions, Selection


class RegionFeatures(nn.Module):
    """Projects feature maps and pools every kind of box from them.

    Args:
        pooler: RoIAlign with its settings.
        projections: One module per feature map, applied before pooling.
        mask_stride: Input pixels per mask cell.
    """

    def __init__(self, *, pooler: RegionPooler, projections: Sequence[nn.Module], mask_stride: int) -> None:
        super().__init__()
        self.pooler = pooler
        self.projections = nn.ModuleList(projections)
        self.mask_stride = mask_stride

    def project(self, features: Sequence[Float[Tensor, "B _ _ _"]]) -> list[Tensor]:
        """Return the maps that the other methods pool from.

        Args:
            features: Backbone stages or pyramid levels, finest first.
        """
        return [projection(feature) for projection, feature in zip(self.projections, features, strict=True)]

    def of_bags(
        self, maps: Sequence[Tensor], bags: ProposalBags, prompts: PointPrompts
    ) -> Float[Tensor, "n D r r"]:
        """Return the features of all proposals, ``n = G * M``.

        Args:
            maps: What ``project`` returned.
            bags: The proposals.
            prompts: Their clicks, for ``image_index``.
        """
        index = prompts.image_index.repeat_interleave(bags.valid.shape[1])
        masks = bags.masks.flatten(0, 1)
        return self.pooler(maps, bags.boxes.flatten(0, 1), index, masks=masks, mask_stride=self.mask_stride)

    def of_generated(
        self, maps: Sequence[Tensor], regions: Regions, first: Selection, batch: Batch
    ) -> Float[Tensor, "n D r r"]:
        """Return the features of the generated positives, ``n = G * (P - M)``.

        Args:
            maps: What ``project`` returned.
            regions: The positives: the proposals of the bags, then the generated ones.
            first: What the generated ones were generated from.
            batch: Clicks and bags.
        """
        num_prompts, num_proposals = batch.bags.valid.shape
        generated = regions.positive_boxes[:, num_proposals:]
        count = generated.shape[1]
        # A generated box looks through the mask of the proposal it was generated from.
        rows = torch.arange(num_prompts, device=generated.device)
        own = rows * num_proposals + first.proposal_index.clamp_min(0)
        own = torch.where(first.proposal_index >= 0, own, -1).repeat_interleave(count)
        return self.pooler(
            maps,
            generated.flatten(0, 1),
            batch.prompts.image_index.repeat_interleave(count),
            masks=batch.bags.masks.flatten(0, 1),
            mask_index=own,
            mask_stride=self.mask_stride,
        )

    def of_negatives(
        self, maps: Sequence[Tensor], regions: Regions, batch: Batch
    ) -> Float[Tensor, "N D r r"]:
        """Return the features of the negatives.

        Under mask pooling they borrow the shapes of proposals: otherwise having a mask at all would
        tell positives from negatives.

        Args:
            maps: What ``project`` returned.
            regions: The negatives.
            batch: Clicks and bags.
        """
        bags = batch.bags
        lenders = borrowed_shapes(regions, bags, batch.prompts.image_index, num_images=len(batch.images))
        return self.pooler(
            maps,
            regions.negative_boxes,
            regions.negative_image_index,
            # A batch without clicks has background boxes, but nobody to borrow from.
            masks=bags.masks.flatten(0, 1) if len(bags.masks) else None,
            mask_index=lenders,
            mask_boxes=bags.boxes.flatten(0, 1),
            mask_stride=self.mask_stride,
        )


def borrowed_shapes(
    regions: Regions, bags: ProposalBags, image_index: Int[Tensor, " G"], *, num_images: int
) -> Int[Tensor, " N"]:
    """Which proposal lends its mask's shape to every negative box.

    The negatives of an image go through the valid proposals of that image in turn. Their boxes are
    random, so the turn needs no draw of its own.

    Args:
        regions: The negatives.
        bags: The proposals.
        image_index: ``(G,)`` image of every prompt.
        num_images: B.

    Returns:
        ``(N,)`` rows of the flattened ``(G * M)`` proposals; -1 in an image without proposals.
    """
    chosen = torch.full_like(regions.negative_image_index, -1)
    owner = image_index[:, None].expand(bags.valid.shape).flatten()
    valid = bags.valid.flatten()
    for image in range(num_images):
        rows = (valid & (owner == image)).nonzero()[:, 0]
        places = (regions.negative_image_index == image).nonzero()[:, 0]
        if len(rows):
            turn = torch.arange(len(places), device=rows.device) % len(rows)
            chosen[places] = rows[turn]
    return chosen
