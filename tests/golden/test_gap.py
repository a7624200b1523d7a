"""Eq. 10 by hand."""

import numpy as np
import pytest

from sapnet.evaluation import evaluate_labels
from scene_builders import FakeStore, document, instance_set, rectangle

SIZE = (20, 40)


def shape(x, filled, side=10):
    """A mask in a side x side box with ``filled`` of its pixels, so that R_v is filled / side ** 2."""
    mask = np.zeros(SIZE, dtype=bool)
    corner = np.ones((side, side), dtype=bool)
    inner = np.argwhere(np.pad(np.ones((side - 2, side - 2), bool), 1))
    for row, column in inner[: side * side - filled]:
        corner[row, column] = False
    mask[:side, x : x + side] = corner
    return mask


def test_gap_is_the_surplus_of_compactness_on_objects_with_a_compact_proposal():
    # R_v of the bags: object 1 {1.0, 0.6}, object 2 {0.5}. Highest: 1.0 and 0.5, so T_rv = 0.75 and
    # only object 1 exceeds it. Its ground truth has R_v 0.7, the pick 0.6, the top score 1.0.
    objects = [
        {"id": 1, "image_id": 1, "category_id": 3, "mask": shape(0, 70)},
        {"id": 2, "image_id": 1, "category_id": 3, "mask": shape(20, 80)},
    ]
    picked = [{**objects[0], "mask": shape(0, 60)}, {**objects[1], "mask": shape(20, 50)}]
    bags = {1: [(0.9, rectangle(SIZE, 0, 0, 4, 4)), (0.3, shape(0, 60))], 2: [(0.8, shape(20, 50))]}
    figures = evaluate_labels(
        document(SIZE, [1], picked), instance_set(SIZE, [1], objects), FakeStore({1: bags}, SIZE)
    )
    assert figures["gap_threshold"] == pytest.approx(0.75)
    assert figures["gap_objects"] == 1
    assert figures["selected"]["gap"] == pytest.approx(-0.1)
    assert figures["top_score"]["gap"] == pytest.approx(0.3)
