"""What is said about the candidates of a click."""

import numpy as np
import pytest

from proposal_builders import box_mask
from sapnet.proposals.builtin.bag_features import BAG_FEATURES, STEP, Bag, bag_features, surroundings_of
from sapnet.proposals.builtin.boundary_maps import BoundaryMaps
from sapnet.proposals.builtin.candidate_features import Click
from sapnet.proposals.builtin.packed_masks import PackedMasks

SIZE = (40, 60)
OBJECT = box_mask(SIZE, 10, 8, 30, 32)
BOXES = ((10, 8, 30, 32), (10, 8, 30, 20), (0, 0, 60, 40))


@pytest.fixture
def around():
    border = np.zeros(SIZE, dtype=np.float32)
    border[8:32, [10, 28]] = border[[8, 30], 10:30] = 1.0
    edges = np.broadcast_to(np.array([10, 8, 30, 32], dtype=np.float32)[:, None, None], (4, *SIZE))
    return surroundings_of(BoundaryMaps(border, border, OBJECT.astype(np.float32), edges))


def bag_of(boxes=BOXES, scores=(0.9, 0.5, 0.2), groups=(0, 1, 2)):
    count = len(boxes)
    return Bag(
        masks=PackedMasks.of(np.array([box_mask(SIZE, *box)[::STEP, ::STEP] for box in boxes])),
        first_scores=np.asarray(scores, dtype=float)[:count],
        from_head=np.arange(count) > 0,
        group=np.asarray(groups)[:count],
        place=np.array([-1, 0, 2])[:count],
        sides=np.array([0.0, 64, 64])[:count],
        about_seen_box=np.zeros(count, dtype=bool),
        has_negatives=np.zeros(count, dtype=bool),
        boxes=np.full((count, 4), np.nan),
        kinds=("point/hierarchy", "point/head", "point/head")[:count],
        rows=np.array([0, 0, 1])[:count],
    )


def click_at(x, y, neighbours=(), same_class=()):
    neighbours = np.asarray(neighbours, dtype=float).reshape(-1, 2)
    return Click(np.array([x, y], dtype=float), neighbours, np.asarray(same_class, dtype=bool))


def column(features, name):
    return features[:, BAG_FEATURES.index(name)].tolist()


def test_the_object_is_inside_centred_and_where_its_box_is_seen(around):
    features = bag_features(bag_of(), around, click_at(20, 20))
    assert features.shape == (3, len(BAG_FEATURES))
    assert np.isfinite(features).all()
    assert column(features, "inside")[:2] == [1, 1]
    assert column(features, "inside")[2] == pytest.approx(20 * 24 / (60 * 40), abs=0.01)
    assert column(features, "seen_box_agreement") == pytest.approx([1, 0.5, 20 * 24 / (60 * 40)])
    assert column(features, "box_fill") == pytest.approx([1, 1, 1])
    assert column(features, "covers_click") == [1, 0, 1]
    assert column(features, "contour_border")[0] > column(features, "contour_border")[1]
    assert column(features, "rim_sides") == [0, 0, 1]
    assert column(features, "off_center_x") == pytest.approx([0, 0, 1 / 6])


def test_candidates_vouch_for_those_of_other_groups(around):
    apart = bag_features(bag_of(), around, click_at(20, 20))
    together = bag_features(bag_of(groups=(0, 1, 1)), around, click_at(20, 20))
    overlap_01, overlap_12 = 0.5, 20 * 12 / (60 * 40)
    weights = np.array([0.9, 0.5, 0.2]) ** 3
    expected = (weights[0] * overlap_01 + weights[2] * overlap_12) / (weights[0] + weights[2])
    assert column(apart, "agreement_elsewhere")[1] == pytest.approx(expected, rel=1e-4)
    assert column(together, "agreement_elsewhere")[1] == pytest.approx(overlap_01, rel=1e-4)
    assert column(apart, "agreement_regions")[0] == 0
    assert column(apart, "best_agreement_regions")[1] == pytest.approx(0.9 * overlap_01, rel=1e-4)


def test_neighbours_that_are_covered_are_counted_by_class(around):
    click = click_at(20, 20, [(15.5, 10.5), (50.5, 35.5), (-4, 2)], [True, False, True])
    features = bag_features(bag_of(), around, click)
    assert column(features, "same_class_covered") == [1, 1, 1]
    assert column(features, "other_class_covered") == [0, 0, 1]
    assert column(features, "has_neighbours") == [1, 1, 1]
    assert column(bag_features(bag_of(), around, click_at(20, 20)), "has_neighbours") == [0, 0, 0]


def test_one_candidate_is_described_too(around):
    features = bag_features(bag_of(BOXES[:1]), around, click_at(20, 20))
    assert np.isfinite(features).all()
    assert column(features, "agreement") == [0]


def test_taking_rows_keeps_everything_together():
    bag = bag_of().take(np.array([2, 0]))
    assert bag.kinds == ("point/head", "point/hierarchy")
    assert bag.first_scores.tolist() == [0.2, 0.9]
    assert bag.overlap[0, 1] == pytest.approx(20 * 24 / (60 * 40))
