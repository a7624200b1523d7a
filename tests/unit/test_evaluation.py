"""Figures against ground truth: what counts, what does not, and what is refused."""

import json

import numpy as np
import pytest

from oracles.evaluation import box_iou, mask_iou, tight_box
from sapnet.errors import DataError
from sapnet.evaluation import evaluate_coco, evaluate_labels, evaluate_voc
from sapnet.evaluation.label_scores import score_figures
from sapnet.evaluation.matching import (
    best_of_groups,
    covers_points,
    match_by_highest_overlap,
    paired_box_iou,
    paired_mask_iou,
    ranks_in_groups,
    size_index,
)
from scene_builders import FakeStore, document, instance_set, rectangle, rle

SIZE = (40, 50)


def square(x, y, side=10):
    return rectangle(SIZE, x, y, x + side, y + side)


def thing(number, mask, image_id=7, category_id=3, **flags):
    return {"id": number, "image_id": image_id, "category_id": category_id, "mask": mask, **flags}


def result(mask, score=0.9, image_id=7, category_id=3):
    return {"image_id": image_id, "category_id": category_id, "score": score, "segmentation": rle(mask)}


def labels_of(objects, images=(7,)):
    return document(SIZE, images, objects)


def test_paired_overlaps_equal_loops_even_across_images_and_for_empty_masks(rng):
    masks = [rng.random(SIZE) < 0.4 for _ in range(20)] + [np.zeros(SIZE, bool), square(1, 1)]
    others = [rng.random(SIZE) < 0.4 for _ in range(20)] + [np.zeros(SIZE, bool), np.zeros(SIZE, bool)]
    expected = [mask_iou(a, b) for a, b in zip(masks, others, strict=True)]
    assert paired_mask_iou([rle(m) for m in masks], [rle(m) for m in others]) == pytest.approx(expected)
    small = rle(np.ones((3, 3), bool))
    assert paired_mask_iou([small], [rle(masks[0])]).tolist() == [0.0]
    a, b = (np.array([tight_box(m) for m in group], dtype=float) for group in (masks, others))
    assert paired_box_iou(a, b) == pytest.approx([box_iou(x, y) for x, y in zip(a, b, strict=True)])


def test_a_point_is_covered_by_the_mask_that_holds_its_pixel():
    masks = [rle(square(10, 10)), rle(square(0, 0))]
    xy = np.array([[10.0, 10.0], [19.99, 19.99], [20.0, 15.0], [0.2, 0.9], [-3.0, 0.0]])
    covered = covers_points(masks, xy, SIZE)
    assert covered.tolist() == [[True, True, False, False, False], [False, False, False, True, True]]
    assert covers_points([], xy, SIZE).shape == (0, 5)


def test_the_best_of_every_group_ties_to_the_earlier_row():
    group = np.array([5, 2, 5, 2, 5])
    assert best_of_groups(group, np.array([1.0, 3, 1, 3, 0])).tolist() == [1, 4]
    assert best_of_groups(group, np.zeros(5), np.array([2, 2, 1, 1, 1])).tolist() == [3, 2]
    assert ranks_in_groups(group, np.array([0.1, 0.5, 0.9, 0.7, 0.9])).tolist() == [2, 1, 0, 0, 1]
    assert len(best_of_groups(np.zeros(0, int))) == 0


def test_a_second_hit_is_wrong_even_if_it_overlaps_another_object_well():
    overlaps = np.array([[0.9, 0.0], [0.8, 0.7], [0.1, 0.6], [0.2, 0.3]])
    assert match_by_highest_overlap(overlaps, 0.5).tolist() == [1, 0, 1, -1]
    assert match_by_highest_overlap(np.zeros((2, 0)), 0.5).tolist() == [-1, -1]


def test_sizes_begin_at_32_and_96_squared():
    assert size_index(np.array([0, 1023.9, 1024, 9215, 9216])).tolist() == [0, 0, 1, 1, 2]


def test_perfect_predictions_score_one_also_for_an_object_with_id_zero():
    objects = [thing(0, square(0, 0)), thing(9, square(30, 20), category_id=0)]
    predictions = [result(square(0, 0)), result(square(30, 20), category_id=0)]
    figures = evaluate_coco(predictions, instance_set(SIZE, [7], objects))
    assert [figures[name] for name in ("AP", "AP50", "AP75", "APs")] == pytest.approx([1.0] * 4)
    assert figures["APm"] is None
    assert figures["APl"] is None
    assert figures["box"]["AP"] == pytest.approx(1.0)
    assert figures["per_class"]["cat"] == pytest.approx({"AP": 1.0, "AP50": 1.0, "AP75": 1.0, "objects": 1})
    json.dumps(figures, allow_nan=False)


@pytest.mark.parametrize("evaluate", [evaluate_coco, evaluate_voc])
def test_no_prediction_and_no_object_are_legal_and_silent(evaluate, capsys):
    objects = [thing(1, square(0, 0))]
    figures = evaluate([], instance_set(SIZE, [7, 8], objects))
    assert (figures.get("AP50") or figures.get("area", figures)["AP50"]) == 0.0
    assert (figures["images"], figures["objects"], figures["predictions"]) == (2, 1, 0)
    nothing = evaluate([result(square(0, 0))], instance_set(SIZE, [7], []))
    assert nothing.get("AP50") is None
    assert nothing["objects"] == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("flag", ["iscrowd", "ignore"])
def test_crowd_and_ignored_objects_count_neither_for_nor_against(flag):
    objects = [thing(1, square(0, 0)), thing(2, square(20, 10, 20), **{flag: 1})]
    spoiled = [result(square(20, 10, 20), 0.95), result(square(0, 0), 0.5)]
    ground_truth = instance_set(SIZE, [7], objects)
    assert evaluate_coco(spoiled, ground_truth)["AP"] == pytest.approx(1.0)
    assert evaluate_coco(spoiled, ground_truth)["objects"] == 1
    voc = evaluate_voc(spoiled, ground_truth)
    assert (voc["area"]["AP50"], voc["coco101"]["AP50"]) == pytest.approx((1.0, 1.0))


def test_every_wrong_result_is_listed_with_its_place(tmp_path):
    good = result(square(0, 0))
    bad = [
        good,
        {**good, "image_id": 99},
        {**good, "category_id": 5},
        {**good, "score": float("nan")},
        {"image_id": 7},
        {**good, "segmentation": {"size": [3, 3], "counts": "09"}},
        3,
    ]
    path = tmp_path / "predictions.json"
    path.write_text(json.dumps(bad))
    with pytest.raises(DataError) as caught:
        evaluate_coco(path, instance_set(SIZE, [7], []))
    assert [problem.split(":")[0] for problem in caught.value.problems] == [
        f"result {i}" for i in range(1, 7)
    ]
    assert "image_id 99" in caught.value.problems[0]
    assert "category_id, segmentation, score missing" in caught.value.problems[3]


@pytest.mark.parametrize("content", ["{", '"words"', "{}"])
def test_a_file_that_holds_no_results_is_refused(tmp_path, content):
    path = tmp_path / "predictions.json"
    path.write_text(content)
    with pytest.raises(DataError, match=r"predictions\.json"):
        evaluate_coco(path, instance_set(SIZE, [7], []))
    with pytest.raises(DataError, match="does not exist"):
        evaluate_coco(tmp_path / "absent.json", instance_set(SIZE, [7], []))


def test_labels_are_matched_by_id_and_missing_ones_count_as_zero():
    objects = [
        thing(4, square(0, 0)),
        thing(0, square(20, 0), category_id=0),
        thing(6, square(0, 20)),
        thing(8, square(30, 20), iscrowd=1),
    ]
    found = [thing(0, square(20, 0), category_id=0), thing(4, square(0, 5)), thing(55, square(0, 0))]
    figures = evaluate_labels(labels_of(found), instance_set(SIZE, [7, 9], objects))
    assert figures["objects"] == 3
    assert figures["missing"] == [6]
    assert figures["unknown"] == [55]
    assert figures["left_out"] == 1
    assert figures["selected"]["mask_miou"]["all"] == pytest.approx((1 + 1 / 3 + 0) / 3)
    assert figures["selected"]["box_miou"]["small"] == pytest.approx((1 + 1 / 3 + 0) / 3)
    assert figures["selected"]["mask_miou"]["large"] is None
    assert figures["selected"]["at_least"] == {key: pytest.approx(1 / 3) for key in ("0.5", "0.75", "0.9")}
    assert figures["sizes"] == {"small": 3, "medium": 0, "large": 0}
    assert figures["selected"]["gap"] is None
    assert figures["share_closed"] is None
    assert figures["per_class"]["dog"] == {"objects": 1, "selected": 1.0}
    rows = dict(
        zip(figures["per_object"]["annotation_id"], figures["per_object"]["selected_iou"], strict=True)
    )
    assert rows == {4: pytest.approx(1 / 3, abs=1e-6), 0: 1.0, 6: 0.0}
    json.dumps(figures, allow_nan=False)


def test_an_overlap_of_exactly_a_limit_reaches_it():
    objects = [thing(number, square(0, 0, 10)) for number in range(1, 5)]
    found = [thing(number, rectangle(SIZE, 0, 0, 10, height)) for number, height in ((1, 5), (2, 4), (3, 9))]
    found.append(thing(4, rectangle(SIZE, 0, 0, 10, 8)))
    figures = evaluate_labels(labels_of(found), instance_set(SIZE, [7], objects))
    assert figures["selected"]["at_least"] == {"0.5": 0.75, "0.75": 0.5, "0.9": 0.25}


def test_without_objects_no_share_reaches_a_limit():
    figures = evaluate_labels(labels_of([]), instance_set(SIZE, [7], []))
    assert figures["selected"]["at_least"] == {"0.5": None, "0.75": None, "0.9": None}


def test_scores_are_compared_with_overlaps_in_five_parts():
    objects = [thing(number, square(0, 0, 10)) for number in range(1, 13)]
    found = [
        {**thing(number, rectangle(SIZE, 0, 0, 10, min(10, number))), "score": number / 20}
        for number in range(1, 12)
    ]
    found.append(thing(12, square(0, 0)))  # without a score
    figures = evaluate_labels(labels_of(found), instance_set(SIZE, [7], objects))["by_score"]
    assert figures["fifths"] == {
        "labels": [3, 2, 2, 2, 2],
        "lowest_score": [0.05, 0.2, 0.3, 0.4, 0.5],
        "highest_score": [0.15, 0.25, 0.35, 0.45, 0.55],
        "mask_miou": [0.2, 0.45, 0.65, 0.85, 1.0],
        "at_least_half": [0.0, 0.5, 1.0, 1.0, 1.0],
    }
    # Ranks 0 to 10, but for the last two overlaps, which are equal.
    assert figures["rank_correlation"] == pytest.approx(spearman([*range(10), 10], [*range(9), 9.5, 9.5]))


def spearman(first, second):
    """Correlation of ranks, with loops."""
    means = [sum(values) / len(values) for values in (first, second)]
    shared = sum((a - means[0]) * (b - means[1]) for a, b in zip(first, second, strict=True))
    squares = [
        sum((value - mean) ** 2 for value in values)
        for values, mean in zip((first, second), means, strict=True)
    ]
    return shared / (squares[0] * squares[1]) ** 0.5


@pytest.mark.parametrize(
    ("scores", "overlaps"), [([], []), ([0.5], [0.5]), ([0.5, 0.5], [0.1, 0.9]), ([0.1, 0.9], [0.5, 0.5])]
)
def test_where_nothing_can_be_compared_there_is_no_correlation(scores, overlaps):
    found = score_figures(np.array(scores, dtype=float), np.array(overlaps, dtype=float))
    assert found == {"rank_correlation": None, "fifths": {}}


def test_only_images_that_the_label_file_lists_are_judged():
    objects = [thing(1, square(0, 0)), thing(2, square(0, 0), image_id=8)]
    figures = evaluate_labels(labels_of([thing(1, square(0, 0))]), instance_set(SIZE, [7, 8], objects))
    assert (figures["objects"], figures["missing"]) == (1, [])


def test_the_rules_without_a_model_are_measured_on_the_store():
    whole, part, group = square(0, 0, 20), square(0, 0, 6), rectangle(SIZE, 0, 0, 40, 20)
    objects = [thing(1, whole), thing(2, square(20, 0, 20)), thing(3, square(0, 25), category_id=0)]
    bags = {1: [(0.9, part), (0.5, whole), (0.2, group)], 2: [(0.9, square(20, 0, 20))], 3: []}
    clicked = [
        {**thing(1, part), "point": [3.0, 3.0], "score": 0.25},
        {**thing(2, square(20, 0, 20)), "point": [30.0, 10.0]},
    ]
    figures = evaluate_labels(
        labels_of(clicked), instance_set(SIZE, [7], objects), FakeStore({7: bags}, SIZE)
    )
    part_iou = 36 / 400
    assert figures["top_score"]["mask_miou"]["all"] == pytest.approx((part_iou + 1 + 0) / 3)
    assert figures["largest_alone"]["mask_miou"]["all"] == pytest.approx((1 + 1 + 0) / 3)
    assert figures["oracle"]["mask_miou"]["all"] == pytest.approx((1 + 1 + 0) / 3)
    assert figures["share_closed"] == pytest.approx(0.0)
    assert figures["missing"] == [3]
    assert figures["per_object"]["score"] == [0.25, None, None]
    assert figures["per_object"]["oracle_iou"] == [1.0, 1.0, 0.0]
    assert figures["proposals_per_object"] == pytest.approx(4 / 3)
    top_two = evaluate_labels(
        labels_of(clicked), instance_set(SIZE, [7], objects), FakeStore({7: bags}, SIZE), max_proposals=1
    )
    assert top_two["oracle"] == top_two["top_score"]
    recorded = {**labels_of(clicked), "info": {"max_proposals": 1}}
    store = FakeStore({7: bags}, SIZE)
    assert evaluate_labels(recorded, instance_set(SIZE, [7], objects), store) == top_two
    recorded["info"]["max_proposals"] = "all"
    with pytest.raises(DataError, match="max_proposals"):
        evaluate_labels(recorded, instance_set(SIZE, [7], objects), store)


def test_where_every_proposal_covers_another_click_the_fewest_win():
    both, three = rectangle(SIZE, 0, 0, 30, 10), rectangle(SIZE, 0, 0, 50, 10)
    objects = [thing(n, square(x, 0)) for n, x in ((1, 0), (2, 15), (3, 35))]
    clicked = [{**thing(n, square(x, 0)), "point": [x + 5.0, 5.0]} for n, x in ((1, 0), (2, 15), (3, 35))]
    store = FakeStore({7: {1: [(0.9, three), (0.8, both)]}}, SIZE)
    figures = evaluate_labels(labels_of(clicked), instance_set(SIZE, [7], objects), store)
    assert figures["per_object"]["largest_alone_iou"] == [pytest.approx(1 / 3, abs=1e-6), 0.0, 0.0]


def test_an_image_without_bags_and_a_set_without_objects_are_legal():
    objects = [thing(1, square(0, 0)), thing(2, square(0, 0), image_id=8)]
    ground_truth = instance_set(SIZE, [7, 8], objects)
    store = FakeStore({7: {}}, SIZE)
    figures = evaluate_labels(labels_of([thing(1, square(0, 0))], [7, 8]), ground_truth, store)
    assert figures["oracle"]["mask_miou"]["all"] == 0.0
    assert figures["gap_threshold"] is None
    assert figures["gap_objects"] == 0
    empty = evaluate_labels(labels_of([]), instance_set(SIZE, [7], []), store)
    assert empty["objects"] == 0
    assert empty["selected"]["mask_miou"]["all"] is None


def test_wrong_labels_are_refused_with_every_problem():
    ground_truth = instance_set(SIZE, [7, 8], [thing(1, square(0, 0))])
    bad = labels_of([thing(1, square(0, 0), image_id=8), thing(2, square(0, 0), image_id=70)])
    bad["annotations"] += [{"id": 5}, {**bad["annotations"][1], "id": 6, "image_id": 7, "segmentation": 3}, 4]
    with pytest.raises(DataError) as caught:
        evaluate_labels(bad, ground_truth)
    assert len(caught.value.problems) == 5
    assert "the object with its id is in image 7" in caught.value.problems[0]
    with pytest.raises(DataError, match="no label belongs to an object"):
        evaluate_labels(labels_of([thing(99, square(0, 0))]), ground_truth)
    with pytest.raises(DataError, match="annotations"):
        evaluate_labels({"images": []}, ground_truth)


def test_a_thousand_objects_in_one_image_take_little_time():
    spots = [(x, y) for y in range(40) for x in range(0, 50, 2)]
    objects = [thing(n, rectangle(SIZE, x, y, x + 2, y + 1)) for n, (x, y) in enumerate(spots)]
    clicked = [{**item, "point": [x + 0.5, y + 0.5]} for item, (x, y) in zip(objects, spots, strict=True)]
    whole = np.ones(SIZE, bool)
    bags = {n: [(0.9, whole), (0.5, item["mask"])] for n, item in enumerate(objects)}
    figures = evaluate_labels(
        labels_of(clicked), instance_set(SIZE, [7], objects), FakeStore({7: bags}, SIZE)
    )
    assert figures["objects"] == 1000
    assert figures["largest_alone"]["mask_miou"]["all"] == figures["selected"]["mask_miou"]["all"] == 1.0
    assert figures["top_score"]["mask_miou"]["all"] == pytest.approx(2 / 2000)
    assert figures["share_closed"] == pytest.approx(1.0)
