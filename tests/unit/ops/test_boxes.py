import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.ops import box_iou

from oracles import boxes as oracle
from oracles.random_bags import random_case
from sapnet.ops.boxes import (
    bag_iou,
    box_areas,
    clip_boxes,
    contains_box,
    contains_points,
    pairwise_iou,
    scale_about_center,
)


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 10_000))
def test_overlaps_equal_the_loop_and_torchvision(seed):
    boxes = random_case(seed).bags.boxes
    single = boxes[:, 0]
    expected = [
        [oracle.iou(b.tolist(), s.tolist()) for b in bag] for bag, s in zip(boxes, single, strict=True)
    ]
    torch.testing.assert_close(bag_iou(boxes, single), torch.tensor(expected, dtype=torch.float64))
    flat = boxes.flatten(0, 1)
    torch.testing.assert_close(pairwise_iou(flat, single), box_iou(flat, single))


def test_empty_boxes_overlap_nothing_not_even_themselves():
    empty = torch.tensor(
        [[3.0, 3.0, 3.0, 9.0], [5.0, 5.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]], requires_grad=True
    )
    assert box_areas(empty).tolist() == [0, 0, 0]
    overlaps = pairwise_iou(empty, empty)
    assert overlaps.count_nonzero() == 0
    overlaps.sum().backward()
    assert empty.grad.isfinite().all()


def test_lists_without_boxes_give_empty_results():
    none = torch.zeros(0, 4)
    assert pairwise_iou(none, torch.zeros(3, 4)).shape == (0, 3)
    assert bag_iou(torch.zeros(0, 5, 4), none).shape == (0, 5)
    assert scale_about_center(none, torch.zeros(0, 2)).shape == (0, 2, 4)


def test_scaling_keeps_the_centre_and_a_factor_of_zero_or_less_empties_the_box():
    box = torch.tensor([[2.0, 4.0, 6.0, 12.0]])
    scaled = scale_about_center(box, torch.tensor([[1.0, 2.0, 0.0, -1.0]]))[0]
    assert scaled[:2].tolist() == [[2, 4, 6, 12], [0, 0, 8, 16]]
    assert box_areas(scaled)[2:].tolist() == [0, 0]


def test_boxes_are_half_open():
    box = torch.tensor([1.0, 1.0, 3.0, 3.0])
    points = torch.tensor([[1.0, 1.0], [2.9, 2.9], [3.0, 2.0], [0.9, 2.0]])
    assert contains_points(box.expand(4, 4), points).tolist() == [True, True, False, False]


def test_containment_allows_the_tolerance_on_every_side():
    outer = torch.tensor([2.0, 2.0, 8.0, 8.0])
    inner = torch.tensor(
        [[2.0, 2.0, 8.0, 8.0], [1.0, 2.0, 8.0, 9.0], [-0.5, 2.0, 8.0, 8.0], [2.0, 2.0, 8.0, 10.5]]
    )
    assert contains_box(outer.expand(4, 4), inner).tolist() == [True, False, False, False]
    assert contains_box(outer.expand(4, 4), inner, tolerance=2.0).tolist() == [True, True, False, False]


def test_clipping_uses_width_for_x_and_height_for_y():
    boxes = torch.tensor([[-5.0, -5.0, 300.0, 300.0], [150.0, 90.0, 250.0, 95.0]])
    clipped = clip_boxes(boxes, torch.tensor([[100, 200]]))
    assert clipped.tolist() == [[0, 0, 200, 100], [150, 90, 200, 95]]
