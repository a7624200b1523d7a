"""The enhancer's boxes with numbers worked by hand."""

import torch

from sapnet.enhancer.box_mean import mean_of_best
from sapnet.enhancer.coarse_bags import coarse_boxes
from sapnet.enhancer.refinement_bags import refinement_boxes, shown_share


def test_coarse_boxes_are_base_times_a_hundredth_of_the_short_side_and_squeezed_both_ways():
    # s = 200 / 100 * 8 = 16; f = 2: 32 wide, 8 high.
    found = coarse_boxes(
        torch.tensor([[100.0, 50.0]]),
        torch.tensor([[200, 300]]),
        base_sizes=(8.0,),
        aspect_factors=(1.0, 2.0),
    )
    assert found.tolist() == [[[92, 42, 108, 58], [84, 46, 116, 54]]]


def test_a_symmetric_cut_keeps_the_click_in_the_middle_and_the_other_keeps_what_is_inside():
    # s = 100 / 100 * 40 = 40 around (10, 50): 20 to either side, but only 10 to the left.
    click, size = torch.tensor([[10.0, 50.0]]), torch.tensor([[100, 200]])
    options = {"base_sizes": (40.0,), "aspect_factors": (1.0,)}
    assert coarse_boxes(click, size, cut="symmetric", **options).tolist() == [[[0, 30, 20, 70]]]
    assert coarse_boxes(click, size, cut="clip", **options).tolist() == [[[0, 30, 30, 70]]]


def test_refinement_scales_both_sides_on_their_own_and_moves_by_a_tenth():
    # Around (50, 40), 20 wide and 40 high; twice as wide is 40, a tenth of that 4.
    found = refinement_boxes(torch.tensor([[40.0, 20.0, 60.0, 60.0]]), scale_factors=(1.0, 2.0), shift=0.1)
    assert found.shape == (1, 20, 4)
    assert found[0, 0].tolist() == [40, 20, 60, 60]
    assert found[0, 1].tolist() == [38, 20, 58, 60]
    assert found[0, 4].tolist() == [40, 24, 60, 64]
    assert found[0, 5].tolist() == [40, 0, 60, 80]  # as wide, twice as high
    assert found[0, 10].tolist() == [30, 20, 70, 60]  # twice as wide, as high
    assert found[0, 12].tolist() == [34, 20, 74, 60]


def test_a_quarter_of_a_box_over_the_rim_leaves_three_quarters():
    found = shown_share(torch.tensor([[[-5.0, 0.0, 15.0, 10.0]]]), torch.tensor([[100, 100]]))
    assert found.tolist() == [[0.75]]


def test_the_best_boxes_weigh_as_much_as_they_score():
    boxes = torch.tensor([[[0.0, 0, 10, 10], [0, 0, 20, 20], [0, 0, 90, 90]]])
    scores = torch.tensor([[0.3, 0.1, 0.05]])
    found = mean_of_best(
        boxes, scores, torch.ones(1, 3, dtype=torch.bool), count=2, confidence=torch.tensor([[0.8, 0.4, 0.0]])
    )
    torch.testing.assert_close(found.boxes, torch.tensor([[0.0, 0, 12.5, 12.5]]))
    torch.testing.assert_close(found.confidence, torch.tensor([0.7]))
