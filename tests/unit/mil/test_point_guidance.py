import time
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from oracles import point_guidance as oracle
from oracles.random_bags import STRIDE, make_bags, make_prompts, random_case
from sapnet.mil import point_guidance as module
from sapnet.mil.point_guidance import point_guidance

OVERLAPS = ["mask-covers-point", "box-covers-point", "bags-overlap"]


def with_points_covered_on_the_grid(case):
    """The case with covered_points and covered_distance as its own strided masks have them."""
    factors = torch.tensor(
        oracle.point_guidance(
            case, overlap="mask-covers-point", distance="euclidean", exponent=1.0, stride=STRIDE
        ),
        dtype=torch.float64,
    ).reshape(case.bags.valid.shape)
    covered = factors < 1
    distance = torch.where(covered, -1 / torch.log(1 / factors - 1), 0.0)  # the sigmoid undone
    case.bags = replace(case.bags, covered_points=covered, covered_distance=distance)
    return case


@settings(deadline=None, max_examples=20)
@given(
    seed=st.integers(0, 10_000),
    num_prompts=st.integers(0, 6),
    overlap=st.sampled_from(OVERLAPS),
    distance=st.sampled_from(["euclidean", "square-root"]),
    exponent=st.sampled_from([0.0, 1 / 64, 1.0, 3.0]),
)
def test_guidance_equals_the_loop(seed, num_prompts, overlap, distance, exponent):
    case = random_case(seed, num_prompts=num_prompts, num_proposals=3, num_classes=2)
    case = with_points_covered_on_the_grid(case)
    actual = point_guidance(
        case.prompts, case.bags, overlap=overlap, distance=distance, exponent=exponent, mask_stride=STRIDE
    )
    expected = oracle.point_guidance(
        case, overlap=overlap, distance=distance, exponent=exponent, stride=STRIDE
    )
    expected = torch.tensor(expected, dtype=torch.float64).reshape(num_prompts, 3)
    torch.testing.assert_close(actual, expected, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("overlap", OVERLAPS)
def test_objects_of_another_class_or_image_do_not_count(overlap):
    boxes = [[[0, 0, 20, 20]]] * 2
    for labels, images in [([0, 1], [0, 0]), ([0, 0], [0, 1])]:
        prompts = make_prompts([[4, 4], [12, 12]], labels=labels, image_index=images)
        assert point_guidance(prompts, make_bags(boxes), overlap=overlap).tolist() == [[1.0], [1.0]]


def test_clicks_at_the_same_place_leave_the_factor_at_one():
    prompts = make_prompts([[4, 4], [4, 4]])
    bags = make_bags([[[0, 0, 9, 9]]] * 2, covered=[[True], [True]], distance=[[0.0], [0.0]])
    for overlap in OVERLAPS:
        assert point_guidance(prompts, bags, overlap=overlap).tolist() == [[1.0], [1.0]]


def test_a_click_that_only_the_full_resolution_mask_covers_still_counts():
    bags = make_bags(
        [[[0, 0, 9, 9]]] * 2,
        covered=[[True], [False]],
        distance=[[16.0], [0.0]],
        masks=torch.zeros(2, 1, 2, 2, dtype=torch.bool),
    )
    prompts = make_prompts([[4, 4], [20, 4]])
    factors = point_guidance(prompts, bags, distance="square-root")
    assert factors[1].item() == 1.0
    assert factors[0].item() == pytest.approx(torch.tensor(1 / 4).sigmoid().item())


def test_an_exponent_of_zero_switches_the_guidance_off():
    case = random_case(1, num_classes=1)
    assert (point_guidance(case.prompts, case.bags, exponent=0.0) == 1).all()


@pytest.mark.parametrize("overlap", OVERLAPS)
def test_chunks_give_the_same_as_one_piece(overlap, monkeypatch):
    case = random_case(7, num_prompts=9, num_classes=1)
    whole = point_guidance(case.prompts, case.bags, overlap=overlap, distance="square-root")
    monkeypatch.setattr(module, "_CHUNK_ELEMENTS", 1)
    pieces = point_guidance(case.prompts, case.bags, overlap=overlap, distance="square-root")
    assert torch.equal(whole, pieces)


@pytest.mark.parametrize("overlap", OVERLAPS)
def test_a_thousand_prompts_in_one_image_take_moments(overlap):
    case = random_case(2, num_prompts=1000, num_proposals=6, num_images=1, num_classes=1)
    start = time.perf_counter()
    factors = point_guidance(case.prompts, case.bags, overlap=overlap, distance="square-root")
    assert factors.shape == (1000, 6)
    assert time.perf_counter() - start < 5
