"""Instances files: polygons, both run-length forms, flags, and their problems."""

from __future__ import annotations

import numpy as np
import pytest

from data_builders import box_mask, document
from sapnet.data.instances import instances_from_json, load_instances
from sapnet.data.rle import decode_masks, encode_mask, segmentation_to_counts
from sapnet.errors import DataError

SIZE = (48, 64)


def instance(number, segmentation, **more):
    return {"id": number, "image_id": 1, "category_id": 0, "segmentation": segmentation, **more}


def load(*annotations):
    return instances_from_json(document(annotations), "instances.json")


def run_lengths_of(mask):
    flat, runs, value = mask.T.ravel().tolist(), [0], False
    for pixel in flat:
        if pixel != value:
            runs.append(0)
            value = pixel
        runs[-1] += 1
    return runs


def test_polygons_and_both_run_length_forms_give_the_same_mask():
    mask = box_mask(SIZE, 10, 5, 30, 25)
    text = encode_mask(mask).decode()
    instances = load(
        instance(1, [[10, 5, 30, 5, 30, 25, 10, 25]]),
        instance(2, {"size": [48, 64], "counts": run_lengths_of(mask)}),
        instance(3, {"size": [48, 64], "counts": text}),
    )
    decoded = decode_masks(instances.counts[:], SIZE)
    assert (decoded == mask).all()
    assert instances.areas.tolist() == [400, 400, 400]
    assert instances.boxes.tolist() == [[10, 5, 30, 25]] * 3


def test_the_files_own_area_box_and_flags_are_kept():
    instances = load(
        instance(1, [[1, 1, 9, 1, 9, 9]], area=31.5, bbox=[1, 1, 8, 8], iscrowd=1),
        instance(2, [[1, 1, 9, 1, 9, 9]], ignore=1, area=[], bbox=[]),
    )
    assert instances.areas[0] == 31.5
    assert instances.boxes[0].tolist() == [1, 1, 9, 9]
    assert instances.iscrowd.tolist() == [True, False]
    assert instances.ignore.tolist() == [False, True]
    assert instances.areas[1] > 0


def test_an_object_of_two_polygons_is_their_union():
    instances = load(instance(1, [[0, 0, 4, 0, 4, 4, 0, 4], [10, 0, 14, 0, 14, 4, 10, 4], [5, 5, 6, 6]]))
    assert instances.areas.tolist() == [32]


def test_a_polygon_of_two_points_is_an_empty_mask_and_keeps_its_vertices():
    instances = load(instance(1, [[5, 6, 7, 8]]), instance(2, []))
    assert instances.areas.tolist() == [0, 0]
    assert instances.polygons.of_row(0).tolist() == [[5, 6], [7, 8]]
    assert len(instances.polygons.of_row(1)) == 0


def test_every_problem_is_reported_at_once():
    with pytest.raises(DataError) as caught:
        load(
            instance(1, [[1, 2, 3, 4, 5, 6, 7]]),
            instance(2, {"size": [4, 4], "counts": [16]}),
            instance(3, {"size": [48, 64], "counts": [5, 5]}),
            instance(4, {"size": [48, 64], "counts": "garbage\x07"}),
            instance(5, "text"),
            instance(6, [["a", 1, 2, 3, 4, 5]]),
            {"id": 7, "image_id": 1, "category_id": 0},
            instance(8, [[1, 1, 9, 1, 9, 9]], area=-1, bbox=[1, 2, 3], iscrowd=2),
        )
    text = "\n".join(caught.value.problems)
    for expected in [
        "(id 1): a polygon of segmentation has 7 numbers",
        "(id 2): segmentation has size [4, 4], but the image is [48, 64]",
        "(id 3): segmentation counts add up to 10",
        "(id 4): the run-length string is damaged",
        "(id 5): segmentation must be a list of polygons",
        "(id 6): a polygon of segmentation holds something that is no finite number",
        "(id 7): the key 'segmentation' is missing",
        "(id 8): 'area' must be a non-negative number",
        "(id 8): 'bbox' must be",
        "(id 8): 'iscrowd' must be 0 or 1",
    ]:
        assert expected in text
    assert len(caught.value.problems) == 10


def test_the_parts_of_an_instance_are_given_as_run_lengths():
    part = {"size": [48, 64], "counts": encode_mask(box_mask(SIZE, 1, 1, 3, 3)).decode()}
    instances = load(instance(1, [[1, 1, 9, 1, 9, 9]], parts=[part]), instance(2, []))
    assert decode_masks(instances.parts(0), SIZE).sum() == 4
    assert instances.parts(1) == []


@pytest.mark.parametrize("segmentation", [None, 3, [3], {"size": [48, 64]}, {"counts": []}])
def test_malformed_segmentations_are_value_errors(segmentation):
    with pytest.raises(ValueError, match="segmentation"):
        segmentation_to_counts(segmentation, SIZE)


def test_shared_instances_load_with_the_areas_of_their_masks(shared_data):
    instances = load_instances(shared_data / "voc20" / "instances_val.json")
    rows = instances.rows_of(0)
    size = instances.images.size(0)
    areas = decode_masks(instances.counts.take(rows), size).sum(axis=(1, 2))
    np.testing.assert_allclose(areas, instances.areas[rows], rtol=0.2, atol=10)
