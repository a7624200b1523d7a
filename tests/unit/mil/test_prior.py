"""What speaks for a proposal before anything is learned."""

from dataclasses import replace

import torch

from oracles.random_bags import make_bags
from sapnet.mil.prior import proposal_prior


def bags_with(areas, scores, valid, opinions=None):
    bags = make_bags([[[0, 0, 4, 4]] * len(row) for row in areas], valid=valid)
    given = torch.ones_like(torch.tensor(scores)) if opinions is None else torch.tensor(opinions)
    return replace(bags, area=torch.tensor(areas), scores=torch.tensor(scores), opinions=given)


def test_size_and_score_are_relative_to_the_best_valid_proposal_of_the_bag():
    bags = bags_with([[25.0, 100.0, 900.0]], [[0.8, 0.4, 0.9]], [[True, True, False]])
    prior = proposal_prior(bags, size_exponent=0.5, proposer_exponent=1.0)
    torch.testing.assert_close(prior, torch.tensor([[0.5, 0.5, 0.0]]))


def test_zero_exponents_leave_only_which_proposals_are_real():
    bags = bags_with([[25.0, 100.0]], [[0.8, 0.4]], [[True, False]])
    assert proposal_prior(bags, size_exponent=0.0, proposer_exponent=0.0).tolist() == [[1.0, 0.0]]


def test_a_proposer_without_scores_says_nothing():
    bags = bags_with([[25.0, 100.0]], [[0.0, 0.0]], [[True, True]])
    assert proposal_prior(bags, size_exponent=0.0, proposer_exponent=1.0).tolist() == [[1.0, 1.0]]


def test_negative_scores_count_as_none():
    bags = bags_with([[25.0, 100.0]], [[-1.0, 2.0]], [[True, True]])
    assert proposal_prior(bags, size_exponent=0.0, proposer_exponent=1.0).tolist() == [[0.0, 1.0]]


def test_no_prompts_and_empty_bags_are_legal():
    empty = bags_with([[25.0, 100.0]], [[0.5, 0.5]], [[False, False]])
    assert proposal_prior(empty, size_exponent=1.0, proposer_exponent=1.0).tolist() == [[0.0, 0.0]]


def test_golden_the_second_opinion_is_relative_to_the_highest_of_the_valid_ones():
    bags = bags_with([[4.0] * 4], [[0.5] * 4], [[True, True, True, False]], [[0.6, 0.15, 0.0, 0.9]])
    prior = proposal_prior(bags, size_exponent=0.0, opinion_exponent=0.5)
    # .15 / .6 = 1/4, its root 1/2; what the second never draws keeps a thousandth, so its root
    torch.testing.assert_close(prior, torch.tensor([[1.0, 0.5, 0.001**0.5, 0.0]]))


def test_where_the_second_knows_nothing_of_a_click_it_changes_nothing():
    bags = bags_with([[25.0, 100.0]], [[0.8, 0.4]], [[True, True]], [[0.0, 0.0]])
    asked = proposal_prior(bags, size_exponent=0.5, proposer_exponent=1.0, opinion_exponent=2.0)
    assert torch.equal(asked, proposal_prior(bags, size_exponent=0.5, proposer_exponent=1.0))
