"""From an annotation tool's file and its images to the points file, in exact pixels."""

import math

import pytest

from import_builders import FIXTURES, clicks, import_file, make_image
from sapnet.errors import DataError
from sapnet.importers.records import ReaderOptions


def test_label_studio_percent_with_uploaded_names_and_a_turned_photograph(tmp_path):
    images = tmp_path / "images"
    make_image(images / "street.jpg", (100, 200), orientation=6)  # 200 x 100 for people and for Label Studio
    make_image(images / "photos" / "Stück (2).png", (40, 30))
    make_image(images / "2024" / "empty.jpg", (8, 8))
    make_image(images / "moon x.jpg", (50, 40))
    out = tmp_path / "points.json"
    with pytest.raises(DataError, match="task 2, annotation 10, region q: the point has no class"):
        import_file(FIXTURES / "label_studio.json", images, out)
    assert not out.exists()
    document, figures = import_file(FIXTURES / "label_studio.json", images, out, class_name="thing")
    found = clicks(document)
    assert [(file, label) for file, label, *_ in found] == [
        ("street.jpg", "car"),
        ("street.jpg", "dog"),
        ("photos/Stück (2).png", "dog"),
        ("photos/Stück (2).png", "thing"),
        ("moon x.jpg", "car"),
    ]
    spots = [item[2] for item in found]
    assert spots[0] == pytest.approx((128.88, 39.5))
    assert found[0][4] == [pytest.approx((20, 20))]
    assert spots[1] == (0, math.nextafter(100, 0))  # on the lower border
    assert spots[2] == (10, 22.5)
    assert spots[3] == pytest.approx((0.6, 0.75))
    assert spots[4] == pytest.approx((24.8, 20.9))
    assert [image["id"] for image in document["images"]] == [1, 2, 4, 5]
    assert (document["images"][0]["width"], document["images"][0]["height"]) == (200, 100)
    assert figures["images_without_points"] == 1
    assert figures["points_moved_inside"] == 1


def test_cvat_clicks_on_the_stored_picture_are_turned(tmp_path):
    images = tmp_path / "images"
    make_image(images / "sub" / "filename000.jpg", (1600, 1200), orientation=8)  # upright 1200 x 1600
    make_image(images / "filename001.jpg", (640, 480))
    document, figures = import_file(FIXTURES / "cvat.xml", images, tmp_path / "points.json")
    found = clicks(document)
    # Orientation 8: (x, y) of the stored picture is (y, width - x) of the upright one.
    assert [item[2] for item in found] == [
        pytest.approx((939.48, 1600 - 574.9)),
        pytest.approx((907.9, 1600 - 1170.16)),
        pytest.approx((30.25, 1600 - 20.5)),
    ]
    assert found[2][3] == [pytest.approx((33, 1600 - 22))]
    assert figures["images_turned"] == 1
    assert [category["name"] for category in document["categories"]] == ["wheel", "person & dog"]


def test_labelme_groups_negatives_and_ignored_boxes(tmp_path):
    images = tmp_path / "pictures"
    make_image(images / "images" / "a.jpg", (640, 480))
    make_image(images / "sub" / "b.jpg", (64, 48))
    document, _ = import_file(FIXTURES / "labelme", images, tmp_path / "points.json")
    assert clicks(document) == [
        ("images/a.jpg", "cat", (345.5, 174), [], []),
        ("images/a.jpg", "dog", (10, 20), [(12, 22)], [(50, 60)]),
        ("sub/b.jpg", "person", (5, 6), [(7, 8)], []),
        ("sub/b.jpg", "cat", (1, 2), [], []),
    ]
    (region,) = document["images"][0]["ignore_regions"]
    assert region["bbox"] == [20, 10, 20, 20]


def test_fiftyone_fractions(tmp_path):
    images = tmp_path / "data"
    for name in ("a.jpg", "b.jpg", "d.jpg"):
        make_image(images / name, (640, 480))
    document, figures = import_file(FIXTURES / "fiftyone", images, tmp_path / "points.json", skip_bad=True)
    assert clicks(document) == [
        ("a.jpg", "cat", (160, 240), [], []),
        ("a.jpg", "dog", (80, 360), [(320, math.nextafter(480, 0))], []),
    ]
    assert [category["name"] for category in document["categories"]] == ["dog", "cat"]
    assert len(figures["left_out"]) == 3


def test_point_sup_keeps_ids_negative_points_and_crowds(tmp_path):
    images = tmp_path / "images"
    make_image(images / "a.jpg")
    make_image(images / "b.jpg")
    document, _ = import_file(FIXTURES / "point_sup.json", images, tmp_path / "points.json", skip_bad=True)
    assert clicks(document)[0] == ("a.jpg", "dog", (10, 12), [(11, 13)], [(1, 2), (19, 3)])
    assert [entry["id"] for entry in document["annotations"]] == [11, 12, 16]
    assert [category["id"] for category in document["categories"]] == [0, 7]
    assert [image["id"] for image in document["images"]] == [0, 5]
    assert document["images"][1]["ignore_regions"] == [{"bbox": [30, 10, 5, 6], "category_id": 0}]


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("via_project.json", ReaderOptions(), [("a.jpg", "cat", (12, 34)), ("a.jpg", "c2", (0, 0))]),
        ("via_one.json", ReaderOptions(attribute="class"), [("a.jpg", "cat", (7, 9))]),
        ("via_three.json", ReaderOptions(), [("a.jpg", "dog", (12.345, 6.5)), ("b.jpg", "cat", (0.5, 0.25))]),
    ],
)
def test_via_in_its_three_versions(tmp_path, name, options, expected):
    images = tmp_path / "images"
    for file in ("a.jpg", "b c.jpg", "b.jpg"):
        make_image(images / file)
    document, _ = import_file(FIXTURES / name, images, tmp_path / "o.json", options=options, skip_bad=True)
    assert [item[:3] for item in clicks(document)] == expected


def test_datumaro_and_make_sense(tmp_path):
    images = tmp_path / "images"
    make_image(images / "sub" / "img1.jpg", (640, 480))
    make_image(images / "img2.png", (10, 10))  # Datumaro knows it without its ending
    document, figures = import_file(FIXTURES / "datumaro.json", images, tmp_path / "o.json")
    assert [item[:4] for item in clicks(document)] == [
        ("sub/img1.jpg", "cat", (12.5, 34.25), []),
        ("sub/img1.jpg", "cat", (56, 78), []),
        ("sub/img1.jpg", "person", (100, 50), [(110, 60)]),
    ]
    assert [category["id"] for category in document["categories"]] == [0, 1]
    assert len(figures["doubtful"]) == 1
    make_image(images / "a.jpg", (640, 480))
    make_image(images / "b, final (1).jpg", (64, 48))
    document, figures = import_file(FIXTURES / "make_sense.csv", images, tmp_path / "p.json", skip_bad=True)
    assert [item[:3] for item in clicks(document)] == [
        ("a.jpg", "cat", (100, 200)),
        ("a.jpg", "dog", (0, 479)),
        ("b, final (1).jpg", "cat", (1, 2)),
    ]
    assert len(figures["left_out"]) == 2
