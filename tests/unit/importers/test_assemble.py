"""Objects, classes, ids and borders of a points file; whatever is wrong is named and left out."""

from __future__ import annotations

import pytest

from import_builders import assembled, clicks, image_folder, make_image, sentences, source_image, source_point
from sapnet.data.annotations import points_from_json
from sapnet.importers.records import Problem, SourceRegion


@pytest.fixture
def folder(tmp_path):
    return image_folder(tmp_path, "a.png", "sub/b.png", "unused.png")


def test_nothing_gives_an_empty_points_file(folder):
    made = assembled(folder)
    assert made.document == {"images": [], "categories": [], "annotations": []}
    assert len(points_from_json(made.document, "x")) == 0


def test_points_with_one_key_are_one_object(folder):
    made = assembled(
        folder,
        source_point(5, 6, object_key="o", role="negative", label=""),
        source_point(1, 2, object_key="o"),
        source_point(3, 4, object_key="o", where="row 3"),
        source_point(7, 8, object_key="o", role="extra", label=""),
        source_point(9, 9, object_key="o", image="sub/b.png"),
        source_point(9, 9),
        source_point(9, 10),
    )
    assert made.problems == ()
    assert clicks(made.document) == [
        ("a.png", "cat", (1, 2), [(3, 4), (7, 8)], [(5, 6)]),
        ("sub/b.png", "cat", (9, 9), [], []),
        ("a.png", "cat", (9, 9), [], []),
        ("a.png", "cat", (9, 10), [], []),
    ]
    assert made.figures["extra_points"] == 2
    assert made.figures["negative_points"] == 1
    assert made.figures["images_not_in_source"] == 1


def test_objects_without_click_or_of_two_classes_are_problems(folder):
    made = assembled(
        folder,
        source_point(object_key="o", role="negative", where="row 1"),
        source_point(object_key="p", role="extra", where="row 2"),
        source_point(object_key="q", where="row 3"),
        source_point(5, 5, object_key="q", label="dog", where="row 4"),
    )
    assert sentences(made.problems) == [
        "row 1: a negative point, but its object has no click",
        "row 2: a further point, but its object has no click",
        "row 4: its object is of class 'cat' (row 3), this point of 'dog'",
    ]
    assert made.figures["points_left_out"] == 3


@pytest.mark.parametrize(
    ("unit", "given", "expected"),
    [
        ("pixel", (63.999, 0), (63.999, 0)),
        ("percent", (50, 25), (32, 12)),
        ("fraction", (0.25, 0.5), (16, 24)),
        ("fraction", (0.0, 0.0), (0, 0)),
    ],
)
def test_units_become_pixels(folder, unit, given, expected):
    made = assembled(folder, source_point(*given, unit=unit))
    assert tuple(made.document["annotations"][0]["point"]) == expected
    assert made.problems == ()


@pytest.mark.parametrize(
    ("unit", "corner"), [("pixel", (64, 48)), ("percent", (100, 100)), ("fraction", (1, 1))]
)
def test_points_on_the_far_border_are_moved_inside_and_counted(folder, unit, corner):
    made = assembled(folder, source_point(*corner, unit=unit))
    x, y = made.document["annotations"][0]["point"]
    assert (x < 64, y < 48) == (True, True)
    assert (x, y) == pytest.approx((64, 48))
    assert made.figures["points_moved_inside"] == 1


def test_points_outside_are_problems_unless_the_format_has_slack(folder):
    points = [source_point(-0.5, 10), source_point(10, 48.6, where="row 2")]
    made = assembled(folder, *points)
    assert sentences(made.problems) == [
        "row 1: (-0.5, 10) is outside the image a.png of 64 x 48 pixels (width x height)",
        "row 2: (10, 48.6) is outside the image a.png of 64 x 48 pixels (width x height)",
    ]
    lenient = assembled(folder, *points, slack=0.5)
    assert lenient.document["annotations"][0]["point"] == [0, 10]
    assert len(lenient.problems) == 1


def test_category_ids_are_kept_and_new_classes_follow(folder):
    made = assembled(
        folder,
        source_point(label="bird"),
        source_point(9, 9, label="dog"),
        categories=((90, "dog"), (None, "cow"), (0, "cat"), (0, "rat")),
    )
    assert made.document["categories"] == [
        {"id": 90, "name": "dog"},
        {"id": 91, "name": "cow"},
        {"id": 0, "name": "cat"},
        {"id": 92, "name": "rat"},
        {"id": 93, "name": "bird"},
    ]
    assert "class 'rat' has the id 0 of another class" in sentences(made.problems, doubtful=True)[0]


def test_without_category_ids_classes_count_from_one_in_order_of_use(folder):
    made = assembled(folder, source_point(label="b"), source_point(3, 3, label="a"))
    assert [(item["id"], item["name"]) for item in made.document["categories"]] == [(1, "b"), (2, "a")]


def test_classes_can_be_renamed_united_and_filled_in(folder):
    made = assembled(
        folder,
        source_point(label="car"),
        source_point(3, 3, label="Car"),
        source_point(4, 4, label=""),
        categories=((3, "car"), (5, "Car")),
        class_map={"Car": "car", "dgo": "dog"},
        class_name="thing",
    )
    assert [entry["category_id"] for entry in made.document["annotations"]] == [3, 3, 4]
    assert [item["name"] for item in made.document["categories"]] == ["car", "thing"]
    assert sentences(made.problems) == ["class map: there is no class 'dgo' in the source"]


def test_a_point_without_class_and_likely_slips_are_said(folder):
    made = assembled(
        folder, source_point(label=""), source_point(label="Wheel_chair"), source_point(label="wheel chair")
    )
    assert "--class" in sentences(made.problems, doubtful=False)[0]
    assert "differ only in spelling" in sentences(made.problems, doubtful=True)[0]


def test_ids_are_kept_where_all_have_one_and_differ(folder):
    images = [source_image("sub/b.png", number=0), source_image("a.png", number=-4)]
    points = [source_point(number=9), source_point(9, 9, number=2)]
    kept = assembled(folder, *points, images=images).document
    assert [item["id"] for item in kept["images"]] == [0, -4]
    assert [item["id"] for item in kept["annotations"]] == [9, 2]
    images[1] = source_image("a.png", number=0)
    points[1] = source_point(9, 9)
    fresh = assembled(folder, *points, images=images).document
    assert [item["id"] for item in fresh["images"]] == [1, 2]
    assert [item["id"] for item in fresh["annotations"]] == [1, 2]


def test_an_image_that_is_not_there_is_said_once_with_its_points(folder):
    points = [source_point(x, 1, image="c.png") for x in range(3)]
    made = assembled(folder, *points, images=[source_image("c.png", where="images[0]")])
    assert len(made.problems) == 1
    assert sentences(made.problems)[0].startswith("images[0]: image c.png: there is no such image in")
    assert sentences(made.problems)[0].endswith("its 3 points are left out")
    assert made.figures["images_unmatched"] == 1


def test_two_names_for_one_file_are_a_problem_unless_one_is_its_path(folder):
    made = assembled(
        folder,
        source_point(image="x/b.png"),
        source_point(image="y/b.png"),
        source_point(3, 3, image="a.png"),
        source_point(4, 4, image="./a.png"),
        source_point(image="0123abcd-a.png"),
    )
    assert [entry[:3] for entry in clicks(made.document)] == [
        ("a.png", "cat", (3, 3)),
        ("a.png", "cat", (4, 4)),
    ]
    assert len(made.problems) == 3
    assert "the only file that fits is sub/b.png, which fits y/b.png too" in str(made.problems[0])


def test_an_unreadable_image_is_a_problem(folder):
    (folder / "bad.png").write_bytes(b"no image")
    made = assembled(folder, source_point(image="bad.png"), images=[source_image("a.png")])
    assert "cannot be read as an image" in sentences(made.problems)[0]
    assert [item["file_name"] for item in made.document["images"]] == ["a.png"]


def test_an_image_that_is_listed_twice_and_the_same_click_are_doubtful(folder):
    made = assembled(
        folder,
        source_point(),
        source_point(where="row 2"),
        images=[source_image(), source_image(where="image 2")],
    )
    assert sentences(made.problems, doubtful=True) == [
        "image 2: the image a.png is listed 2 times; taken as one",
        "row 2: the same click (1, 2) on the same class as row 1",
    ]
    assert len(made.document["annotations"]) == 2


def test_regions_to_leave_out_become_keys_of_their_image(tmp_path):
    make_image(tmp_path / "a.png", (64, 48), 6)
    made = assembled(
        tmp_path,
        source_point(1, 2, role="ignore", label=""),
        images=[source_image(size=(64, 48))],
        regions=(
            SourceRegion("a.png", "cat", "pixel", "r1", box=(10, 20, 30, 48)),
            SourceRegion("a.png", "", "percent", "r2", polygon=((0, 0), (200, 0), (100, 100))),
            SourceRegion("gone.png", "", "pixel", "r3", box=(1, 1, 2, 2)),
        ),
    )
    assert made.document["images"][0]["ignore_regions"] == [
        {"category_id": 1, "bbox": [0, 10, 28, 20]},
        {"polygon": [[48, 0], [48, 64], [0, 64]]},
        {"point": [46, 1]},
    ]
    assert made.figures["ignore_regions"] == 3
    assert made.figures["points_left_out"] == 0
    points_from_json(made.document, "points.json")
    assert len(made.problems) == 1  # gone.png


def test_what_a_reader_found_comes_first(folder):
    made = assembled(folder, problems=(Problem("line 3", "no number"),), notes=("a note",))
    assert sentences(made.problems) == ["line 3: no number"]
    assert made.notes == ("a note",)


def test_a_thousand_objects_in_one_image_keep_their_order(folder):
    made = assembled(
        folder, *(source_point(i % 64, i // 64, object_key=str(i), number=i) for i in range(1000))
    )
    assert [entry["id"] for entry in made.document["annotations"]] == list(range(1000))
