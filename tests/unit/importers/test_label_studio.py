"""Label Studio: tasks, their annotations, and the short export."""

import json
from pathlib import Path

import pytest

from sapnet.errors import DataError
from sapnet.importers.formats import detect
from sapnet.importers.label_studio import read_label_studio
from sapnet.importers.records import ReaderOptions

FIXTURES = Path(__file__).parents[2] / "fixtures" / "importers"


def read(name, **options):
    return read_label_studio(FIXTURES / name, ReaderOptions(**options))


def rows(found):
    return [(point.image, point.label, point.x, point.y, point.role) for point in found.points]


def problems(found):
    return "\n".join(map(str, found.problems))


def written(tmp_path, tasks):
    (tmp_path / "tasks.json").write_text(json.dumps(tasks))
    return tmp_path / "tasks.json"


@pytest.mark.parametrize("name", ["label_studio.json", "label_studio_bad.json", "label_studio_min.json"])
def test_both_exports_are_recognised(name):
    assert detect(FIXTURES / name) == "label-studio"


def test_the_latest_annotation_of_each_task_is_read_in_percent():
    found = read("label_studio.json")
    assert rows(found) == [
        ("1a2b3c4d-street.jpg", "car", 64.44, 39.5, "point"),
        ("1a2b3c4d-street.jpg", "car", 10.0, 20.0, "negative"),
        ("1a2b3c4d-street.jpg", "dog", 0.0, 100.0, "point"),
        ("photos/Stück (2).png", "dog", 25.0, 75.0, "point"),
        ("photos/Stück (2).png", "", 1.5, 2.5, "point"),
        ("files/moon x.jpg", "car", 49.6, 52.25, "point"),
    ]
    assert {point.unit for point in found.points} == {"percent"}
    assert found.problems == ()
    assert found.points[0].where == "task 1, annotation 9, region new1"


def test_a_negative_point_belongs_to_the_object_of_its_parent():
    keys = [point.object_key for point in read("label_studio.json").points]
    assert keys[0] == keys[1] is not None
    assert keys[2:] == [None] * 4


def test_images_keep_their_declared_sizes_and_task_numbers():
    images = read("label_studio.json").images
    assert [(image.name, image.width, image.height, image.number) for image in images] == [
        ("1a2b3c4d-street.jpg", 200, 100, 1),
        ("photos/Stück (2).png", 40, 30, 2),
        ("2024/empty.jpg", None, None, 4),
        ("files/moon x.jpg", None, None, 5),
    ]


def test_what_was_not_read_is_noted():
    assert set(read("label_studio.json").notes) == {
        "1 tasks have predictions, which were not read",
        "1 tasks have several annotations; the latest was read",
        "1 regions of type 'rectanglelabels' were not read",
        "1 tasks were skipped by their annotators and were left out",
        "1 tasks have no annotation and were left out",
    }


def test_all_annotations_of_a_task_can_count():
    found = read("label_studio.json", annotations="all")
    assert ("1a2b3c4d-street.jpg", "car", 50.0, 50.0, "point") in rows(found)
    assert len(found.points) == 7


def test_points_of_one_parent_can_be_one_object():
    keys = [point.object_key for point in read("label_studio.json", several="one").points]
    assert keys[0] == keys[1]
    assert keys[2] is None


def test_bad_regions_are_named_and_the_others_read():
    found = read("label_studio_bad.json")
    assert rows(found) == [("a.jpg", "car", 1.0, 1.0, "point"), ("a.jpg", "car", 2.0, 2.0, "point")]
    text = problems(found)
    assert "region turned: the image was turned by 90 degrees in Label Studio" in text
    assert "region text: expected two finite numbers x and y, got '12' and 1" in text
    assert "region lonely: a negative point without parentID" in text
    assert "region two: has several labels (car, dog); the first was taken" in text
    assert "region size: expected a size in whole pixels, got width 0 and height 10" in text
    assert "task 2: no image address in 'data' (it has 'text')" in text
    assert "task 3: data has several images (left, right); left was taken" in text
    assert "tasks[3]: expected a task with 'data'" in text
    assert len(found.problems) == 8
    assert sum(problem.doubtful for problem in found.problems) == 3


def test_the_short_export_is_read_with_labels_from_their_own_tag():
    found = read("label_studio_min.json")
    assert rows(found) == [
        ("1a2b3c4d-street.jpg", "car", 25.0, 50.0, "point"),
        ("sub/b.png", "dog", 10.0, 20.0, "point"),
    ]
    assert [image.name for image in found.images] == ["1a2b3c4d-street.jpg", "sub/b.png", "sub/empty.png"]
    assert found.problems == ()
    assert "1 annotations are not the latest of their task and were not read" in found.notes
    assert "1 regions that are no points were not read" in found.notes
    assert len(read("label_studio_min.json", annotations="all").points) == 3


def test_a_folder_of_single_tasks_is_read(tmp_path):
    tasks = json.loads((FIXTURES / "label_studio.json").read_text())
    for task in tasks:
        (tmp_path / f"{task['id']}.json").write_text(json.dumps(task))
    assert detect(tmp_path) == "label-studio"
    assert rows(read_label_studio(tmp_path, ReaderOptions())) == rows(read("label_studio.json"))


def test_a_task_with_two_images_takes_the_one_each_region_is_on(tmp_path):
    region = {"id": "r", "type": "keypointlabels", "value": {"x": 1, "y": 2, "keypointlabels": ["a"]}}
    task = {
        "id": 4,
        "data": {"left": "l.jpg", "right": "r.jpg"},
        "annotations": [{"result": [{**region, "to_name": "right"}, {**region, "to_name": "left"}]}],
    }
    found = read_label_studio(written(tmp_path, [task]), ReaderOptions())
    assert [point.image for point in found.points] == ["r.jpg", "l.jpg"]
    assert [(image.name, image.number) for image in found.images] == [("r.jpg", None), ("l.jpg", None)]


def test_an_image_inside_the_file_goes_by_its_upload_name(tmp_path):
    task = {"id": 1, "file_upload": "ab-x.png", "data": {"image": "data:image/png;base64,AA"}}
    found = read_label_studio(written(tmp_path, [{**task, "annotations": [{"result": []}]}]), ReaderOptions())
    assert [image.name for image in found.images] == ["ab-x.png"]


@pytest.mark.parametrize("content", ["[1, 2]", '{"images": []}', "[{}]"])
def test_what_is_no_export_is_refused(tmp_path, content):
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(DataError, match="expected a list of Label Studio tasks"):
        read_label_studio(tmp_path / "x.json", ReaderOptions())
