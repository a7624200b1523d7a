"""Candidates are picked by their score, lowered by their likeness to those picked before."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from oracles.candidates import novel_best as by_loops
from sapnet.proposals.candidates import distinct_best, novel_best


def picked(scores, overlap, *, discount=0.7, duplicate_iou=0.8, most=12):
    indices, worth = novel_best(
        np.asarray(scores, dtype=float),
        np.asarray(overlap, dtype=float),
        discount=discount,
        duplicate_iou=duplicate_iou,
        most=most,
    )
    return indices.tolist(), worth.tolist()


def test_a_likeness_lets_a_worse_but_other_candidate_go_first():
    overlap = [[1.0, 0.6, 0.1], [0.6, 1.0, 0.2], [0.1, 0.2, 1.0]]
    indices, worth = picked([0.9, 0.8, 0.6], overlap)
    assert indices == [0, 2, 1]
    assert worth == pytest.approx([0.9, 0.6 * (1 - 0.07), 0.8 * (1 - 0.42)])


def test_without_a_discount_the_order_is_that_of_the_scores():
    overlap = [[1.0, 0.6, 0.9], [0.6, 1.0, 0.2], [0.9, 0.2, 1.0]]
    assert picked([0.5, 0.7, 0.6], overlap, discount=0.0) == ([1, 2], [0.7, 0.6])


def test_no_candidates_and_none_wanted_give_none():
    assert picked([], np.zeros((0, 0))) == ([], [])
    assert picked([0.5], [[1.0]], most=0) == ([], [])


def test_a_single_candidate_keeps_its_score():
    assert picked([0.5], [[1.0]]) == ([0], [0.5])


@st.composite
def bags(draw):
    count = draw(st.integers(0, 7))
    scores = draw(arrays(float, count, elements=st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 1.0])))
    half = draw(arrays(float, (count, count), elements=st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])))
    overlap = np.maximum(half, half.T)
    np.fill_diagonal(overlap, 1.0)
    return scores, overlap


@settings(deadline=None, max_examples=60)
@given(bags(), st.sampled_from([0.0, 0.5, 0.7, 1.0]), st.sampled_from([0.3, 0.8, 1.0]), st.integers(0, 8))
def test_picks_are_those_of_a_loop_and_their_worth_never_rises(bag, discount, duplicate_iou, most):
    scores, overlap = bag
    indices, worth = picked(scores, overlap, discount=discount, duplicate_iou=duplicate_iou, most=most)
    wanted, values = by_loops(scores, overlap, discount, duplicate_iou, most)
    assert indices == wanted
    assert worth == pytest.approx(values)
    assert all(a >= b for a, b in pairwise(worth))
    if discount == 0.0:
        assert indices == distinct_best(scores, overlap, duplicate_iou, most)
