import time

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from oracles import positives_negatives as oracle
from oracles.random_bags import HEIGHT, WIDTH, make_bags, make_prompts, random_case
from sapnet.mil.positives_negatives import generate_positives, generate_regions
from sapnet.mil.scoring import bag_scores
from sapnet.mil.selection import select
from sapnet.structures import Selection


def select_from(case):
    guidance = 0.5 + 0.5 * torch.rand(case.bags.valid.shape, dtype=torch.float64)
    scores = bag_scores(
        case.class_logits, case.instance_logits, case.bags.valid, num_classes=3, guidance=guidance
    )
    return select(scores, case.bags, case.prompts.labels, case.image_sizes, case.prompts.image_index)


def regions_of(case, selection, **options):
    return generate_regions(
        selection,
        case.bags,
        case.prompts,
        case.image_sizes,
        case.background_draws,
        case.part_draws,
        **options,
    )


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10_000), num_prompts=st.integers(0, 5), shift=st.booleans())
def test_regions_equal_the_loop(seed, num_prompts, shift):
    case = random_case(seed, num_prompts=num_prompts, num_proposals=3)
    selection = select_from(case)
    options = {
        "scale_factors": (0.05, 0.3, 0.8),
        "shift": shift,
        "background_iou": 0.2,
        "part_iou": 0.3,
        "part_min_area": 500.0,
    }
    regions = regions_of(case, selection, **options)
    positives, negatives = oracle.generate(case, selection, **options)
    boxes = torch.tensor([[box for box, _ in bag] for bag in positives], dtype=torch.float64)
    torch.testing.assert_close(regions.positive_boxes, boxes.reshape(regions.positive_boxes.shape))
    assert regions.positive_valid.tolist() == [[valid for _, valid in bag] for bag in positives]
    boxes = torch.tensor([box for box, _ in negatives], dtype=torch.float64).reshape(-1, 4)
    torch.testing.assert_close(regions.negative_boxes, boxes)
    assert regions.negative_image_index.tolist() == [image for _, image in negatives]


def test_positives_can_be_the_bag_alone():
    case = random_case(1)
    regions = regions_of(case, select_from(case), positives=False)
    assert torch.equal(regions.positive_boxes, case.bags.boxes)
    assert torch.equal(regions.positive_valid, case.bags.valid)


def test_negatives_can_be_left_out():
    case = random_case(1)
    regions = regions_of(case, select_from(case), negatives=False)
    assert regions.negative_boxes.shape == (0, 4)
    assert regions.negative_image_index.shape == (0,)


def test_a_low_guidance_factor_spreads_the_positives_wider():
    box = torch.tensor([[10.0, 10.0, 20.0, 20.0]])
    alone = generate_positives(box, torch.tensor([1.0]), scale_factors=[0.1])
    grouped = generate_positives(box, torch.tensor([0.5]), scale_factors=[0.1])
    torch.testing.assert_close(alone, torch.tensor([[[9.5, 9.5, 20.5, 20.5], [10.5, 10.5, 19.5, 19.5]]]))
    torch.testing.assert_close(grouped, torch.tensor([[[9.0, 9, 21, 21], [11, 11, 19, 19]]]))


def test_a_shrunk_box_without_area_is_invalid():
    case = random_case(2)
    selection = select_from(case)
    regions = regions_of(case, selection, scale_factors=(1.0,))
    assert not regions.positive_valid[:, -1].any()
    assert torch.equal(regions.positive_valid[:, -2], selection.proposal_index >= 0)


def test_a_vanishing_guidance_factor_gives_no_infinite_box():
    boxes = generate_positives(torch.tensor([[1.0, 1.0, 2.0, 2.0]]), torch.tensor([0.0]), scale_factors=[0.1])
    assert boxes.isfinite().all()


def test_no_scale_factors_leave_the_bag_as_it_is():
    case = random_case(1)
    assert regions_of(case, select_from(case), scale_factors=()).positive_boxes.shape[1] == 4


def test_an_image_without_objects_gives_background_only():
    case = random_case(4, num_prompts=0, num_images=1)
    regions = regions_of(case, select_from(case))
    assert regions.positive_boxes.shape[0] == 0
    assert regions.negative_boxes.shape[0] > 0
    assert (regions.negative_image_index == 0).all()


def test_small_selected_boxes_get_no_parts():
    case = random_case(4)
    selection = select_from(case)
    case.background_draws = case.background_draws[:, :0]
    assert regions_of(case, selection, part_min_area=float(WIDTH * HEIGHT) + 1).negative_boxes.shape[0] == 0
    assert regions_of(case, selection, part_min_area=0.0, part_iou=1.0).negative_boxes.shape[0] > 0


def test_background_wholly_outside_the_picture_is_dropped():
    nothing = Selection(
        boxes=torch.zeros(0, 4),
        proposal_index=torch.zeros(0, dtype=torch.long),
        scores=torch.zeros(0),
        guidance=torch.zeros(0),
    )
    # The first lies left of and above the picture, the last has no width.
    draws = torch.tensor([[[0.0, 0.0, 0.05, 0.05], [0.5, 0.5, 0.5, 0.5], [0.5, 0.5, 0.0, 0.5]]])
    regions = generate_regions(
        nothing,
        make_bags(torch.zeros(0, 1, 4)),
        make_prompts([]),
        torch.tensor([[100, 100]]),
        draws,
        torch.zeros(0, 1, 4),
    )
    assert regions.negative_boxes.tolist() == [[40, 40, 80, 80]]


@pytest.mark.parametrize("shift", [False, True])
def test_a_thousand_prompts_in_one_image_take_moments(shift):
    case = random_case(2, num_prompts=1000, num_proposals=8, num_images=1)
    start = time.perf_counter()
    regions = regions_of(case, select_from(case), shift=shift)
    assert regions.positive_boxes.shape == (1000, 8 + (40 if shift else 10), 4)
    assert time.perf_counter() - start < 5
