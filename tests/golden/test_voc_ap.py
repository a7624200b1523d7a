"""VOC average precision by hand, under both conventions."""

import numpy as np
import pytest

from sapnet.evaluation import evaluate_voc
from sapnet.evaluation.voc_ap import area_under_envelope
from scene_builders import instance_set, rectangle, rle

SIZE = (20, 60)


def test_area_under_the_monotone_envelope():
    # Hits at ranks 1, 3, 4 of 4 objects: precision there 1, 2/3, 3/4; envelope 1, 3/4, 3/4.
    found = np.array([True, False, True, True, False])
    assert area_under_envelope(found, 4) == pytest.approx((1 + 0.75 + 0.75) / 4)
    assert area_under_envelope(np.zeros(0, bool), 3) == 0.0


def test_conventions_differ_where_the_highest_overlap_is_taken():
    # Two objects; the first detection finds A. The second overlaps A most but also B by 0.5, so COCO
    # gives it B and the VOC tool chain calls it a second hit on A.
    first, second = rectangle(SIZE, 0, 0, 30, 20), rectangle(SIZE, 15, 0, 45, 20)
    between = rectangle(SIZE, 5, 0, 35, 20)
    objects = [
        {"id": 1, "image_id": 1, "category_id": 3, "mask": first},
        {"id": 2, "image_id": 1, "category_id": 3, "mask": second},
    ]
    predictions = [
        {"image_id": 1, "category_id": 3, "score": 0.9, "segmentation": rle(first)},
        {"image_id": 1, "category_id": 3, "score": 0.8, "segmentation": rle(between)},
    ]
    figures = evaluate_voc(predictions, instance_set(SIZE, [1], objects))
    assert figures["area"]["AP50"] == pytest.approx(0.5)
    assert figures["coco101"]["AP50"] == pytest.approx(1.0)
    # At 0.7 the second detection finds only A: both conventions call it wrong. 51 of the 101
    # recalls are at most 0.5.
    assert figures["area"]["AP70"] == pytest.approx(0.5)
    assert figures["coco101"]["AP70"] == pytest.approx(51 / 101)
    assert figures["per_class"]["dog"]["area"]["AP50"] is None
    assert figures["per_class"]["cat"]["objects"] == 2
