import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from oracles import scoring as oracle
from oracles.random_bags import random_case
from sapnet.mil.scoring import bag_scores, class_probabilities, guide_class_logits, scores_at_label


@settings(deadline=None, max_examples=20)
@given(
    seed=st.integers(0, 10_000),
    num_prompts=st.integers(0, 4),
    num_proposals=st.integers(1, 4),
    activation=st.sampled_from(["softmax", "sigmoid"]),
    background=st.booleans(),
)
def test_scores_equal_the_loop(seed, num_prompts, num_proposals, activation, background):
    case = random_case(seed, num_prompts=num_prompts, num_proposals=num_proposals)
    num_classes = case.num_classes - background
    guidance = torch.rand(num_prompts, num_proposals, dtype=torch.float64)
    scores = bag_scores(
        case.class_logits,
        case.instance_logits,
        case.bags.valid,
        num_classes=num_classes,
        class_activation=activation,
        guidance=guidance,
    )
    expected, totals = oracle.bag_scores(
        case.class_logits.tolist(),
        case.instance_logits.tolist(),
        case.bags.valid.tolist(),
        num_classes=num_classes,
        class_activation=activation,
        guidance=guidance.tolist(),
    )
    shape = (num_prompts, num_proposals, num_classes)
    torch.testing.assert_close(scores.scores, torch.tensor(expected, dtype=torch.float64).reshape(shape))
    totals = torch.tensor(totals, dtype=torch.float64).reshape(num_prompts, num_classes)
    torch.testing.assert_close(scores.bag_scores, totals)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_an_empty_bag_scores_zero_and_sends_no_gradient(activation):
    class_logits = torch.full((1, 3, 2), torch.nan, requires_grad=True)
    instance_logits = torch.full((1, 3, 2), torch.inf, requires_grad=True)
    scores = bag_scores(
        class_logits,
        instance_logits,
        torch.zeros(1, 3, dtype=torch.bool),
        num_classes=2,
        class_activation=activation,
    )
    assert scores.bag_scores.tolist() == [[0, 0]]
    scores.bag_scores.sum().backward()
    assert class_logits.grad.count_nonzero() == 0
    assert instance_logits.grad.count_nonzero() == 0


def test_logits_of_invalid_proposals_change_nothing():
    case = random_case(3)
    class_logits, instance_logits = case.class_logits.clone(), case.instance_logits.clone()
    before = bag_scores(class_logits, instance_logits, case.bags.valid, num_classes=3).scores
    class_logits[~case.bags.valid] = torch.nan
    instance_logits[~case.bags.valid] = 1e9
    after = bag_scores(class_logits, instance_logits, case.bags.valid, num_classes=3).scores
    assert torch.equal(before, after)


def test_half_precision_logits_are_scored_in_single_precision():
    logits = torch.randn(2, 3, 4, dtype=torch.bfloat16)
    scores = bag_scores(logits, logits, torch.ones(2, 3, dtype=torch.bool), num_classes=4)
    assert scores.scores.dtype == torch.float32


def test_extreme_logits_keep_finite_gradients():
    logits = torch.tensor([[[1e4, -1e4], [-1e4, 1e4]]], requires_grad=True)
    scores = bag_scores(logits, logits, torch.ones(1, 2, dtype=torch.bool), num_classes=2)
    scores.bag_scores.sum().backward()
    assert logits.grad.isfinite().all()


def test_guided_logits_are_multiplied_so_that_negative_ones_rise():
    guided = guide_class_logits(torch.tensor([[[2.0, -2.0]]]), torch.tensor([[0.5]]))
    assert guided.tolist() == [[[1.0, -1.0]]]


def test_negatives_take_the_class_branch_alone():
    probs = class_probabilities(torch.zeros(5, 3), num_classes=2, class_activation="sigmoid")
    assert probs.tolist() == [[0.5, 0.5]] * 5


def test_scores_at_label_pick_each_prompts_class():
    scores = torch.arange(12.0).reshape(2, 2, 3)
    assert scores_at_label(scores, torch.tensor([2, 0])).tolist() == [[2, 5], [6, 9]]
    assert scores_at_label(scores[:, :0], torch.tensor([2, 0])).shape == (2, 0)
