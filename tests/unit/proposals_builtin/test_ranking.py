"""Candidates of a click, their features, and the choice among them."""

import numpy as np
import pytest

from proposal_builders import box_mask, prompts_at
from sapnet.proposals.builtin.bag_features import surroundings_of
from sapnet.proposals.builtin.boundary_maps import BoundaryMaps
from sapnet.proposals.builtin.candidate_features import FEATURES, Click, click_candidates, covered_points
from sapnet.proposals.builtin.click_bags import region_masks
from sapnet.proposals.builtin.hierarchy import contour_tree
from sapnet.proposals.builtin.ranking_training import RankingExamples, click_examples, fit_ranking
from sapnet.proposals.builtin.region_table import box_overlap, describe_regions
from sapnet.proposals.builtin.working_image import WorkingImage

SIZE = (40, 60)
OBJECT = box_mask(SIZE, 10, 8, 30, 32)


@pytest.fixture
def working(rng):
    """Two trees of an image with one drawn object and much noise."""
    border = np.zeros(SIZE, dtype=np.float32)
    border[8:32, [10, 29]] = border[[8, 31], 10:30] = 1.0
    noise = rng.uniform(0, 0.3, SIZE).astype(np.float32)
    edges = np.broadcast_to(np.array([10, 8, 30, 32], dtype=np.float32)[:, None, None], (4, *SIZE))
    maps = BoundaryMaps(np.maximum(border, noise), border, OBJECT.astype(np.float32), edges)
    lab = rng.integers(0, 256, (*SIZE, 3)).astype(np.float32)
    trees = [
        contour_tree(strength, lab, color_weight=0.001, sharpness=1.0) for strength in (maps.region, border)
    ]
    tables = tuple(describe_regions(tree, maps, lab) for tree in trees)
    return WorkingImage(np.ones(2), maps, tables, None, surroundings_of(maps))


def click_at(x, y, neighbours=(), same_class=()):
    neighbours = np.asarray(neighbours, dtype=float).reshape(-1, 2)
    return Click(np.array([x, y], dtype=float), neighbours, np.asarray(same_class, dtype=bool))


def column(candidates, name):
    return candidates.features[:, FEATURES.index(name)]


def test_every_candidate_holds_the_click(working):
    candidates = click_candidates(working.tables, working.maps, click_at(15.5, 20.5))
    masks = region_masks(working.tables, candidates, SIZE)
    assert masks[:, 20, 15].all()
    assert masks.sum((1, 2)).tolist() == candidates.area.tolist()
    assert set(candidates.tree.tolist()) == {0, 1}
    assert candidates.features.shape == (len(masks), len(FEATURES))
    assert np.isfinite(candidates.features).all()


def test_clicks_that_a_region_covers_are_counted_by_class(working):
    click = click_at(
        15.5, 20.5, [(25.5, 20.5), (25.5, 12.5), (50.5, 20.5), (-5, 3)], [True, False, True, True]
    )
    candidates = click_candidates(working.tables, working.maps, click)
    covered = region_masks(working.tables, candidates, SIZE)[:, [20, 12, 20], [25, 25, 50]]
    assert column(candidates, "same_class_covered").tolist() == (covered[:, 0] * 1 + covered[:, 2]).tolist()
    assert column(candidates, "other_class_covered").tolist() == covered[:, 1].tolist()
    assert np.array_equal(covered_points(working.tables, candidates, click.neighbours)[:, :3], covered)


def test_the_drawn_object_agrees_with_the_box_that_its_pixels_see(working):
    [(features, overlaps)] = click_examples(working, prompts_at([(20, 20)]), OBJECT[None])
    candidates = click_candidates(working.tables, working.maps, click_at(20, 20))
    assert np.array_equal(features, candidates.features)
    best = overlaps.argmax()
    assert overlaps[best] > 0.85
    assert column(candidates, "seen_box_agreement")[best] > 0.8
    assert column(candidates, "box_agreement")[best] > 0.8
    assert column(candidates, "inside")[best] > 0.85
    masks = region_masks(working.tables, candidates, SIZE)
    expected = (masks & OBJECT).sum((1, 2)) / (masks | OBJECT).sum((1, 2))
    assert np.allclose(overlaps, expected)


def test_boxes_overlap_pair_by_pair():
    a = np.array([[0.0, 0, 2, 2], [0, 0, 2, 2], [0, 0, 1, 1]])
    b = np.array([[1.0, 0, 3, 2], [0, 0, 2, 2], [5, 5, 6, 6]])
    assert box_overlap(a, b).tolist() == pytest.approx([1 / 3, 1, 0])


def test_the_scorer_learns_a_rule_and_predicts_overlaps(rng):
    features = rng.normal(size=(1000, 6)).astype(np.float32) * 4 + 1
    overlaps = 1 / (1 + np.exp(-(features[:, 0] - features[:, 1]) / 4)).astype(np.float32)
    examples = RankingExamples(features, overlaps.astype(np.float32), np.repeat(np.arange(100), 10))
    ranking = fit_ranking(examples, epochs=40, learning_rate=1e-2)
    predicted = ranking.predict(features)
    assert np.abs(predicted - overlaps).mean() < 0.05
    assert 0 < predicted.min() <= predicted.max() < 1
    assert np.array_equal(predicted, fit_ranking(examples, epochs=40, learning_rate=1e-2).predict(features))
