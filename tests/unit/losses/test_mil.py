import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from oracles import mil_losses as oracle
from sapnet.losses.mil import (
    annotated_bag_scores,
    refinement_negative_sum,
    refinement_positive_sum,
    selection_loss_sum,
)
from sapnet.mil.scoring import bag_scores


def random_inputs(seed, num_prompts=4, num_classes=3):
    g = torch.Generator().manual_seed(seed)
    scores = 0.02 + 0.96 * torch.rand(num_prompts, num_classes, generator=g, dtype=torch.float64)
    labels = torch.randint(0, num_classes, (num_prompts,), generator=g)
    return scores, labels, torch.rand(num_prompts, generator=g, dtype=torch.float64)


@settings(deadline=None, max_examples=15)
@given(
    seed=st.integers(0, 10_000), num_prompts=st.integers(0, 5), gamma=st.sampled_from([0.0, 0.5, 1.0, 2.0])
)
def test_losses_equal_the_loops(seed, num_prompts, gamma):
    scores, labels, weights = random_inputs(seed, num_prompts)
    rows, classes = scores.tolist(), labels.tolist()
    expected = oracle.selection_loss(rows, classes)
    assert selection_loss_sum(scores, labels).item() == pytest.approx(expected)
    expected = oracle.refinement_positive(rows, classes, weights.tolist(), gamma)
    assert refinement_positive_sum(scores, labels, weights, gamma=gamma).item() == pytest.approx(expected)
    expected = oracle.refinement_negative(rows, gamma)
    assert refinement_negative_sum(scores, gamma=gamma).item() == pytest.approx(expected)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_gradients_are_those_of_finite_differences(gamma):
    scores, labels, weights = random_inputs(1)
    scores.requires_grad_()
    assert torch.autograd.gradcheck(lambda s: selection_loss_sum(s, labels), scores)
    assert torch.autograd.gradcheck(
        lambda s: refinement_positive_sum(s, labels, weights, gamma=gamma), scores
    )
    assert torch.autograd.gradcheck(lambda s: refinement_negative_sum(s, gamma=gamma), scores)


def test_gradients_through_the_scores_are_those_of_finite_differences():
    logits = torch.randn(2, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    valid = torch.tensor([[True, False, True], [False, False, False]])

    def loss(logits):
        scores = bag_scores(logits[0], logits[1], valid, num_classes=2).bag_scores
        return selection_loss_sum(scores, torch.tensor([0, 1]), usable=valid.any(1))

    assert torch.autograd.gradcheck(loss, logits)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_a_perfect_prediction_costs_exactly_nothing(gamma):
    perfect, labels = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 1])
    assert selection_loss_sum(perfect, labels).item() == 0
    assert refinement_positive_sum(perfect, labels, torch.ones(2), gamma=gamma).item() == 0
    assert refinement_negative_sum(torch.zeros(3, 2), gamma=gamma).item() == 0


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_saturated_predictions_keep_losses_and_gradients_finite(gamma):
    for value in (0.0, 1.0, 1.0 + 1e-6):
        scores = torch.full((2, 2), value, requires_grad=True)
        loss = selection_loss_sum(scores, torch.tensor([0, 1]))
        loss = loss + refinement_positive_sum(scores, torch.tensor([0, 1]), torch.ones(2), gamma=gamma)
        loss = loss + refinement_negative_sum(scores, gamma=gamma)
        loss.backward()
        assert loss.isfinite()
        assert loss >= 0
        assert scores.grad.isfinite().all()


def test_saturated_logits_keep_finite_gradients():
    logits = torch.tensor([[[40.0, -40.0], [35.0, -35.0]]], requires_grad=True)
    scores = bag_scores(logits, logits, torch.ones(1, 2, dtype=torch.bool), num_classes=2).bag_scores
    selection_loss_sum(scores, torch.tensor([1])).backward()
    assert logits.grad.isfinite().all()


def test_weights_of_the_refine_loss_get_no_gradient():
    scores, labels, _ = random_inputs(2)
    scores.requires_grad_()
    weights = annotated_bag_scores(scores, labels)
    assert not weights.requires_grad
    mine = torch.rand(4, dtype=torch.float64, requires_grad=True)
    refinement_positive_sum(scores, labels, mine).backward()
    assert mine.grad is None


def test_prompts_without_proposals_are_left_out():
    scores, labels, weights = random_inputs(3)
    usable = torch.tensor([True, False, True, True])
    kept = selection_loss_sum(scores[usable], labels[usable])
    torch.testing.assert_close(selection_loss_sum(scores, labels, usable=usable), kept)
    kept = refinement_positive_sum(scores[usable], labels[usable], weights[usable])
    torch.testing.assert_close(refinement_positive_sum(scores, labels, weights, usable=usable), kept)


def test_no_prompts_and_no_negatives_cost_nothing_and_stay_differentiable():
    none = torch.zeros(0, 3, requires_grad=True)
    labels = torch.zeros(0, dtype=torch.long)
    loss = selection_loss_sum(none, labels) + refinement_positive_sum(none, labels, torch.zeros(0))
    loss = loss + refinement_negative_sum(none)
    loss.backward()
    assert loss.item() == 0
