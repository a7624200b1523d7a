"""VIA 1 to 3, FiftyOne, PointSup and make-sense."""

import json
from pathlib import Path

import pytest

from sapnet.errors import DataError
from sapnet.importers.fiftyone import read_fiftyone
from sapnet.importers.formats import detect
from sapnet.importers.make_sense import read_make_sense
from sapnet.importers.point_sup import read_point_sup
from sapnet.importers.records import ReaderOptions
from sapnet.importers.via import read_via

FIXTURES = Path(__file__).parents[2] / "fixtures" / "importers"


def read(reader, name, **options):
    return reader(FIXTURES / name, ReaderOptions(**options))


def rows(found):
    return [(point.image, point.label, point.x, point.y) for point in found.points]


def problems(found):
    return "\n".join(map(str, found.problems))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("via_project.json", "via"),
        ("via_one.json", "via"),
        ("via_three.json", "via"),
        ("via.csv", "via"),
        ("fiftyone", "fiftyone"),
        ("fiftyone/samples.json", "fiftyone"),
        ("point_sup.json", "point-sup"),
        ("make_sense.csv", "make-sense"),
    ],
)
def test_formats_are_recognised(name, expected):
    assert detect(FIXTURES / name) == expected


def test_a_via_project_names_classes_by_its_options():
    found = read(read_via, "via_project.json")
    assert rows(found) == [("a.jpg", "cat", 12.0, 34.0), ("a.jpg", "c2", 0.0, 0.0)]
    assert [image.name for image in found.images] == ["a.jpg", "x/b c.jpg"]
    assert found.notes == ("1 regions of shape 'rect' were not read",)
    assert rows(read(read_via, "via_project.json", shapes=True))[2:] == [("a.jpg", "cat", 25.0, 40.5)]


def test_the_annotations_of_a_via_project_alone_are_read(tmp_path):
    document = json.loads((FIXTURES / "via_project.json").read_text())["_via_img_metadata"]
    (tmp_path / "annotations.json").write_text(json.dumps(document))
    assert detect(tmp_path / "annotations.json") == "via"
    found = read_via(tmp_path / "annotations.json", ReaderOptions())
    assert rows(found) == [("a.jpg", "c1", 12.0, 34.0), ("a.jpg", "c2", 0.0, 0.0)]


def test_via_one_needs_to_know_which_attribute_is_the_class():
    with pytest.raises(DataError, match=r"several attributes may hold what to read \(class, colour\)"):
        read(read_via, "via_one.json")
    assert rows(read(read_via, "via_one.json", attribute="class")) == [("a.jpg", "cat", 7.0, 9.0)]
    assert rows(read(read_via, "via_one.json", attribute="class", shapes=True))[1] == (
        "a.jpg",
        "dog",
        5.0,
        4.0,
    )
    with pytest.raises(DataError, match=r"no attribute 'clas' \(did you mean 'class'\?\)"):
        read(read_via, "via_one.json", attribute="clas")


def test_a_via_table_is_read_with_its_empty_image():
    found = read(read_via, "via.csv")
    assert rows(found) == [("a, b.jpg", "cat", 12.0, 34.0), ("a, b.jpg", "cat", 5.0, 6.0)]
    assert [image.name for image in found.images] == ["a, b.jpg", "empty.jpg", "broken.jpg"]
    assert "a, b.jpg, region 1: has several values of kind (cat, dog)" in problems(found)
    assert "line 5: expected JSON in region_shape_attributes" in problems(found)
    assert len(found.problems) == 2


def test_a_via_three_project_is_read():
    found = read(read_via, "via_three.json")
    assert rows(found) == [("a.jpg", "dog", 12.345, 6.5), ("photos/b.jpg", "cat", 0.5, 0.25)]
    assert [image.name for image in found.images] == ["a.jpg", "photos/b.jpg"]
    assert "metadata 3_ffffff: is on a frame of a video" in problems(found)
    assert "metadata 9_gggggg: view '9' shows no image file" in problems(found)
    assert len(found.problems) == 2
    assert rows(read(read_via, "via_three.json", shapes=True))[2] == ("photos/b.jpg", "cat", 25.0, 40.0)


@pytest.mark.parametrize("content", ["{}", "[]", '{"a": {"b": 1}}'])
def test_what_is_no_via_file_is_refused(tmp_path, content):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(DataError, match="expected a VIA project"):
        read_via(tmp_path / "a.json", ReaderOptions())


def test_an_empty_via_project_is_legal(tmp_path):
    (tmp_path / "a.json").write_text('{"_via_img_metadata": {}}')
    assert read_via(tmp_path / "a.json", ReaderOptions()).images == ()


def test_fiftyone_points_are_fractions_without_the_missing_ones():
    found = read(read_fiftyone, "fiftyone")
    assert rows(found) == [
        ("data/a.jpg", "cat", 0.25, 0.5),
        ("data/a.jpg", "dog", 0.125, 0.75),
        ("data/a.jpg", "dog", 0.5, 1.0),
    ]
    assert {point.unit for point in found.points} == {"fraction"}
    assert [point.object_key for point in found.points] == [None, "1", "1"]
    assert found.categories == ((None, "dog"), (None, "cat"))
    assert [(item.name, item.width, item.height) for item in found.images] == [
        ("data/a.jpg", 640, 480),
        ("data/b.jpg", None, None),
        ("data/d.jpg", None, None),
    ]
    assert "samples[2] (data/c.mp4): is of type 'video', expected an image" in problems(found)
    assert (
        "samples[3] (data/d.jpg), Keypoint 0: expected two finite numbers x and y, got 0.5 and 'half'"
        in problems(found)
    )
    assert "Keypoint 1: expected points" in problems(found)
    assert "2 points are missing (NaN) and were not read" in found.notes
    assert [point.object_key for point in read(read_fiftyone, "fiftyone", several="each").points] == [
        None
    ] * 3


def test_two_fields_with_points_need_a_choice(tmp_path):
    label = {"_cls": "Keypoint", "label": "a", "points": [[0.5, 0.5]]}
    sample = {"filepath": "a.jpg", "one": label, "two": {**label, "label": "b"}}
    (tmp_path / "samples.json").write_text(json.dumps({"samples": [sample]}))
    with pytest.raises(DataError, match=r"several attributes may hold what to read \(one, two\)"):
        read_fiftyone(tmp_path, ReaderOptions())
    assert rows(read_fiftyone(tmp_path, ReaderOptions(attribute="two"))) == [("a.jpg", "b", 0.5, 0.5)]
    with pytest.raises(DataError, match="expected an object with 'samples'"):
        (tmp_path / "samples.json").write_text("[]")
        read_fiftyone(tmp_path, ReaderOptions())


def test_point_sup_has_clicks_extra_and_negative_points():
    found = read(read_point_sup, "point_sup.json")
    first = [(point.x, point.y, point.role, point.number) for point in found.points[:4]]
    assert first == [
        (10.0, 12.0, "point", 11),
        (11.0, 13.0, "extra", 11),
        (1.0, 2.0, "negative", 11),
        (19.0, 3.0, "negative", 11),
    ]
    assert len({point.object_key for point in found.points[:4]}) == 1
    assert rows(found)[4:] == [("b.jpg", "cat", 5.0, 6.0), ("b.jpg", "cat", 1.0, 1.0)]
    assert [region.box for region in found.regions] == [(30.0, 10.0, 35.0, 16.0)]
    assert found.categories == ((0, "cat"), (7, "dog"))
    text = problems(found)
    assert "(id 14): no point lies on the object (label 1)" in text
    assert "(id 15): expected as many point_labels as point_coords" in text
    assert "(id 16): point_coords[1] must be [x, y]" in text
    assert "(id 16): point_labels[2] must be 0 or 1, got 2" in text
    assert len(found.problems) == 4
    each = read(read_point_sup, "point_sup.json", several="each")
    assert [(point.x, point.object_key) for point in each.points[:2]] == [(10.0, None), (11.0, None)]
    assert "2 negative points were not read" in each.notes


def test_make_sense_names_may_have_commas():
    found = read(read_make_sense, "make_sense.csv")
    assert rows(found) == [
        ("a.jpg", "cat", 100.0, 200.0),
        ("a.jpg", "dog", 0.0, 479.0),
        ("b, final (1).jpg", "cat", 1.0, 2.0),
    ]
    assert [(item.name, item.width, item.height) for item in found.images] == [
        ("a.jpg", 640, 480),
        ("b, final (1).jpg", 64, 48),
    ]
    assert "line 4: expected numbers x and y, got 'one' and '2'" in problems(found)
    assert "line 5: expected label,x,y,file,width,height, got 3 columns" in problems(found)
    assert len(found.problems) == 2


def test_another_table_is_no_make_sense_file(tmp_path):
    (tmp_path / "a.csv").write_text("image,x,y,label\na.jpg,1,2,cat\n")
    with pytest.raises(DataError, match="expected lines label,x,y,file,width,height"):
        read_make_sense(tmp_path / "a.csv", ReaderOptions())
    assert detect(tmp_path / "a.csv") == "csv"
