"""What a promptable segmenter is asked for each click."""

from __future__ import annotations

import time

import numpy as np
import pytest

from oracles.prompt_plan import nearest_others
from proposal_builders import prompts_at
from sapnet.errors import InputError
from sapnet.proposals.prompt_plan import PROMPT_KINDS, check_prompt_settings, plan_prompts

SIZE = (80, 100)
SETTINGS = {
    "kinds": ["point"],
    "boxes": None,
    "max_negatives": 2,
    "negatives": "same-class",
    "jitter_pixels": 3.0,
    "jitter_count": 2,
    "seed": 0,
    "image_size": SIZE,
}


def plan(prompts, **changes):
    return plan_prompts(prompts, **{**SETTINGS, **changes})


def points_of(result, kind):
    """Points and their signs of all queries of one kind."""
    of_kind = np.array(result.kinds) == kind
    rows = of_kind[result.point_query]
    return result.point_xy[rows], result.point_positive[rows]


def test_point_takes_the_click_the_further_points_and_the_users_negatives():
    prompts = prompts_at(
        [[10, 10], [30, 30]],
        extra_xy=np.array([[31.0, 30.0], [11.0, 10.0]]),
        extra_owner=np.array([1, 0]),
        negative_xy=np.array([[20.0, 20.0]]),
        negative_owner=np.array([1]),
    )
    result = plan(prompts)
    assert result.owner.tolist() == [0, 1]
    assert result.kinds == ("point", "point")
    assert result.point_xy.tolist() == [[10, 10], [11, 10], [30, 30], [31, 30], [20, 20]]
    assert result.point_positive.tolist() == [True, True, True, True, False]
    assert result.point_query.tolist() == [0, 0, 1, 1, 1]
    assert np.isnan(result.boxes).all()


def test_negatives_are_the_nearest_clicks_of_the_class():
    prompts = prompts_at([[10, 10], [50, 10], [14, 10], [20, 10]], labels=[0, 0, 1, 0])
    xy, positive = points_of(plan(prompts, kinds=["point+negatives"], max_negatives=1), "point+negatives")
    assert xy.tolist() == [[10, 10], [20, 10], [50, 10], [20, 10], [20, 10], [10, 10]]
    assert positive.tolist() == [True, False] * 3


def test_negatives_of_all_classes_are_nearest_first():
    prompts = prompts_at([[10, 10], [50, 10], [14, 10]], labels=[0, 0, 1])
    result = plan(prompts, kinds=["point+negatives"], negatives="all")
    assert result.point_xy[:3].tolist() == [[10, 10], [14, 10], [50, 10]]


def test_without_another_click_of_the_class_there_is_no_query_with_negatives():
    prompts = prompts_at([[10, 10], [20, 10], [30, 10]], labels=[0, 1, 0])
    result = plan(prompts, kinds=["point", "point+negatives"])
    assert list(zip(result.owner.tolist(), result.kinds, strict=True)) == [
        (0, "point"),
        (0, "point+negatives"),
        (1, "point"),
        (2, "point"),
        (2, "point+negatives"),
    ]


def test_max_negatives_of_zero_leaves_the_query_out():
    assert plan(prompts_at([[1, 1], [2, 2]]), kinds=["point+negatives"], max_negatives=0).num_queries == 0


def test_a_click_at_the_same_place_is_no_negative():
    result = plan(prompts_at([[10, 10], [10, 10], [40, 10]]), kinds=["point+negatives"])
    assert result.point_xy[:2].tolist() == [[10, 10], [40, 10]]
    assert result.owner.tolist() == [0, 1, 2]


def test_equally_near_clicks_are_taken_by_annotation_id():
    prompts = prompts_at([[10, 10], [20, 10], [0, 10]], ids=[5, 9, 2])
    result = plan(prompts, kinds=["point+negatives"], max_negatives=1)
    assert result.point_xy[:2].tolist() == [[10, 10], [0, 10]]


def test_boxes_come_alone_or_with_the_points():
    boxes = np.array([[1, 2, 30, 40.0], [5, 6, 7, 8.0]])
    result = plan(prompts_at([[10, 10], [6, 7]]), kinds=["box", "box+point"], boxes=boxes)
    assert result.kinds == ("box", "box+point") * 2
    assert np.array_equal(result.boxes, boxes[[0, 0, 1, 1]])
    assert result.point_query.tolist() == [1, 3]


@pytest.mark.parametrize(
    "bad", [[np.nan] * 4, [np.nan, 1, 2, 3], [5, 5, 5, 9], [9, 1, 2, 3], [0, 0, np.inf, 9]]
)
def test_a_click_without_a_usable_box_has_no_box_queries(bad):
    boxes = np.array([bad, [1, 2, 30, 40.0]])
    result = plan(prompts_at([[10, 10], [6, 7]]), kinds=["point", "box", "box+point"], boxes=boxes)
    assert result.owner.tolist() == [0, 1, 1, 1]


def test_without_boxes_there_are_no_box_queries():
    assert plan(prompts_at([[10, 10]]), kinds=["box", "box+point"]).num_queries == 0


def test_the_kinds_of_a_click_come_in_the_order_asked_for():
    kinds = ["jittered", "box", "point"]
    result = plan(prompts_at([[10, 10], [9, 9]]), kinds=kinds, boxes=np.array([[1, 1, 5, 5.0]] * 2))
    assert result.kinds == ("jittered", "jittered", "box", "point") * 2
    assert result.owner.tolist() == [0] * 4 + [1] * 4


def test_jitter_moves_only_positive_points_and_stays_in_the_disc_and_the_image():
    prompts = prompts_at(
        [[50, 40], [0.5, 79.5]],
        extra_xy=np.array([[60.0, 40.0]]),
        extra_owner=np.array([0]),
        negative_xy=np.array([[70.0, 40.0]]),
        negative_owner=np.array([0]),
    )
    result = plan(prompts, kinds=["jittered"], jitter_count=200)
    xy, first = result.point_xy, result.owner[result.point_query] == 0
    moved = xy[first].reshape(200, 3, 2) - [[50, 40], [60, 40], [70, 40]]
    assert not moved[:, 2].any()
    distance = np.hypot(*moved[:, :2].reshape(-1, 2).T)
    assert distance.min() > 0
    assert distance.max() <= 3.0
    assert len(np.unique(moved[:, :2].reshape(-1, 2), axis=0)) == 400
    assert (xy >= 0).all()
    assert (xy < [100, 80]).all()


def test_jitter_is_uniform_in_the_disc():
    result = plan(prompts_at([[50, 40]]), kinds=["jittered"], jitter_count=4000, jitter_pixels=10.0)
    moved = (result.point_xy - [50, 40]) / 10.0
    assert np.abs(moved.mean(0)).max() < 0.03
    # Half of the area lies within 1/sqrt(2) of the radius, and each quadrant has a quarter.
    assert abs((np.hypot(*moved.T) < 0.5**0.5).mean() - 0.5) < 0.03
    assert abs(((moved > 0).all(1)).mean() - 0.25) < 0.03


def test_jitter_depends_on_the_seed_the_image_and_the_annotation():
    def draws(seed=0, image_id=1, annotation_id=1):
        prompts = prompts_at([[50, 40]], ids=[annotation_id], image_id=image_id)
        return plan(prompts, kinds=["jittered"], seed=seed).point_xy

    base = draws()
    assert np.array_equal(base, draws())
    for other in (draws(seed=1), draws(seed=-1), draws(image_id=2), draws(annotation_id=-7)):
        assert not np.isin(base, other).any()


def test_jitter_by_nothing_is_the_point():
    prompts = prompts_at([[50, 40], [1, 2]])
    result = plan(prompts, kinds=["jittered"], jitter_pixels=0, jitter_count=1)
    assert np.array_equal(result.point_xy, prompts.xy)


def test_points_off_the_image_move_to_its_rim():
    result = plan(prompts_at([[-5, 90], [100, 3]]))
    assert np.allclose(result.point_xy, [[0, 80], [100, 3]])
    assert (result.point_xy < [100, 80]).all()


def test_an_image_without_clicks_has_no_queries():
    result = plan(prompts_at([]), kinds=PROMPT_KINDS, boxes=np.zeros((0, 4)))
    assert result.num_queries == 0
    assert result.point_xy.shape == (0, 2)
    assert result.boxes.shape == (0, 4)


def test_all_wrong_settings_are_listed_with_the_nearest_name():
    with pytest.raises(InputError) as caught:
        check_prompt_settings(
            ["point", "boxx", "point"],
            max_negatives=-1,
            negatives="same class",
            jitter_pixels=float("nan"),
            jitter_count=1,
        )
    text = str(caught.value)
    assert len(caught.value.problems) == 5
    for part in ("did you mean 'box'?", "'point' is listed 2 times", "'same-class'", "max_negatives", "nan"):
        assert part in text


def test_no_kind_at_all_is_refused():
    with pytest.raises(InputError, match="no prompt kind"):
        plan(prompts_at([[1, 1]]), kinds=[])


def test_a_thousand_clicks_agree_with_the_loops_in_well_under_a_second(rng):
    count = 1000
    prompts = prompts_at(rng.uniform(0, 79, (count, 2)), labels=rng.integers(0, 3, count))
    kinds, boxes = ["point", "point+negatives", "box", "box+point"], np.tile([1.0, 2, 3, 4], (count, 1))
    start = time.process_time()
    result = plan(prompts, kinds=kinds, boxes=boxes, max_negatives=5)
    assert time.process_time() - start < 1.0
    for query in np.flatnonzero(np.isin(result.owner, [0, 511, 512, 999])):
        owner, mine = int(result.owner[query]), result.point_query == query
        negatives = [(*xy, False) for xy in result.point_xy[mine & ~result.point_positive]]
        if result.kinds[query] == "point+negatives":
            assert negatives == nearest_others(prompts, owner, 5, "same-class")
        else:
            assert negatives == []
