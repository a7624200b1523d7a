"""What ``sapnet predict`` writes can be evaluated against any ground truth of the same files."""

import pytest

from sapnet.data.instances import instances_from_json
from sapnet.errors import DataError
from sapnet.evaluation.coco_ap import evaluate_coco
from sapnet.evaluation.prediction_files import to_ground_truth_ids

SQUARE = [[1, 1, 9, 1, 9, 9, 1, 9]]


def ground_truth(names=("a.jpg", "sub/b.jpg")):
    return instances_from_json(
        {
            "images": [
                {"id": 70 + i, "file_name": n, "width": 12, "height": 10} for i, n in enumerate(names)
            ],
            "categories": [{"id": 5, "name": "cat"}, {"id": 3, "name": "dog"}],
            "annotations": [
                {
                    "id": i,
                    "image_id": 70 + i,
                    "category_id": 3,
                    "segmentation": SQUARE,
                    "bbox": [1, 1, 8, 8],
                    "area": 64,
                    "iscrowd": 0,
                }
                for i in range(len(names))
            ],
        },
        "gt.json",
    )


def document(names, category="dog"):
    return {
        "images": [{"id": i + 1, "file_name": n, "width": 12, "height": 10} for i, n in enumerate(names)],
        "categories": [{"id": 18, "name": category}],
        "annotations": [
            {"id": i, "image_id": i + 1, "category_id": 18, "segmentation": SQUARE, "score": 0.9}
            for i in range(len(names))
        ],
    }


def evaluate(tmp_path, content):
    import json

    path = tmp_path / "preds.json"
    path.write_text(json.dumps(content))
    return evaluate_coco(path, ground_truth())


def test_images_and_categories_are_matched_by_name(tmp_path):
    assert evaluate(tmp_path, document(["photos/b.jpg", "photos/a.jpg"]))["AP"] == pytest.approx(1.0)


def test_a_predicted_image_that_is_not_in_the_ground_truth_is_named(tmp_path):
    with pytest.raises(DataError, match=r"photos/c\.jpg is no image"):
        evaluate(tmp_path, document(["photos/c.jpg"]))


def test_an_image_without_predictions_needs_no_match(tmp_path):
    content = document(["a.jpg", "photos/c.jpg"])
    content["annotations"].pop()
    assert evaluate(tmp_path, content)["predictions"] == 1


def test_an_unknown_category_is_named_with_the_nearest(tmp_path):
    with pytest.raises(DataError, match=r"'dogs' is none of the ground truth's .*'dog'"):
        evaluate(tmp_path, document(["a.jpg"], category="dogs"))


def test_a_name_that_two_images_share_is_refused(tmp_path):
    import json

    path = tmp_path / "preds.json"
    path.write_text(json.dumps(document(["photos/a.jpg"])))
    with pytest.raises(DataError, match="matches 2 images"):
        evaluate_coco(path, ground_truth(("x/a.jpg", "y/a.jpg")))


@pytest.mark.parametrize("folder", ["x", "/photos/x", "elsewhere/x"])
def test_images_of_one_name_are_told_apart_by_their_folders(folder):
    names = [f"{folder}/a.jpg", "more/y/a.jpg"]
    truth = ground_truth(("x/a.jpg", "y/a.jpg"))
    for order, ids in ((names, [70, 71]), (names[::-1], [71, 70])):
        entries, problems = to_ground_truth_ids(document(order), truth)
        assert problems == []
        assert [entry["image_id"] for entry in entries] == ids


def test_two_predicted_images_cannot_stand_for_one_of_the_ground_truth(tmp_path):
    content = document(["a.jpg", "photos/a.jpg"])
    with pytest.raises(DataError, match=r"a\.jpg and photos/a\.jpg are one image .*\(id 70\)"):
        evaluate(tmp_path, content)
    content["annotations"].pop()
    assert evaluate(tmp_path, content)["predictions"] == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": {}}, "images: expected a list, found dict"),
        ({"images": ["a.jpg"]}, "images 0: expected an object, found str"),
        ({"images": [{"id": 1}]}, "images 0: file_name: expected a text"),
        (
            {"images": [{"id": 1, "file_name": "a.jpg"}, {"id": 1, "file_name": "b.jpg"}]},
            "images: id 1 is given",
        ),
        ({"categories": [{"id": True, "name": None}]}, "categories 0: id: expected a whole number"),
        ({"annotations": None}, "annotations: expected a list, found NoneType"),
        ({"annotations": [7]}, "annotations 0: expected an object, found int"),
        ({"annotations": [{"image_id": [], "category_id": 18}]}, "annotations 0: image_id: expected a whole"),
    ],
)
def test_a_document_of_another_shape_is_refused_with_the_place(tmp_path, change, message):
    with pytest.raises(DataError) as caught:
        evaluate(tmp_path, document(["a.jpg"]) | change)
    assert any(message in problem for problem in caught.value.problems)
