"""labelme and X-AnyLabeling files."""

import shutil
from pathlib import Path, PurePosixPath

import pytest

from sapnet.errors import DataError
from sapnet.importers.addresses import beside
from sapnet.importers.formats import detect
from sapnet.importers.labelme import read_labelme
from sapnet.importers.records import ReaderOptions

FIXTURES = Path(__file__).parents[2] / "fixtures" / "importers"


def read(name, **options):
    return read_labelme(FIXTURES / name, ReaderOptions(**options))


def rows(found):
    return [
        (point.image, point.label, point.x, point.y, point.object_key, point.role) for point in found.points
    ]


def test_a_folder_is_read_with_groups_flags_and_backslashes():
    found = read("labelme")
    assert detect(FIXTURES / "labelme") == "labelme"
    assert rows(found) == [
        ("images/a.jpg", "cat", 345.5, 174.0, None, "point"),
        ("images/a.jpg", "dog", 10.0, 20.0, "3", "point"),
        ("images/a.jpg", "dog", 12.0, 22.0, "3", "point"),
        ("images/a.jpg", "", 50.0, 60.0, "3", "negative"),
        ("sub/b.jpg", "person", 5.0, 6.0, "1", "point"),
        ("sub/b.jpg", "person", 7.0, 8.0, "1", "point"),
        ("sub/b.jpg", "cat", 1.0, 2.0, None, "point"),
    ]
    assert [(item.name, item.width, item.height) for item in found.images] == [
        ("images/a.jpg", 640, 480),
        ("sub/b.jpg", 64, 48),
    ]
    (region,) = found.regions
    assert (region.image, region.label, region.box) == ("images/a.jpg", "crowd", (20.0, 10.0, 40.0, 30.0))
    assert found.problems == ()
    assert "1 shapes of type 'line' were not read" in found.notes


def test_other_shapes_count_on_request():
    spots = [(point.x, point.y) for point in read("labelme/a.json", shapes=True).points]
    assert spots[-2:] == [(100.0, 100.0), (5.0, 5.0)]
    rectangle = [point for point in read("labelme/sub/b.json", shapes=True).points if point.label == "person"]
    assert (rectangle[-1].x, rectangle[-1].y) == (10.0, 10.0)


def test_every_point_of_a_group_can_be_an_object():
    found = read("labelme/sub/b.json", several="each")
    assert [(point.label, point.object_key) for point in found.points] == [
        ("nose", None),
        ("ear", None),
        ("cat", None),
    ]


def test_bad_shapes_are_named():
    found = read("labelme_bad.json")
    assert [(point.label, point.x, point.object_key) for point in found.points] == [
        ("cat", 5.0, None),
        ("dog", 6.0, None),
    ]
    text = "\n".join(map(str, found.problems))
    assert "labelme_bad.json: expected a size in whole pixels, got width 640 and height '480'" in text
    assert "shapes[0]: a point has one pair of coordinates, got 2" in text
    assert "shapes[1]: expected two finite numbers x and y, got '1' and 2" in text
    assert "shapes[2]: expected the name of a class, got a list of 1" in text
    assert "shapes[3]: a negative point without group_id" in text
    assert "shapes[4]: expected points [[x, y], ...], got []" in text
    assert "shapes[5]: the points of group 2 have different labels" in text
    assert "shapes[7]: expected points" in text
    assert len(found.problems) == 9
    assert sum(problem.doubtful for problem in found.problems) == 3


def test_other_json_in_the_folder_is_a_problem_of_its_own(tmp_path):
    shutil.copytree(FIXTURES / "labelme", tmp_path / "in")
    (tmp_path / "in" / "other.json").write_text("{}")
    (tmp_path / "in" / "torn.json").write_text('{"shapes": [')
    found = read_labelme(tmp_path / "in", ReaderOptions())
    assert len(found.points) == 7
    assert [problem.where for problem in found.problems] == ["other.json", "torn.json"]
    assert "the file seems cut off" in found.problems[1].text


def test_a_folder_without_a_labelme_file_is_refused(tmp_path):
    with pytest.raises(DataError, match="no JSON file"):
        read_labelme(tmp_path, ReaderOptions())
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(DataError, match=r"other\.json: is no labelme file"):
        read_labelme(tmp_path, ReaderOptions())


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a.jpg", "in/a.jpg"),
        ("..\\a.jpg", "a.jpg"),
        ("../../../a.jpg", "a.jpg"),
        ("./x/../a.jpg", "in/a.jpg"),
        ("C:\\photos\\a.jpg", "C:/photos/a.jpg"),
        ("/photos/a.jpg", "/photos/a.jpg"),
    ],
)
def test_paths_are_taken_relative_to_their_file(path, expected):
    assert beside(PurePosixPath("in"), path) == expected
