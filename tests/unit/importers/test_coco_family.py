"""COCO with points, keypoints, masks, and the authors' files: exact coordinates and every oddity."""

from __future__ import annotations

import json

import pytest

from import_builders import FIXTURES, assembled, clicks, image_folder, import_file
from sapnet.data.annotations import load_instances, load_points
from sapnet.data.point_sampling import sample_points
from sapnet.errors import DataError
from sapnet.importers.coco import read_authors, read_coco, read_keypoints
from sapnet.importers.formats import detect
from sapnet.importers.instances import read_instances
from sapnet.importers.records import ReaderOptions


def read(reader, name, **options):
    return reader(FIXTURES / name, ReaderOptions(**options))


def texts(found):
    return [str(problem) for problem in found.problems]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("coco_points.json", "coco"),
        ("coco_bad.json", "coco"),
        ("coco_keypoints.json", "coco-keypoints"),
        ("authors_stage_a.json", "authors"),
        ("authors_stage_b.json", "authors"),
        ("instances.json", "instances"),
    ],
)
def test_each_kind_is_told_apart(name, expected):
    assert detect(FIXTURES / name) == expected


def test_points_further_points_and_regions_of_coco_arrive_exactly(tmp_path):
    images = image_folder(tmp_path / "images", "a.png", "sub/b c.png", "empty.png")
    document, figures = import_file(FIXTURES / "coco_points.json", images, tmp_path / "points.json")
    assert [item["id"] for item in document["images"]] == [0, 5, 9]
    assert document["images"][1]["file_name"] == "sub/b c.png"
    assert document["images"][1]["ignore_regions"] == [
        {"bbox": [1, 2, 10, 20]},
        {"category_id": 0, "polygon": [[1, 1], [5, 1], [5, 5]]},
        {"category_id": 90, "bbox": [10, 10, 5, 6]},
        {"point": [7.5, 8.5]},
        {"category_id": 0, "point": [5, 6]},
    ]
    assert document["categories"] == [{"id": 90, "name": "dog"}, {"id": 0, "name": "cat"}]
    assert [entry["id"] for entry in document["annotations"]] == [7, 0]
    assert clicks(document)[0] == ("a.png", "cat", (1.25, 2.5), [], [])
    assert clicks(document)[1][3:] == ([(10, 11), (12.5, 13)], [(0, 0)])
    assert clicks(document)[1][2] == pytest.approx((64, 48))
    assert figures["images_without_points"] == 2
    assert figures["points_moved_inside"] == 1
    assert len(load_points(tmp_path / "points.json")) == 2


def test_our_own_points_file_comes_back_as_it_was(tmp_path):
    images = image_folder(tmp_path / "images", "a.png", "sub/b c.png", "empty.png")
    first, _ = import_file(FIXTURES / "coco_points.json", images, tmp_path / "first.json")
    again, figures = import_file(tmp_path / "first.json", images, tmp_path / "again.json", strict=True)
    assert figures["format"] == "coco"
    for document in (first, again):
        document["images"][1]["ignore_regions"].sort(key=json.dumps)
    assert again == first


def test_every_bad_entry_of_coco_is_named(tmp_path):
    found = read(read_coco, "coco_bad.json")
    text = "\n".join(texts(found))
    for expected in (
        "images[1] (id 1): the id 1 is already used by images[0] (id 1)",
        "images[2] (id 2): 'file_name' must name an image, got null",
        "images[3]: 'id' must be an integer, got '3'",
        "images[4]: expected an object, got 'd.png'",
        "images[5] (id 4): expected a size in whole pixels, got width 64.5 and height null",
        "categories[1] (id 1): the id 1 is already used by an earlier category",
        "categories[2] (id 2): expected an object with an integer 'id' and a text 'name'",
        "categories[3] (id 3): the name 'cat' is that of category 1 too; united",
        "annotations[0] (id 1): the key 'point' is missing",
        "annotations[1] (id 2): the key 'point' is missing (with --shapes, the centre of its bbox is the click)",
        "annotations[2] (id 3): there is no image with the image_id 77",
        "annotations[3] (id 4): there is no category with the category_id 8 (known ids: 1, 3)",
        "annotations[4] (id 5): 'point' must be [x, y] with two finite numbers, got [1, nan]",
        "annotations[5] (id 6): 'point' must be [x, y] with two finite numbers, got [1, True]",
        "annotations[6] (id 7): extra_points[1] must be [x, y] with two finite numbers, got [3]",
        "annotations[8]: expected an object, got 'click'",
        "annotations[9] (id 9): 'point' must be",
        "annotations[11] (id 11): is a crowd or to be ignored, but has no bbox",
    ):
        assert expected in text
    assert [(point.x, point.y, point.label) for point in found.points] == [
        (1, 1, "cat"),
        (1, 2, "cat"),
        (1, 123456789012345678901234567890.0, "cat"),
        (9, 9, "cat"),
    ]


def test_the_centre_of_a_box_is_the_click_where_that_is_asked_for():
    found = read(read_coco, "coco_bad.json", shapes=True)
    assert (found.points[0].x, found.points[0].y) == (25, 25)


def test_one_visible_keypoint_is_the_click(tmp_path):
    found = read(read_keypoints, "coco_keypoints.json")
    assert [(point.image, point.label, point.x, point.y) for point in found.points] == [
        ("a_png.rf.0f.png", "cat", 12.5, 13)
    ]
    assert found.categories == ((1, "cat"),)
    assert [region.box for region in found.regions] == [(1, 1, 9, 9)]
    assert texts(found) == [
        "annotations[1] (id 1): has 2 visible keypoints: --several each makes an object of each, "
        "--several one makes one object of all",
        "annotations[3] (id 3): 'keypoints' must be a list [x, y, v, ...], got [1, 2, 3, 4]",
        "annotations[4] (id 4): keypoint 1: visibility must be 0, 1 or 2, got 9",
    ]
    assert "2 annotations without a visible keypoint were left out" in found.notes
    assert "the unused class 'animals' (id 0)" in found.notes[0]


def test_several_keypoints_are_one_object_or_objects_of_their_names(tmp_path):
    images = image_folder(tmp_path, "a_png.rf.0f.png", "b.png")
    one = assembled_clicks(read(read_keypoints, "coco_keypoints.json", several="one"), images)
    assert one == [
        ("a_png.rf.0f.png", "cat", (12.5, 13), [], []),
        ("b.png", "cat", (20, 21), [(22, 23)], []),
    ]
    each = assembled_clicks(read(read_keypoints, "coco_keypoints.json", several="each"), images)
    assert each == [
        ("a_png.rf.0f.png", "tail", (12.5, 13), [], []),
        ("b.png", "nose", (20, 21), [], []),
        ("b.png", "tail", (22, 23), [], []),
    ]


def assembled_clicks(found, images):
    fields = {key: getattr(found, key) for key in ("images", "categories", "regions")}
    return clicks(assembled(images, *found.points, **fields).document)


def test_points_of_the_authors_may_leave_the_image_by_half_a_pixel(tmp_path):
    images = image_folder(tmp_path / "images", "a.png")
    document, figures = import_file(
        FIXTURES / "authors_stage_a.json", images, tmp_path / "points.json", skip_bad=True
    )
    assert [entry["point"] for entry in document["annotations"]] == [
        [0, 10.25],
        [63.75, pytest.approx(48, abs=1e-9)],
    ]
    assert [entry["category_id"] for entry in document["annotations"]] == [1, 90]
    assert document["annotations"][1]["point"][1] < 48
    assert set(document["annotations"][0]) == {"id", "image_id", "category_id", "point"}
    assert document["images"][0]["ignore_regions"] == [{"category_id": 1, "bbox": [2, 3, 20, 10]}]
    assert figures["points_moved_inside"] == 2
    assert figures["left_out"] == [
        "annotations[2] (id 13): (65, 10) is outside the image a.png of 64 x 48 pixels (width x height)"
    ]


def test_stage_b_of_the_authors_gives_its_points_not_its_boxes():
    found = read(read_authors, "authors_stage_b.json")
    assert [(point.x, point.y, point.number) for point in found.points] == [(10.5, 12.25, 11)]
    assert found.slack == 0.5


def test_masks_give_one_click_each_and_say_why_not():
    found = read(read_instances, "instances.json")
    assert [(point.x, point.y, point.number) for point in found.points] == [(2.5, 2.5, 5), (6, 2, 11)]
    assert [region.box for region in found.regions] == [(5, 0, 6, 6)]
    assert texts(found) == [
        "annotations[2] (id 7): has no mask: 'segmentation' is [] (with --shapes, the centre of its bbox is the click)",
        "annotations[3] (id 8): segmentation has size [6, 9], but the image is [6, 8]",
        "annotations[4] (id 9): its mask is empty",
        "annotations[5] (id 10): its mask needs the width and height of images[1] (id 4)",
    ]
    shapes = read(read_instances, "instances.json", shapes=True)
    assert [(point.x, point.y) for point in shapes.points] == [(2.5, 2.5), (4, 3), (6, 2)]


@pytest.mark.parametrize("mode", ["center", "quasi-center", "random"])
def test_masks_are_sampled_as_points_sample_does(tmp_path, mode):
    document = json.loads((FIXTURES / "instances.json").read_text())
    document["images"] = document["images"][:1]
    document["annotations"] = [item for item in document["annotations"] if item["id"] in {5, 11}]
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(document))
    ours = read_instances(path, ReaderOptions(mode=mode, seed=3))
    theirs = sample_points(load_instances(path), mode, 3)
    assert [[point.x, point.y] for point in ours.points] == theirs.xy.tolist()


@pytest.mark.parametrize("reader", [read_coco, read_keypoints, read_authors, read_instances])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "expected an object with images and annotations"),
        ('{"images": []}', "the key 'annotations' is missing"),
        ('{"images": {}, "annotation": []}', "did you mean 'annotation'"),
        ('{"images": [], "images": []}', "the key 'images' occurs twice"),
        ('{"images": [', "the file seems cut off"),
        ("[" * 100_000, "nested too deeply"),
        ('{"images": [' + "9" * 5000 + "]}", "not usable JSON"),
    ],
)
def test_what_is_no_coco_is_refused_with_the_reason(tmp_path, reader, text, message):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        reader(path, ReaderOptions())


@pytest.mark.parametrize("reader", [read_coco, read_keypoints, read_authors, read_instances])
def test_an_empty_file_of_the_format_gives_nothing(tmp_path, reader):
    path = tmp_path / "a.json"
    path.write_text('{"images": [], "annotations": []}')
    found = reader(path, ReaderOptions())
    assert (found.images, found.points, found.problems) == ((), (), ())


@pytest.mark.parametrize(
    ("entry", "size", "message"),
    [
        ({"segmentation": [[1, 1, 1e300, 1, 4, 4]]}, (8, 6), "far outside of any image"),
        ({"segmentation": [[1, 1, -1e7, 1, 1e7, 4] * 2]}, (8, 6), "far outside of any image"),
        ({"segmentation": [[1, 1, 10**400, 1, 4, 4]]}, (8, 6), "too large"),
        ({"segmentation": [[1, 1, 4, 1, 4, 4]]}, (2**31 - 1, 2**31 - 1), "is too large"),
        ({"segmentation": {"size": [6, 8], "counts": [2**70, 2]}}, (8, 6), "add up to"),
        ({"segmentation": {"size": [6, 8], "counts": "~~~~"}}, (8, 6), "damaged"),
    ],
)
def test_masks_that_no_memory_can_hold_are_problems(tmp_path, entry, size, message):
    document = {
        "images": [{"id": 1, "file_name": "a.png", "width": size[0], "height": size[1]}],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, **entry}],
    }
    path = tmp_path / "a.json"
    path.write_text(json.dumps(document))
    found = read_instances(path, ReaderOptions())
    assert found.points == ()
    assert message in texts(found)[0]
