"""The loss sums of the SOLOv2 branch."""

import dataclasses

import pytest
import torch

from device_without_float64 import NAME, DeviceWithoutFloat64
from sapnet.losses.segmentation import limit_positives, segmentation_sums
from sapnet.losses.solov2_targets import assign_targets
from sapnet.structures import SegmentationOutputs
from segmentation_builders import empty_labels, random_labels, random_outputs

RANGES = [(1, 30), (20, 100)]
GRIDS = [5, 3]


def flatten(sums):
    return torch.stack((sums.category, sums.mask, sums.num_positive_cells))


def test_without_objects_the_sums_are_finite_and_reach_every_output():
    outputs = random_outputs(0, requires_grad=True)
    sums = segmentation_sums(outputs, empty_labels(), scale_ranges=RANGES)
    (sums.category + sums.mask).backward()
    assert sums.mask.item() == 0
    assert sums.num_positive_cells.item() == 0
    leaves = (*outputs.category_logits, *outputs.kernels, outputs.mask_features)
    assert all(leaf.grad is not None and leaf.grad.isfinite().all() for leaf in leaves)


def test_sums_over_a_batch_are_the_sums_over_its_images():
    outputs, labels = random_outputs(1), random_labels(1, count=6)
    together = flatten(segmentation_sums(outputs, labels, scale_ranges=RANGES))
    apart = torch.zeros(3)
    for image in range(2):
        own = labels.image_index == image
        part = dataclasses.replace(
            labels,
            **{name: getattr(labels, name)[own] for name in ("labels", "boxes", "masks", "mask_valid")},
            image_index=torch.zeros(int(own.sum()), dtype=torch.long),
        )
        alone = dataclasses.replace(
            outputs,
            category_logits=tuple(x[image : image + 1] for x in outputs.category_logits),
            kernels=tuple(x[image : image + 1] for x in outputs.kernels),
            mask_features=outputs.mask_features[image : image + 1],
        )
        apart += flatten(segmentation_sums(alone, part, scale_ranges=RANGES))
    assert torch.allclose(together, apart, rtol=1e-5)


def test_three_alternates_with_weight_one_half_count_one_twelfth_each():
    labels = random_labels(2, count=1, num_masks=4, images=1)
    same = labels.masks[:, :1].expand(-1, 4, -1, -1).clone()
    same[:, :, 4:9, 5:9] = True
    labels = dataclasses.replace(labels, masks=same, mask_valid=torch.ones(1, 4, dtype=torch.bool))
    alone = dataclasses.replace(labels, masks=same[:, :1], mask_valid=torch.ones(1, 1, dtype=torch.bool))
    outputs = random_outputs(2, images=1)
    with_alternates = segmentation_sums(outputs, labels, scale_ranges=RANGES)
    pick_only = segmentation_sums(outputs, alone, scale_ranges=RANGES)
    assert with_alternates.mask.item() == pytest.approx(pick_only.mask.item() * (1 + 3 / 12), rel=1e-5)
    assert with_alternates.category.item() == pick_only.category.item()
    assert with_alternates.num_positive_cells.item() == pick_only.num_positive_cells.item() > 0


def test_masks_on_another_grid_are_refused():
    with pytest.raises(ValueError, match="cells"):
        segmentation_sums(random_outputs(0, grid=(8, 8)), random_labels(0), scale_ranges=RANGES)


def test_a_limit_keeps_centres_of_picks_first_and_lets_them_stand_for_all():
    labels = random_labels(3, count=30, num_masks=3)
    targets = assign_targets(labels, num_grids=[12, 9], scale_ranges=RANGES, center_sigma=0.5)
    kept, share = limit_positives(targets, 20)
    for image in range(2):
        mine, all_mine = kept.image == image, targets.image == image
        assert int(mine.sum()) == 20
        assert (kept.rank[mine] == 0).all()
        centres = int(((targets.rank == 0) & (targets.ring == 0) & all_mine).sum())
        assert int((kept.ring[mine] == 0).sum()) == min(20, centres)
        picks = int(((targets.rank == 0) & all_mine).sum())
        assert share[mine].sum().item() == pytest.approx(picks)


def test_a_limit_that_is_not_reached_changes_nothing():
    labels = random_labels(4, count=8)
    targets = assign_targets(labels, num_grids=GRIDS, scale_ranges=RANGES)
    kept, share = limit_positives(targets, 1000)
    assert len(kept) == len(targets)
    assert (share == 1).all()


def test_a_limit_thins_a_crowded_image_evenly():
    labels = random_labels(5, count=400, num_masks=1, images=1)
    targets = assign_targets(labels, num_grids=[40, 36], scale_ranges=RANGES)
    kept, _ = limit_positives(targets, 50)
    quarters = torch.bincount(kept.prompt // 100, minlength=4)
    assert quarters.min() >= 5


def test_a_limited_loss_stays_near_the_full_one():
    labels, outputs = random_labels(6, count=60, images=1), random_outputs(6, images=1, grids=(12, 9))
    full = segmentation_sums(outputs, labels, scale_ranges=RANGES)
    limited = segmentation_sums(outputs, labels, scale_ranges=RANGES, max_positives=40, alternate_weight=0.0)
    reference = segmentation_sums(outputs, labels, scale_ranges=RANGES, alternate_weight=0.0)
    assert limited.mask.item() == pytest.approx(reference.mask.item(), rel=0.15)
    assert limited.category.item() == full.category.item()
    assert limited.num_positive_cells.item() == full.num_positive_cells.item()


def test_a_device_without_float64_gives_the_same_sums():
    outputs, labels = random_outputs(3), random_labels(3, count=6)
    options = {"scale_ranges": RANGES, "max_positives": 8}
    expected = flatten(segmentation_sums(outputs, labels, **options))
    with DeviceWithoutFloat64():
        there = dataclasses.replace(
            labels, **{item.name: getattr(labels, item.name).to(NAME) for item in dataclasses.fields(labels)}
        )
        drawn = SegmentationOutputs(
            tuple(level.to(NAME) for level in outputs.category_logits),
            tuple(level.to(NAME) for level in outputs.kernels),
            outputs.mask_features.to(NAME),
        )
        targets = assign_targets(there, num_grids=GRIDS, scale_ranges=RANGES)
        assert all(getattr(targets, item.name).device == NAME for item in dataclasses.fields(targets))
        found = flatten(segmentation_sums(drawn, there, **options)).cpu()
    assert torch.equal(found, expected)
