"""Evaluation against loop-written oracles, and what must not change its figures."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oracles.evaluation import compactness, gap, mask_iou, rule_picks, tight_box, voc_area_ap
from sapnet.evaluation import evaluate_coco, evaluate_labels, evaluate_voc
from scene_builders import FakeStore, document, instance_set, rectangle, rle

SIZE = (12, 14)
few = settings(max_examples=12, deadline=None)


def random_mask(rng):
    x, y = rng.integers(0, SIZE[1] - 3), rng.integers(0, SIZE[0] - 3)
    mask = rectangle(SIZE, x, y, x + rng.integers(3, 9), y + rng.integers(3, 9))
    return mask & (rng.random(SIZE) < 0.9)


def random_task(seed):
    rng = np.random.default_rng(seed)
    objects = [
        {
            "id": 10 * row,
            "image_id": int(rng.integers(1, 3)),
            "category_id": int(rng.choice([3, 0])),
            "mask": random_mask(rng),
            "iscrowd": int(rng.random() < 0.15),
        }
        for row in range(rng.integers(1, 9))
    ]
    results = []
    for _ in range(rng.integers(0, 14)):
        near = objects[rng.integers(len(objects))]
        mask = near["mask"] ^ (rng.random(SIZE) < 0.06) if rng.random() < 0.7 else random_mask(rng)
        results.append(
            (near["image_id"], near["category_id"], float(rng.choice(np.linspace(0, 1, 30))), mask)
        )
    return rng, objects, results


def as_json(results):
    return [
        {"image_id": image, "category_id": category, "score": score, "segmentation": rle(mask)}
        for image, category, score, mask in results
    ]


@given(seed=st.integers(0, 10_000))
@few
def test_area_precision_equals_the_loops(seed):
    _, objects, results = random_task(seed)
    figures = evaluate_voc(as_json(results), instance_set(SIZE, [1, 2], objects))
    for category, name in ((3, "cat"), (0, "dog")):
        detections = [(image, score, mask) for image, kind, score, mask in results if kind == category]
        truths = [
            (item["image_id"], item["mask"], not item["iscrowd"])
            for item in objects
            if item["category_id"] == category
        ]
        for key, threshold in (("AP25", 0.25), ("AP50", 0.5), ("AP70", 0.7), ("AP75", 0.75)):
            expected = voc_area_ap(detections, truths, threshold)
            found = figures["per_class"][name]["area"][key]
            assert (found is None and np.isnan(expected)) or found == pytest.approx(expected)


@given(seed=st.integers(0, 10_000))
@few
def test_order_of_files_and_shifted_ids_change_nothing(seed):
    rng, objects, results = random_task(seed)
    results = [(*row[:2], place / 100, row[3]) for place, row in enumerate(results)]
    plain = evaluate_coco(as_json(results), instance_set(SIZE, [1, 2], objects))
    moved = [{**item, "id": 7000 - item["id"]} for item in objects]
    shuffled = [results[row] for row in rng.permutation(len(results))]
    again = evaluate_coco(as_json(shuffled), instance_set(SIZE, [2, 1], moved[::-1]))
    for key in ("AP", "AP50", "AP75", "APs"):
        assert again[key] == pytest.approx(plain[key])


@given(seed=st.integers(0, 10_000))
@few
def test_label_figures_equal_the_loops(seed):
    rng = np.random.default_rng(seed)
    objects, bags, clicked, expected = [], {1: {}, 2: {}}, [], {}
    for row in range(rng.integers(1, 7)):
        mask = random_mask(rng)
        mask[5, 5] = True
        image, category = int(rng.integers(1, 3)), int(rng.choice([3, 0]))
        objects.append({"id": row, "image_id": image, "category_id": category, "mask": mask})
        bag = [(float(rng.integers(0, 5)) / 5, random_mask(rng)) for _ in range(rng.integers(0, 5))]
        bags[image][row] = sorted((item for item in bag if item[1].any()), key=lambda item: -item[0])
        point = rng.uniform([0, 0], [SIZE[1], SIZE[0]]).tolist()
        clicked.append({**objects[-1], "mask": random_mask(rng), "point": point})
    figures = evaluate_labels(
        document(SIZE, [1, 2], clicked), instance_set(SIZE, [1, 2], objects), FakeStore(bags, SIZE)
    )
    columns = figures["per_object"]
    for place, number in enumerate(columns["annotation_id"]):
        item, pick = objects[number], clicked[number]
        others = [
            other["point"]
            for other in clicked
            if other["id"] != number
            and (other["image_id"], other["category_id"]) == (item["image_id"], item["category_id"])
        ]
        bag = bags[item["image_id"]][number]
        assert columns["selected_iou"][place] == pytest.approx(mask_iou(pick["mask"], item["mask"]), abs=1e-5)
        for rule, chosen in rule_picks(bag, item["mask"], others).items():
            overlap = mask_iou(bag[chosen][1], item["mask"])
            assert columns[f"{rule}_iou"][place] == pytest.approx(overlap, abs=1e-5)
    for name in ("selected", "oracle"):
        good = [overlap >= 0.5 for overlap in columns[f"{name}_iou"]]
        assert figures[name]["at_least"]["0.5"] == pytest.approx(sum(good) / len(good))
    expected = [
        ([mask for _, mask in bags[item["image_id"]][item["id"]]], clicked[item["id"]]["mask"], item["mask"])
        for item in objects
    ]
    if any(bag for bag, _, _ in expected):
        threshold, difference = gap(expected)
        assert figures["gap_threshold"] == pytest.approx(threshold)
        assert figures["selected"]["gap"] == (None if difference is None else pytest.approx(difference))
    assert all(0 <= compactness(item["mask"]) <= 1 and len(tight_box(item["mask"])) == 4 for item in objects)


@given(seed=st.integers(0, 10_000))
@few
def test_the_oracle_is_never_worse_than_any_other_rule(seed):
    rng = np.random.default_rng(seed)
    objects = [{"id": row, "image_id": 1, "category_id": 3, "mask": random_mask(rng)} for row in range(4)]
    bags = {1: {row: [(rng.random(), random_mask(rng)) for _ in range(5)] for row in range(4)}}
    labels = document(SIZE, [1], [{**item, "point": [4.0, 4.0]} for item in objects])
    figures = evaluate_labels(labels, instance_set(SIZE, [1], objects), FakeStore(bags, SIZE))
    for rule in ("top_score", "largest_alone"):
        assert figures["oracle"]["mask_miou"]["all"] >= figures[rule]["mask_miou"]["all"] - 1e-9
