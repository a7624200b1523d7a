"""What speaks for a proposal before anything is learned."""

import torch

from oracles.random_bags import make_bags
from sapnet.mil.prior import proposal_prior


def bags_with(areas, scores, valid):
    from dataclasses import replace

    bags = make_bags([[[0, 0, 4, 4]] * len(row) for row in areas], valid=valid)
    return replace(bags, area=torch.tensor(areas), scores=torch.tensor(scores))


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
