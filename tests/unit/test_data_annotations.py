"""Points files: what is accepted, what is kept, and how problems are told."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest

from data_builders import click, document, image_entry, point_set, write_json
from sapnet.data.annotations import load_points, points_from_json, points_to_json, save_points
from sapnet.errors import DataError


def problems_of(obj):
    with pytest.raises(DataError) as caught:
        points_from_json(obj, "points.json")
    return caught.value.problems


def test_ids_are_arbitrary_and_labels_follow_the_file_order():
    points = point_set(
        [
            click(-5, (1, 2), category_id=7),
            click(0, (3, 4), category_id=0),
            click(10**15, (5, 6), category_id=7),
        ]
    )
    assert points.annotation_labels.tolist() == [1, 0, 1]
    assert points.annotation_ids.tolist() == [-5, 0, 10**15]
    assert points.category_id_of(1) == 7
    assert points.label_of(0) == 0
    with pytest.raises(KeyError):
        points.label_of(3)


def test_an_image_gives_its_own_clicks_in_file_order_with_their_owners():
    images = [image_entry(9, "a.png"), image_entry(2, "b.png"), image_entry(5, "empty.png")]
    points = point_set(
        [
            click(1, (1, 1), 2, negative_points=[[0, 0], [2, 2]]),
            click(2, (2, 2), 9, extra_points=[[3, 3]]),
            click(3, (4, 4), 2, 7, extra_points=[[5, 5]], negative_points=[[6, 6]]),
        ],
        images=images,
    )
    second = points.of_image(points.images.index_of(2))
    assert second.annotation_ids.tolist() == [1, 3]
    assert second.xy.tolist() == [[1, 1], [4, 4]]
    assert second.negative_xy.tolist() == [[0, 0], [2, 2], [6, 6]]
    assert second.negative_owner.tolist() == [0, 0, 1]
    assert second.extra_xy.tolist() == [[5, 5]]
    assert second.extra_owner.tolist() == [1]
    assert points.of_image(2).xy.shape == (0, 2)
    with pytest.raises(KeyError):
        points.images.index_of(3)


def test_a_file_without_images_or_clicks_is_legal():
    points = points_from_json({"images": [], "categories": [], "annotations": []}, "empty")
    assert len(points) == 0
    assert points.xy.shape == (0, 2)
    assert len(points.digest) == 64


def test_every_problem_is_reported_at_once_with_id_and_nearest_name():
    found = "\n".join(
        problems_of(
            document(
                [
                    click(1, (1, float("nan"))),
                    click(1, (1, 2)),
                    click(2, (1, 2), image_id=3),
                    click(3, (1, 2), category_id=6),
                    click(4, (1, 2, 3)),
                    {"id": 5, "image_id": 1, "category_id": 0, "pont": [1, 2]},
                    click("6", (1, 2)),
                    click(7, (1, 2), extra_points=[[1, "a"]]),
                    click(8, (True, 2)),
                    "nothing",
                    click(10**30, (10**400, 2)),
                ]
            )
        )
    )
    for expected in [
        "annotations[0] (id 1): 'point' must be [x, y] with two finite numbers, got [1, nan]",
        "annotations[1] (id 1): the id 1 is already used by annotations[0]",
        "annotations[2] (id 2): image_id 3 is not in images (known ids: 1)",
        "annotations[3] (id 3): category_id 6 is not in categories (known ids: 0, 7)",
        "annotations[4] (id 4): 'point' must be [x, y] with two finite numbers, got [1, 2, 3]",
        "annotations[5] (id 5): the key 'point' is missing (did you mean 'pont'?)",
        "annotations[6]: 'id' must be an integer, got '6'",
        "annotations[7] (id 7): extra_points[0] must be [x, y] with two finite numbers, got [1, 'a']",
        "annotations[8] (id 8): 'point' must be [x, y]",
        "annotations[9]: expected an object, got 'nothing'",
        "annotations[10] (id 1000000000000000000000000000000): 'id' must be an integer",
    ]:
        assert expected in found


def test_problems_of_images_and_categories_are_told_too():
    obj = document(images=[image_entry(1), image_entry(1, ""), {"id": 2, "file_name": "c.png", "width": 0}])
    obj["categories"] += [{"id": 0, "name": "cat"}, {"id": 9}]
    found = "\n".join(problems_of(obj))
    assert "images[1] (id 1): the id 1 is already used by an earlier image" in found
    assert "images[1] (id 1): 'file_name' must be a text, got ''" in found
    assert "images[2] (id 2): 'width' must be an integer of at least 1, got 0" in found
    assert "images[2] (id 2): the key 'height' is missing" in found
    assert "categories[2] (id 0): the id 0 is already used by an earlier category" in found
    assert "categories[2] (id 0): the name 'cat' is already used by an earlier category" in found
    assert "categories[3] (id 9): the key 'name' is missing" in found


def test_missing_sections_are_told_with_the_nearest_key():
    found = problems_of({"image": [], "annotations": {}, "categories": []})
    assert "the key 'images' is missing (did you mean 'image'?)" in found
    assert "'annotations' must be a list, got an object" in found


def test_among_many_images_the_nearest_id_is_told():
    images = [image_entry(10 * i, f"{i}.png") for i in range(50)]
    found = problems_of(document([click(1, (1, 2), image_id=203)], images=images))
    assert found == ("annotations[0] (id 1): image_id 203 is not in images (the nearest id is 200)",)


def test_cut_off_json_is_told_with_line_and_column(tmp_path):
    path = tmp_path / "points.json"
    path.write_text('{"images": [],\n "annot')
    with pytest.raises(DataError, match=r"points\.json\n.*line 2, column 2.*cut off"):
        load_points(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"[1]", "expected an object"), (b"\xff\xfe{}", "UTF-8"), (b"[" * 100_000, "nested"), (b"", "line 1")],
)
def test_files_that_are_no_annotation_files_are_refused(tmp_path, content, message):
    path = tmp_path / "points.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        load_points(path)


def test_a_missing_file_is_told_with_the_nearest_name(tmp_path):
    write_json(tmp_path / "points_train.json", document())
    with pytest.raises(DataError, match=r"no such file .did you mean 'points_train\.json'"):
        load_points(tmp_path / "point_train.json")


def test_unknown_keys_pass_through_and_saving_keeps_everything(tmp_path):
    obj = document(
        [click(3, (1.25, 2.5), note={"a": [1, None]}, extra_points=[[1.0, 2.0]]), click(1, (0.0, 0.5))],
        images=[image_entry(license=3, flickr="ü")],
        info={"year": 2026},
    )
    obj["categories"][0]["supercategory"] = "animal"
    points = load_points(write_json(tmp_path / "in.json", obj))
    save_points(points, tmp_path / "out.json")
    assert json.loads((tmp_path / "out.json").read_text(encoding="utf-8")) == obj
    assert load_points(tmp_path / "out.json").digest == points.digest


def test_the_digest_follows_what_matters_only():
    clicks = [click(1, (1, 2)), click(2, (3, 4), category_id=7)]
    base = point_set(clicks).digest
    assert point_set(clicks[::-1]).digest == base
    assert point_set([{**item, "note": 1} for item in clicks], info=1).digest == base
    assert point_set([click(1, (1.0, 2.0)), clicks[1]]).digest == base
    for changed in [
        point_set([click(1, (1, 2.001)), clicks[1]]),
        point_set([click(9, (1, 2)), clicks[1]]),
        point_set([click(1, (1, 2), category_id=7), clicks[1]]),
        point_set([click(1, (1, 2), extra_points=[[5, 5]]), clicks[1]]),
        point_set([click(1, (1, 2), negative_points=[[5, 5]]), clicks[1]]),
        point_set(clicks, images=[image_entry(name="b.png")]),
        point_set(clicks, images=[image_entry(size=(48, 65))]),
        point_set(clicks, categories=((7, "dog"), (0, "cat"))),
    ]:
        assert changed.digest != base


def test_a_point_set_survives_pickling_to_a_worker():
    points = point_set([click(1, (1, 2), extra_points=[[1, 1]])])
    copy = pickle.loads(pickle.dumps(points))
    assert points_to_json(copy) == points_to_json(points)


def test_columns_are_flat_arrays():
    points = point_set([click(i, (i % 60, 2)) for i in range(1000)])
    assert isinstance(points.annotation_extras.encoded.buffer, np.ndarray)
    assert points.annotation_extras[-1] == ""
    with pytest.raises(IndexError):
        points.annotation_extras[1000]
