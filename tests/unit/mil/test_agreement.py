"""Agreement of proposals with what the segmenter draws at the click."""

from dataclasses import replace

import pytest
import torch

from oracles import agreement as oracle
from oracles.random_bags import HEIGHT, STRIDE, WIDTH, random_case
from sapnet.mil.agreement import click_masks, segmenter_agreement
from sapnet.structures import SegmentationOutputs

GRIDS = (6, 4, 1)


def random_outputs(seed, num_images=2, num_classes=3, num_channels=4):
    g = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=g, dtype=torch.float64)

    return SegmentationOutputs(
        category_logits=tuple(normal(num_images, num_classes, size, size) for size in GRIDS),
        kernels=tuple(normal(num_images, num_channels, size, size) for size in GRIDS),
        mask_features=normal(num_images, num_channels, HEIGHT // STRIDE, WIDTH // STRIDE),
    )


@pytest.mark.parametrize("seed", range(3))
def test_agreement_equals_the_loops(seed):
    case, outputs = random_case(seed), random_outputs(seed)
    sizes = torch.tensor([[HEIGHT, WIDTH], [HEIGHT - 22, WIDTH - 9]])
    found = segmenter_agreement(outputs, case.prompts, case.bags, sizes, mask_stride=STRIDE)
    torch.testing.assert_close(
        found.double(), oracle.agreement(outputs, case.prompts, case.bags, sizes, STRIDE)
    )


def test_the_proposal_that_is_drawn_agrees_fully():
    case, outputs = random_case(1, num_prompts=1, num_images=1), random_outputs(1, num_images=1)
    sure = replace(outputs, kernels=tuple(1e3 * kernel for kernel in outputs.kernels[:1]))
    sure = replace(sure, category_logits=outputs.category_logits[:1])
    drawn = click_masks(sure, case.prompts, (HEIGHT, WIDTH)) > 0.5
    bags = replace(
        case.bags, masks=torch.stack([drawn, ~drawn, drawn, ~drawn], dim=1), valid=torch.ones(1, 4).bool()
    )
    found = segmenter_agreement(sure, case.prompts, bags, torch.tensor([[HEIGHT, WIDTH]]), mask_stride=STRIDE)
    torch.testing.assert_close(found, torch.tensor([[1.0, 0.0, 1.0, 0.0]]).to(found), atol=1e-2, rtol=0)


def box_bags(case, *boxes):
    """Bags of one click whose masks are boxes of cells (rows, columns)."""
    masks = torch.zeros(1, len(boxes), HEIGHT // STRIDE, WIDTH // STRIDE, dtype=torch.bool)
    for place, (top, bottom, left, right) in enumerate(boxes):
        masks[0, place, top:bottom, left:right] = True
    fields = {
        name: getattr(case.bags, name)[:, : len(boxes)]
        for name in ("boxes", "scores", "covered_points", "covered_distance", "area")
    }
    fields["opinions"] = torch.ones(1, len(boxes))
    return replace(case.bags, **fields, masks=masks, valid=torch.ones(1, len(boxes), dtype=torch.bool))


@pytest.mark.parametrize("seed", range(3))
def test_agreement_of_boxes_equals_the_loops_in_a_window_smaller_than_the_picture(seed):
    case, outputs = random_case(seed, num_prompts=1, num_images=1), random_outputs(seed, num_images=1)
    bags = box_bags(case, (4, 8, 5, 11), (3, 6, 5, 9), (5, 9, 6, 7))
    sizes = torch.tensor([[HEIGHT - 60, WIDTH - 70]])
    found = segmenter_agreement(outputs, case.prompts, bags, sizes, mask_stride=STRIDE)
    expected = oracle.agreement(outputs, case.prompts, bags, sizes, STRIDE)
    torch.testing.assert_close(found.double(), expected)


def test_a_mask_that_fills_the_picture_or_nothing_agrees_with_nothing():
    case, outputs = random_case(6, num_prompts=1, num_images=1), random_outputs(6, num_images=1)
    bags = box_bags(case, (0, HEIGHT, 0, WIDTH), (0, 0, 0, 0))
    found = segmenter_agreement(outputs, case.prompts, bags, torch.tensor([[HEIGHT, WIDTH]]))
    assert found.tolist() == [[0.0, 0.0]]


def test_an_image_does_not_change_what_another_one_gives():
    case, outputs = random_case(2), random_outputs(2)
    sizes = torch.tensor([[HEIGHT, WIDTH]] * 2)
    before = segmenter_agreement(outputs, case.prompts, case.bags, sizes)
    features = outputs.mask_features.clone()
    features[1] = 7.0
    after = segmenter_agreement(replace(outputs, mask_features=features), case.prompts, case.bags, sizes)
    first = case.prompts.image_index == 0
    assert torch.equal(before[first], after[first])


@pytest.mark.parametrize("xy", [[-5.0, -5.0], [1e4, 1e4], [float(WIDTH), float(HEIGHT)]])
def test_a_click_outside_takes_the_cell_at_the_border(xy):
    case, outputs = random_case(3, num_prompts=1, num_images=1), random_outputs(3, num_images=1)
    prompts = replace(case.prompts, xy=torch.tensor([xy], dtype=torch.float64))
    assert click_masks(outputs, prompts, (HEIGHT, WIDTH)).isfinite().all()


def test_no_clicks_give_no_agreement():
    case, outputs = random_case(4, num_prompts=0), random_outputs(4)
    sizes = torch.tensor([[HEIGHT, WIDTH]] * 2)
    assert segmenter_agreement(outputs, case.prompts, case.bags, sizes).shape == (0, 4)


def test_agreement_carries_no_gradient():
    case, outputs = random_case(5), random_outputs(5)
    leaf = outputs.mask_features.requires_grad_()
    found = segmenter_agreement(
        replace(outputs, mask_features=leaf),
        case.prompts,
        case.bags,
        torch.tensor([[HEIGHT, WIDTH]] * 2),
    )
    assert not found.requires_grad
