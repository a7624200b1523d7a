"""From the stored proposals of an image to padded bags in the input frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor

from sapnet.data.rle import masks_cover_points
from sapnet.data.transforms import Geometry, grid_size, move_boxes, move_masks, move_points
from sapnet.errors import DataError
from sapnet.structures import ProposalBags

if TYPE_CHECKING:
    from sapnet.data.annotations import ImagePoints
    from sapnet.proposals.proposer import ImageProposals

_PAIRS_PER_CHUNK = 2_000_000


def bags_of_image(
    proposals: ImageProposals | None,
    clicks: ImagePoints,
    geometry: Geometry,
    *,
    mask_stride: int,
    max_proposals: int,
    file_name: str,
) -> ProposalBags:
    """Put the proposals of an image into one bag per click.

    Args:
        proposals: In the original frame; those of other annotations are left out. None: none.
        clicks: The G clicks of the image, in the original frame.
        geometry: The way to the input frame.
        mask_stride: Input pixels per cell of the mask grid.
        max_proposals: Kept per click, best proposer score first (ties as stored).
        file_name: Named in errors.

    Returns:
        Bags in the input frame, in the order of the clicks, with M of at least one, so that a bag
        without proposals is one invalid slot.

    Raises:
        DataError: The proposals have another image size than the image.
    """
    count = len(clicks.annotation_ids)
    if proposals is None or len(proposals.counts) == 0:
        return _empty_bags(count, geometry, mask_stride)
    if tuple(proposals.image_size) != geometry.original_size:
        raise DataError(file_name, [_size_problem(proposals, geometry.original_size, file_name)])
    chosen, owner, slot = _place(proposals, clicks.annotation_ids, max_proposals)
    counts = [proposals.counts[row] for row in chosen]
    covered, distance = _covered(counts, proposals.boxes[chosen], owner, clicks, geometry)
    place = (torch.from_numpy(owner), torch.from_numpy(slot))

    def padded(values: Tensor) -> Tensor:
        bag = torch.zeros((count, int(slot.max(initial=0)) + 1, *values.shape[1:]), dtype=values.dtype)
        bag[place] = values
        return bag

    def single(values: ndarray) -> Tensor:
        return torch.from_numpy(np.asarray(values[chosen], dtype=np.float32))

    opinions = np.ones(proposals.num_proposals) if proposals.opinions is None else proposals.opinions
    return ProposalBags(
        boxes=padded(move_boxes(proposals.boxes[chosen], geometry)),
        masks=padded(move_masks(counts, geometry, stride=mask_stride)),
        scores=padded(single(proposals.scores)),
        valid=padded(torch.ones(len(chosen), dtype=torch.bool)),
        covered_points=padded(torch.from_numpy(covered)),
        covered_distance=padded(torch.from_numpy(distance)),
        area=padded(single(np.asarray(proposals.areas, dtype=np.float64) * geometry.area_scale)),
        opinions=padded(single(opinions)),
    )


def _size_problem(proposals: ImageProposals, size: tuple[int, int], file_name: str) -> str:
    return (
        f"{file_name} (image id {proposals.image_id}): its proposals were made at "
        f"{proposals.image_size[1]} x {proposals.image_size[0]} pixels (width x height), but the "
        f"image has {size[1]} x {size[0]}; run propose again"
    )


def _place(
    proposals: ImageProposals, annotation_ids: ndarray, max_proposals: int
) -> tuple[ndarray, ndarray, ndarray]:
    """Return the proposals that are used, and the click and the slot of each."""
    order = np.argsort(annotation_ids, kind="stable")
    stored = np.asarray(proposals.annotation_ids)[np.asarray(proposals.prompt_index)]
    guess = np.searchsorted(annotation_ids[order], stored)
    owner = order[np.minimum(guess, len(order) - 1)]
    known = annotation_ids[owner] == stored
    rows = np.flatnonzero(known)
    owner = owner[rows]
    by_score = np.lexsort((-np.asarray(proposals.scores)[rows], owner))
    rows, owner = rows[by_score], owner[by_score]
    slot = np.arange(len(rows)) - np.searchsorted(owner, owner, side="left")
    kept = slot < max_proposals
    return rows[kept], owner[kept].astype(np.int64), slot[kept].astype(np.int64)


def _covered(
    counts: list[bytes], boxes: ndarray, owner: ndarray, clicks: ImagePoints, geometry: Geometry
) -> tuple[ndarray, ndarray]:
    """Tell which proposals cover clicks of other objects of the class, and how far those are.

    Returns:
        bool (n,), and float32 (n,): the sum of the distances in input pixels from the proposal's
        own click to the covered ones.
    """
    covered = np.zeros(len(counts), dtype=bool)
    distance = np.zeros(len(counts))
    xy, labels = np.asarray(clicks.xy), np.asarray(clicks.labels)
    moved = move_points(xy, geometry).numpy().astype(np.float64)
    step = max(1, _PAIRS_PER_CHUNK // max(1, len(xy)))
    for start in range(0, len(counts), step):
        part = np.arange(start, min(start + step, len(counts)))
        box, own = boxes[part, None], owner[part]
        # A mask covers no point outside its box, which leaves few pairs for the exact test.
        near = (xy >= box[..., :2]).all(-1) & (xy < box[..., 2:]).all(-1)
        near &= labels[own][:, None] == labels[None, :]
        near[np.arange(len(part)), own] = False
        mask, click = np.nonzero(near)
        hit = masks_cover_points([counts[row] for row in part], geometry.original_size, mask, xy[click])
        mask, click = mask[hit], click[hit]
        lengths = np.linalg.norm(moved[own[mask]] - moved[click], axis=-1)
        distance[part] = np.bincount(mask, weights=lengths, minlength=len(part))
        covered[part] = np.bincount(mask, minlength=len(part)) > 0
    return covered, distance.astype(np.float32)


def _empty_bags(count: int, geometry: Geometry, mask_stride: int) -> ProposalBags:
    grid = grid_size(geometry.input_size, mask_stride)
    return ProposalBags(
        boxes=torch.zeros((count, 1, 4)),
        masks=torch.zeros((count, 1, *grid), dtype=torch.bool),
        scores=torch.zeros((count, 1)),
        valid=torch.zeros((count, 1), dtype=torch.bool),
        covered_points=torch.zeros((count, 1), dtype=torch.bool),
        covered_distance=torch.zeros((count, 1)),
        area=torch.zeros((count, 1)),
        opinions=torch.zeros((count, 1)),
    )
