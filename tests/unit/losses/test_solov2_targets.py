"""Target assignment of the SOLOv2 branch."""

import torch

from sapnet.losses.solov2_targets import assign_targets
from sapnet.structures import PseudoLabels
from segmentation_builders import empty_labels, random_labels


def one_mask(*rectangles, boxes, grid=(16, 16)):
    """One pick per prompt, all in image 0; a rectangle is (top, left, bottom, right) in cells."""
    masks = torch.zeros(len(rectangles), 1, *grid, dtype=torch.bool)
    for g, (top, left, bottom, right) in enumerate(rectangles):
        masks[g, 0, top:bottom, left:right] = True
    count = len(rectangles)
    return PseudoLabels(
        labels=torch.arange(count),
        boxes=torch.tensor(boxes),
        masks=masks,
        mask_valid=torch.ones(count, 1, dtype=torch.bool),
        image_index=torch.zeros(count, dtype=torch.long),
    )


def test_a_small_object_gets_the_one_cell_of_its_centre():
    labels = one_mask((4, 8, 6, 10), boxes=[[32.0, 16, 40, 24]])
    targets = assign_targets(labels, num_grids=[8], scale_ranges=[(1, 100)])
    assert (targets.cell.tolist(), targets.ring.tolist()) == ([2 * 8 + 4], [0])


def test_a_large_object_gets_at_most_three_by_three_cells():
    labels = one_mask((0, 0, 16, 16), boxes=[[0.0, 0, 64, 64]])
    targets = assign_targets(labels, num_grids=[32], scale_ranges=[(1, 100)], center_sigma=1.0)
    rows = sorted({cell // 32 for cell in targets.cell.tolist()})
    assert (len(targets), rows) == (9, [15, 16, 17])


def test_overlapping_scale_ranges_put_an_object_on_several_levels():
    labels = one_mask((4, 4, 12, 12), boxes=[[16.0, 16, 48, 48]])
    ranges = [(1, 48), (24, 96), (48, 192)]
    targets = assign_targets(labels, num_grids=[8, 6, 4], scale_ranges=ranges, center_sigma=0.01)
    assert sorted(set(targets.level.tolist())) == [0, 1]


def test_scales_outside_all_ranges_go_to_the_nearest_level():
    labels = one_mask((4, 4, 5, 5), (0, 0, 16, 16), boxes=[[16.0, 16, 17, 17], [0, 0, 64, 64]])
    targets = assign_targets(labels, num_grids=[4, 4], scale_ranges=[(8, 16), (16, 32)])
    assert dict(zip(targets.prompt.tolist(), targets.level.tolist(), strict=True)) == {0: 0, 1: 1}


def test_the_smaller_mask_wins_a_contested_cell():
    labels = one_mask((2, 2, 14, 14), (6, 6, 10, 10), boxes=[[8.0, 8, 56, 56], [24, 24, 40, 40]])
    targets = assign_targets(labels, num_grids=[1], scale_ranges=[(1, 100)], center_sigma=0.01)
    assert targets.prompt.tolist() == [1]


def test_the_lower_prompt_wins_between_masks_of_one_size():
    labels = one_mask((6, 6, 10, 10), (6, 6, 10, 10), boxes=[[24.0, 24, 40, 40]] * 2)
    targets = assign_targets(labels, num_grids=[1], scale_ranges=[(1, 100)], center_sigma=0.01)
    assert targets.prompt.tolist() == [0]


def test_an_alternate_uses_its_own_centre_and_the_box_of_the_pick():
    masks = torch.zeros(1, 2, 16, 16, dtype=torch.bool)
    masks[0, 0, 2:4, 2:4] = True
    masks[0, 1, 12:14, 12:14] = True
    labels = PseudoLabels(
        torch.tensor([0]),
        torch.tensor([[8.0, 8, 16, 16]]),
        masks,
        torch.ones(1, 2, dtype=torch.bool),
        torch.tensor([0]),
    )
    targets = assign_targets(labels, num_grids=[4], scale_ranges=[(1, 100)])
    assert list(zip(targets.rank.tolist(), targets.cell.tolist(), strict=True)) == [(0, 0), (1, 15)]


def test_empty_and_invalid_masks_and_no_prompts_give_no_cells():
    labels = random_labels(0)
    nothing = PseudoLabels(
        labels.labels, labels.boxes, labels.masks, torch.zeros_like(labels.mask_valid), labels.image_index
    )
    blank = PseudoLabels(
        labels.labels, labels.boxes, torch.zeros_like(labels.masks), labels.mask_valid, labels.image_index
    )
    for case in (nothing, blank, empty_labels(), empty_labels(num_masks=0)):
        assert len(assign_targets(case, num_grids=[5, 3], scale_ranges=[(1, 30), (20, 100)])) == 0


def test_a_thousand_objects_are_assigned_at_once():
    labels = random_labels(1, count=1000)
    targets = assign_targets(labels, num_grids=[40, 36], scale_ranges=[(1, 30), (20, 100)])
    keys = torch.stack((targets.rank, targets.image, targets.level, targets.cell), dim=1)
    assert len(keys.unique(dim=0)) == len(keys) > 1000
