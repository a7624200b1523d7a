"""What CVAT exports: its own XML and Datumaro's JSON, alone and in archives."""

import zipfile
from pathlib import Path

import pytest

from sapnet.errors import DataError
from sapnet.importers import archives
from sapnet.importers.cvat import read_cvat
from sapnet.importers.datumaro import read_datumaro
from sapnet.importers.formats import detect
from sapnet.importers.records import ReaderOptions

FIXTURES = Path(__file__).parents[2] / "fixtures" / "importers"


def cvat(name, **options):
    return read_cvat(FIXTURES / name, ReaderOptions(**options))


def datumaro(name, **options):
    return read_datumaro(FIXTURES / name, ReaderOptions(**options))


def spots(found):
    return [(point.label, point.x, point.y) for point in found.points]


def problems(found):
    return "\n".join(map(str, found.problems))


def packed(tmp_path, files):
    with zipfile.ZipFile(tmp_path / "export.zip", "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return tmp_path / "export.zip"


def test_every_pair_of_a_points_element_is_an_object_and_a_skeleton_is_one():
    found = cvat("cvat.xml")
    assert spots(found) == [
        ("wheel", 574.9, 939.48),
        ("wheel", 1170.16, 907.9),
        ("person & dog", 20.5, 30.25),
        ("person & dog", 22.0, 33.0),
    ]
    assert [point.object_key for point in found.points] == [None, None, "element 3", "element 3"]
    assert found.categories == ((None, "wheel"), (None, "person & dog"))
    assert [(item.name, item.width, item.height, item.number) for item in found.images] == [
        ("sub/filename000.jpg", 1600, 1200, 0),
        ("filename001.jpg", 640, 480, 1),
    ]
    assert found.problems == ()
    assert "2 points that are outside (not visible) were not read" in found.notes
    assert "1 <mask> elements were not read" in found.notes
    assert "line 16" in found.points[0].where


def test_points_elements_can_be_one_object_and_skeletons_several():
    assert [point.object_key for point in cvat("cvat.xml", several="one").points[:2]] == ["element 1"] * 2
    assert [point.object_key for point in cvat("cvat.xml", several="each").points] == [None] * 4


def test_boxes_ellipses_and_polygons_count_on_request():
    found = cvat("cvat.xml", shapes=True)
    assert spots(found)[-3:] == [("wheel", 20.0, 40.0), ("wheel", 5.0, 4.0), ("wheel", 7.5, 8.5)]
    assert not [note for note in found.notes if "<box>" in note]


def test_bad_elements_are_named_with_their_lines():
    found = cvat("cvat_bad.xml")
    assert spots(found) == [("wheel", 2.0, 3.0)]
    text = problems(found)
    assert "line 3: 'name' must name an image, got null" in text
    assert "a.jpg (image 1): expected a size in whole pixels" in text
    assert "line 5, points of wheel: expected 'x,y', got '1.0,nan'" in text
    assert "expected 'x,y', got '5'" in text
    assert "line 6, points of wheel: expected 'x,y', got ''" in text
    assert len(found.problems) == 5


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cvat_video.xml", "export the task as 'CVAT for images 1.1'"),
        ("cvat_entities.xml", "has a document type or entities"),
    ],
)
def test_videos_and_entities_are_refused(name, message):
    with pytest.raises(DataError, match=message):
        cvat(name)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<annotations><image></annotations>", "not valid XML at line 1"),
        (b"<boxes/>", "expected CVAT's <annotations>, got <boxes>"),
        (b"", "not valid XML"),
        (b"<annotations>" + b"<a>" * 100_000, "more than 64 elements deep"),
    ],
)
def test_other_xml_is_refused(tmp_path, content, message):
    (tmp_path / "a.xml").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_cvat(tmp_path / "a.xml", ReaderOptions())


def test_the_archive_and_the_folder_of_an_export_are_read_as_the_file(tmp_path):
    content = (FIXTURES / "cvat.xml").read_bytes()
    archive = packed(tmp_path, {"images/sub/filename000.jpg": b"", "annotations.xml": content})
    assert detect(archive) == "cvat"
    assert spots(read_cvat(archive, ReaderOptions())) == spots(cvat("cvat.xml"))
    (tmp_path / "task").mkdir()
    (tmp_path / "task" / "annotations.xml").write_bytes(content)
    assert detect(tmp_path / "task") == "cvat"
    assert spots(read_cvat(tmp_path / "task", ReaderOptions())) == spots(cvat("cvat.xml"))


def test_archives_that_are_empty_broken_or_too_large_are_refused(tmp_path, monkeypatch):
    with pytest.raises(DataError, match=r"there is no annotations\.xml in this archive"):
        read_cvat(packed(tmp_path, {"a.txt": b""}), ReaderOptions())
    (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(DataError, match="cannot be read as a zip archive"):
        read_cvat(tmp_path / "broken.zip", ReaderOptions())
    monkeypatch.setattr(archives, "LARGEST_MEMBER", 1 << 20)
    with pytest.raises(DataError, match="unpacks to more than 1 MB"):
        read_cvat(packed(tmp_path, {"annotations.xml": b" " * (1 << 21)}), ReaderOptions())


def test_datumaro_pairs_are_objects_and_absent_ones_are_left_out():
    found = datumaro("datumaro.json")
    assert spots(found) == [
        ("cat", 12.5, 34.25),
        ("cat", 56.0, 78.0),
        ("person", 100.0, 50.0),
        ("person", 110.0, 60.0),
    ]
    assert [point.object_key for point in found.points] == [None, None, "1", "1"]
    assert found.categories == ((0, "cat"), (1, "person"))
    assert [(item.name, item.width, item.height) for item in found.images] == [
        ("sub/img1.jpg", 640, 480),
        ("img2", None, None),
    ]
    assert found.problems == ()
    assert "2 points that are absent (visibility 0) were not read" in found.notes


def test_datumaro_options():
    assert [point.object_key for point in datumaro("datumaro.json", several="one").points] == ["0"] * 2 + [
        "1"
    ] * 2
    assert ("person", 25.0, 40.0) in spots(datumaro("datumaro.json", shapes=True))


def test_bad_datumaro_annotations_are_named():
    found = datumaro("datumaro_bad.json")
    assert spots(found) == [("cat", 5.0, 6.0)]
    text = problems(found)
    assert "item a: expected a size in whole pixels" in text
    assert "item a, annotation 0: expected a label_id from 0 to 0, got 3" in text
    assert "annotation 1: expected points [x, y, ...], got [1, 2, 3]" in text
    assert "annotation 2: expected two finite numbers x and y, got nan and 2" in text
    assert "item v: is a video frame" in text
    assert "items[2]: 'path' must name an image, got null" in text
    assert len(found.problems) == 6


def test_subsets_of_a_datumaro_archive_and_folder_are_read_together(tmp_path):
    content = (FIXTURES / "datumaro.json").read_bytes()
    names = ["annotations/train.json", "annotations/val.json"]
    archive = packed(tmp_path, dict.fromkeys(names, content))
    assert detect(archive) == "datumaro"
    assert len(read_datumaro(archive, ReaderOptions()).points) == 8
    folder = tmp_path / "folder"
    (folder / "annotations").mkdir(parents=True)
    (folder / names[0]).write_bytes(content)
    assert detect(folder) == "datumaro"
    assert len(read_datumaro(folder, ReaderOptions()).points) == 4


@pytest.mark.parametrize("content", ["{}", "[]", '{"items": [], "categories": []}'])
def test_what_is_no_datumaro_file_is_refused(tmp_path, content):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(DataError, match="expected an object with 'items'"):
        read_datumaro(tmp_path / "a.json", ReaderOptions())
