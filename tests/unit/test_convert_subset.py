"""Subsets of COCO files by class and number of images."""

import json

import pytest

from sapnet.cli.main import main
from sapnet.convert.subset import subset_document
from sapnet.errors import DataError


def file_of(num_images=20):
    """Image i holds a cat if i is even, a dog if it can be divided by three, maybe nothing."""
    images = [
        {"id": 7 * i, "file_name": f"{i}.jpg", "width": 4, "height": 4, "license": 2}
        for i in range(num_images)
    ]
    kinds = [(i, kind) for i in range(num_images) for kind, step in ((0, 2), (5, 3)) if i % step == 0]
    annotations = [
        {"id": place, "image_id": 7 * i, "category_id": kind, "segmentation": [], "point": [1, 1]}
        for place, (i, kind) in enumerate(kinds)
    ]
    categories = [{"id": 0, "name": "cat"}, {"id": 5, "name": "a dog"}]
    return {"info": {"year": 1}, "images": images, "categories": categories, "annotations": annotations}


def test_classes_keep_their_objects_and_the_images_with_one():
    found = subset_document(file_of(), "x", classes=["a dog"])
    assert [item["id"] for item in found["images"]] == [7 * i for i in range(0, 20, 3)]
    assert {entry["category_id"] for entry in found["annotations"]} == {5}
    assert [item["name"] for item in found["categories"]] == ["a dog"]
    assert found["images"][1] == {"id": 21, "file_name": "3.jpg", "width": 4, "height": 4, "license": 2}
    assert found["info"] == {"year": 1}


def test_images_without_objects_of_the_classes_can_be_kept():
    assert len(subset_document(file_of(), "x", classes=["a dog"], keep_empty=True)["images"]) == 20
    assert len(subset_document(file_of(), "x")["images"]) == 20


def test_a_smaller_draw_is_part_of_a_larger_one_with_the_same_seed():
    drawn = [
        {item["id"] for item in subset_document(file_of(), "x", num_images=count, seed=3)["images"]}
        for count in range(21)
    ]
    assert [len(ids) for ids in drawn] == list(range(21))
    assert all(drawn[count] <= drawn[count + 1] for count in range(20))
    other = {item["id"] for item in subset_document(file_of(), "x", num_images=10, seed=4)["images"]}
    assert other != drawn[10]


def test_the_draw_does_not_depend_on_the_order_of_the_file():
    document = file_of()
    turned = {**document, "images": document["images"][::-1]}
    ids = [
        {item["id"] for item in subset_document(d, "x", num_images=6)["images"]} for d in (document, turned)
    ]
    assert ids[0] == ids[1]


def test_unknown_classes_and_too_many_images_are_refused():
    with pytest.raises(DataError) as caught:
        subset_document(file_of(), "x", classes=["cat", "a dgo", "cow"])
    assert "'a dgo' (did you mean 'a dog'?)" in str(caught.value)
    assert "'cow'" in str(caught.value)
    with pytest.raises(DataError, match="only 7 qualify"):
        subset_document(file_of(), "x", classes=["a dog"], num_images=8)


def test_the_verb_writes_a_file_and_never_over_its_source(tmp_path, capsys):
    source, out = tmp_path / "all.json", tmp_path / "part.json"
    source.write_text(json.dumps(file_of()))
    arguments = [
        "convert",
        "subset",
        str(source),
        "--classes",
        "cat",
        "a dog",
        "--num-images",
        "5",
        "--seed",
        "1",
    ]
    assert main([*arguments, "--out", str(out)]) == 0
    assert len(json.loads(out.read_text())["images"]) == 5
    assert main([*arguments, "--out", str(source)]) == 2
    assert "over the source" in capsys.readouterr().err
    assert len(json.loads(source.read_text())["images"]) == 20
