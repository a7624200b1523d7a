"""Hand-worked numbers for equations 1 to 9, algorithm 1 and box mining: check with a pocket calculator."""

import math

import pytest
import torch

from oracles.random_bags import make_bags, make_prompts
from sapnet.losses.mil import (
    annotated_bag_scores,
    beta,
    refinement_negative_sum,
    refinement_positive_sum,
    selection_loss_sum,
)
from sapnet.losses.total import total_loss
from sapnet.mil.box_mining import mine_boxes
from sapnet.mil.point_guidance import guidance_factor, point_guidance
from sapnet.mil.positives_negatives import generate_positives, generate_regions, place_background_boxes
from sapnet.mil.pseudo_masks import map_to_masks
from sapnet.mil.scoring import bag_scores
from sapnet.structures import BagScores, LossSums, Selection


def f64(values):
    return torch.tensor(values, dtype=torch.float64)


def close(actual, expected, tolerance=1e-9):
    torch.testing.assert_close(actual.double(), f64(expected), rtol=0, atol=tolerance)


def selected(box, guidance=1.0, index=0):
    return Selection(
        boxes=f64([box]), proposal_index=torch.tensor([index]), scores=f64([0.5]), guidance=f64([guidance])
    )


def test_eq_1_class_and_instance_softmax():
    # Two proposals, two classes. Class logits 0: each class 1/2. Instance logits 0 and ln 3 in both
    # columns: 1 / (1 + 3) = .25 and 3 / 4 = .75.
    scores = bag_scores(
        f64([[[0, 0], [0, 0]]]),
        f64([[[0, 0], [math.log(3), math.log(3)]]]),
        torch.tensor([[True, True]]),
        num_classes=2,
    )
    close(scores.class_probs, [[[0.5, 0.5], [0.5, 0.5]]])
    close(scores.instance_probs, [[[0.25, 0.25], [0.75, 0.75]]])
    close(scores.scores, [[[0.125, 0.125], [0.375, 0.375]]])
    close(scores.bag_scores, [[0.5, 0.5]])


def test_eq_1_background_column_takes_part_in_the_softmax_and_is_dropped():
    # Logits 0, ln 2 and, for the background, ln 5: 1/8, 2/8 and 5/8.
    scores = bag_scores(
        f64([[[0, math.log(2), math.log(5)]]]), f64([[[0, 0, 0]]]), torch.tensor([[True]]), num_classes=2
    )
    close(scores.bag_scores, [[0.125, 0.25]])


def test_eq_2_point_guidance():
    # No overlap: exactly 1. W = 5 (the 3-4-5 triangle): sigmoid(.2) = 1 / (1 + e^-.2) = .549834.
    close(guidance_factor(f64([0.0, 5.0]), exponent=1.0), [1.0, 0.549834], 1e-6)
    close(guidance_factor(f64([5.0]), exponent=2.0), [0.302317], 1e-6)
    # Two prompts at distance 5; the first proposal of the first covers the other's click.
    bags = make_bags([[[0, 0, 9, 9], [0, 0, 2, 2]]] * 2)
    factors = point_guidance(make_prompts([[1, 1], [4, 5]]), bags, overlap="box-covers-point")
    close(factors, [[0.549834, 1.0], [0.549834, 0.549834]], 1e-6)


def test_eq_2_released_code_form():
    # One click at distance 4: W = sqrt 4 = 2, sigmoid(1/2) = .622459, to the power 1/64: .992619.
    factors = point_guidance(
        make_prompts([[1, 1], [5, 1]]),
        make_bags([[[0, 0, 9, 9]], [[4, 0, 9, 9]]]),
        overlap="box-covers-point",
        distance="square-root",
        exponent=1 / 64,
    )
    close(factors, [[0.992619], [1.0]], 1e-6)


def test_eq_3_product_and_loss():
    # Product: .5 * .25 * .8 + .5 * .75 * 1 = .1 + .375.
    scores = BagScores(
        class_probs=f64([[[0.5], [0.5]]]), instance_probs=f64([[[0.25], [0.75]]]), guidance=f64([[0.8, 1]])
    )
    close(scores.bag_scores, [[0.475]])
    # Right class .5, other class 0: -ln .5 - ln 1 = ln 2. With .25 on the other: + -ln .75.
    close(selection_loss_sum(f64([[0.5, 0.0]]), torch.tensor([0])), math.log(2))
    close(selection_loss_sum(f64([[0.25, 0.5]]), torch.tensor([1])), math.log(2) - math.log(0.75))


def test_eq_4_enlarged_and_shrunk_boxes():
    # v / S = .05 / .5 = .1: sides 110 and 90 about the centre (50, 50).
    boxes = generate_positives(f64([[0, 0, 100, 100]]), f64([0.5]), scale_factors=[0.05])
    close(boxes, [[[-5, -5, 105, 105], [5, 5, 95, 95]]])
    # Clipped to an image 200 wide and 100 high.
    regions = generate_regions(
        selected([0, 0, 100, 100], guidance=0.5),
        make_bags([[[0, 0, 100, 100]]]),
        make_prompts([[50, 50]]),
        torch.tensor([[100, 200]]),
        f64([[]]).reshape(1, 0, 4),
        f64([[]]).reshape(1, 0, 4),
        scale_factors=[0.05],
    )
    close(regions.positive_boxes, [[[0, 0, 100, 100], [0, 0, 105, 100], [5, 5, 95, 95]]])


def test_eq_4_shifted_boxes_keep_one_corner_in_place():
    boxes = generate_positives(f64([[20, 20, 120, 120]]), f64([1.0]), scale_factors=[0.1], shift=True)
    enlarged = [[10, 10, 120, 120], [10, 20, 120, 130], [20, 10, 130, 120], [20, 20, 130, 130]]
    shrunk = [[30, 30, 120, 120], [30, 20, 120, 110], [20, 30, 110, 120], [20, 20, 110, 110]]
    close(boxes, [enlarged + shrunk])


def test_algorithm_1_background_boxes_are_kept_below_the_threshold_only():
    # Image 100 x 100, positive (0, 0, 100, 100). A box (0, 0, 100, h) has IoU h / 100. From the
    # placement: start -20 + 120 u = 0 at u = 1/6; end 120 u' = 100 at u' = 5/6, = h at h / 120.
    # (A hair above .30, which binary fractions cannot meet exactly.)
    draws = f64([[[1 / 6, 1 / 6, 5 / 6, h / 120] for h in (29, 30.000001, 31)]])
    sizes = torch.tensor([[100, 100]])
    close(place_background_boxes(draws, sizes)[0, 0], [0, 0, 100, 29])
    regions = generate_regions(
        selected([0, 0, 100, 100]),
        make_bags([[[0, 0, 100, 100]]]),
        make_prompts([[50, 50]]),
        sizes,
        draws,
        f64([[]]).reshape(1, 0, 4),
        positives=False,
    )
    close(regions.negative_boxes, [[0, 0, 100, 29]])


@pytest.mark.parametrize(("share", "kept"), [(0.5, True), (0.7, True), (0.72, False)])
def test_algorithm_1_part_boxes_are_kept_below_the_threshold_only(share, kept):
    # A part of side share s has IoU s * s: .25, .49 and .5184 against T_neg2 = .5. With the
    # offsets 1/2 it lies in the middle: (50 - 50 s, ..., 50 + 50 s).
    regions = generate_regions(
        selected([0, 0, 100, 100]),
        make_bags([[[0, 0, 100, 100]]]),
        make_prompts([[50, 50]]),
        torch.tensor([[100, 100]]),
        f64([[]]).reshape(1, 0, 4),
        f64([[[share, share, 0.5, 0.5]]]),
    )
    low, high = 50 - 50 * share, 50 + 50 * share
    expected = f64([[low, low, high, high]])[: int(kept)]
    torch.testing.assert_close(regions.negative_boxes, expected)


def test_eq_5_weighted_focal_loss():
    # p = .5, q = 1: .5^2 * ln 2 = .25 ln 2 = .173287. Other class p = .5: the same again.
    weight = annotated_bag_scores(f64([[0.8, 0.1]]), torch.tensor([0]))
    close(weight, [0.8])
    close(refinement_positive_sum(f64([[0.5, 0.0]]), torch.tensor([0]), f64([1.0])), 0.25 * math.log(2))
    close(refinement_positive_sum(f64([[0.5, 0.5]]), torch.tensor([0]), weight), 0.8 * 0.5 * math.log(2))


def test_eq_6_beta_is_the_mean_of_the_annotated_bag_scores():
    scores = annotated_bag_scores(f64([[0.8, 0.1], [0.3, 0.6]]), torch.tensor([0, 1]))
    close(beta(scores.sum(), f64(2.0)), 0.7)
    close(beta(f64(0.0), f64(0.0)), 0.0)


def test_eq_7_negatives():
    # Two boxes, two classes: (.5, 0) and (.5, .5): three times .25 ln 2.
    close(refinement_negative_sum(f64([[0.5, 0.0], [0.5, 0.5]])), 0.75 * math.log(2))


def sums(**fields):
    names = LossSums.__dataclass_fields__
    return LossSums(**{name: f64(fields.get(name, 1.0)) for name in names})


def test_eq_8_positive_and_negative_parts():
    # L_pos = 6 / 2 = 3, beta = 1 / 2, L_neg = .5 * 8 / 4 = 1: .25 * 3 + .75 * 1 = 1.5.
    means = total_loss(
        sums(
            refinement_positive=6.0,
            refinement_negative=8.0,
            num_prompts=2.0,
            num_negatives=4.0,
            selected_score_sum=1.0,
        )
    )
    close(means.refinement_positive, 3.0)
    close(means.refinement_negative, 1.0)
    close(means.refinement, 1.5)


def test_eq_9_total():
    # All sums 1, one prompt, one negative, one cell: L_psm = L_prm = L_mask = 1, L_cls = 1 / 2.
    # 3 * 1 + 1 * .5 + .25 * 1 + 1 * 1 = 4.75; with the paper's weight 1 on the masks 2.75.
    close(total_loss(sums()).total, 4.75)
    close(total_loss(sums(), mask_weight=1.0).total, 2.75)


def test_box_mining_similar_proposal_weighs_one_against_its_overlap():
    # b = (0,0,10,10), g = (0,0,12,12): u = 100 / 144 = .694444 > .6;
    # (12 + .694444 * 10) / 1.694444 = 11.180328.
    mined = mine_boxes(
        selected([0, 0, 10, 10], index=1), f64([[0, 1]]), make_bags([[[0, 0, 12, 12], [0, 0, 10, 10]]])
    )
    close(mined.boxes, [[0, 0, 11.180328, 11.180328]], 1e-6)
    # g overlaps the mined box 125 / 144 = .868, b only 100 / 125 = .8.
    assert mined.proposal_index.tolist() == [0]


def test_box_mining_containing_proposal_weighs_its_overlap_against_one():
    # g = (0,0,16,16): u = 100 / 256 = .390625, below .6, above .3, and it contains b;
    # (.390625 * 16 + 10) / 1.390625 = 11.685393.
    mined = mine_boxes(
        selected([0, 0, 10, 10], index=1), f64([[0, 1]]), make_bags([[[0, 0, 16, 16], [0, 0, 10, 10]]])
    )
    close(mined.boxes, [[0, 0, 11.685393, 11.685393]], 1e-6)
    # b overlaps the mined box 100 / 136.5 = .73, g only 136.5 / 256 = .53.
    assert mined.proposal_index.tolist() == [1]


def test_multi_mask_alternates_have_the_asked_ranks():
    # Scores .1 .4 .2 .3: ranks are proposals 1, 3, 2, 0. Pick 1; ranks 1 and 3 are proposals 3 and 0.
    masks = torch.zeros(1, 4, 2, 2, dtype=torch.bool)
    masks[0, 0, 0, 0] = masks[0, 1, 0, 1] = masks[0, 2, 1, 0] = masks[0, 3, 1, 1] = True
    labels = map_to_masks(
        selected([0, 0, 1, 1], index=1),
        make_bags([[[0, 0, 1, 1]] * 4], masks=masks),
        f64([[0.1, 0.4, 0.2, 0.3]]),
        make_prompts([[0, 0]]),
        ranks=(1, 3, 5),
    )
    assert labels.mask_valid.tolist() == [[True, True, True, False]]
    assert torch.equal(labels.masks[0, :3], masks[0, [1, 3, 0]])
