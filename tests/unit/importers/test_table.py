"""Tables: what columns may be called, units that are never guessed, objects of several rows."""

from __future__ import annotations

import pytest

from import_builders import FIXTURES, clicks, image_folder, import_file
from sapnet.errors import DataError
from sapnet.importers.formats import detect
from sapnet.importers.records import ReaderOptions
from sapnet.importers.table import read_table

PIXELS = ReaderOptions(unit="pixel")


def table(tmp_path, text, name="a.csv"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
    return path


def test_a_table_with_semicolons_and_other_names_arrives_exactly(tmp_path):
    images = image_folder(tmp_path / "images", "a.png", "sub;b.png", "c.png")
    document, figures = import_file(
        FIXTURES / "table.csv", images, tmp_path / "points.json", options=PIXELS, skip_bad=True
    )
    assert clicks(document) == [
        ("a.png", "cat", (10, 20.5), [], []),
        ("a.png", "cat", (11, 21), [(12, 22)], [(13, 23)]),
        ("sub;b.png", "dog", (10, 0.5), [], []),
    ]
    assert figures["left_out"] == [
        "table.csv line 2: expected two finite numbers x and y, got '10' and '20,5'",
        "table.csv line 10: has 4 columns, the header has 9",
        "table.csv line 11: names no image: ''",
        "table.csv line 12: expected two finite numbers x and y, got 'nan' and '2'",
        "table.csv line 13: positive must be 1 or 0, got 'maybe'",
    ]
    assert figures["images"] == 3
    assert "columns that were not read: Survey ID" in figures["notes"]


def test_a_table_in_percent_with_roles(tmp_path):
    images = image_folder(tmp_path / "images", "a.png")
    assert detect(FIXTURES / "table.tsv") == "csv"
    document, figures = import_file(
        FIXTURES / "table.tsv",
        images,
        tmp_path / "p.json",
        options=ReaderOptions(unit="percent"),
        skip_bad=True,
    )
    assert clicks(document) == [("a.png", "cat", (32, 12), [], [])]
    assert document["images"][0]["ignore_regions"] == [{"point": [8, pytest.approx(48)]}]
    assert figures["left_out"] == [
        "table.tsv line 4: role must be point, extra, negative, ignore, got 'piont' (did you mean 'point'?)"
    ]


def test_the_unit_is_never_guessed(tmp_path):
    with pytest.raises(DataError, match="give --unit pixel, percent or fraction"):
        read_table(table(tmp_path, "image,x,y\na.png,0.5,0.5\n"), ReaderOptions())


def test_everything_wrong_with_a_header_is_said(tmp_path):
    with pytest.raises(DataError) as caught:
        read_table(table(tmp_path, "filename,path,label,class,X,Z\n"), ReaderOptions())
    assert caught.value.problems == (
        "columns 'filename', 'path' could each be the image; rename all but one",
        "there is no column 'y' (or cy, py, row) in the header",
        "columns 'label', 'class' could each be the label; rename all but one",
        "the unit of x and y is not known: give --unit pixel, percent or fraction",
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "there is no column 'image'"),
        (b"\xff\xfe", "there is no column 'image'"),
        (b"\x80\x81", "not UTF-8 text"),
        (b"\xff\xfea", "not UTF-16 text"),
        ("image,x,y\n" + "a" * 200_000 + ",1,2\n", "line 2: no usable table row"),
    ],
)
def test_what_is_no_table_is_refused_with_the_reason(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        read_table(table(tmp_path, text), PIXELS)


def test_windows_text_and_old_line_ends_are_read(tmp_path):
    path = table(tmp_path, "image,x,y,label\ra.png,1,2,cät\r".encode("utf-16"))
    assert [(point.x, point.label) for point in read_table(path, PIXELS).points] == [(1, "cät")]


@pytest.mark.parametrize("value", ["1_0", "٣", "0x1", "1,5", "inf", "1e999", "", "--1", "1 2", "9" * 70])
def test_only_plain_numbers_are_numbers(tmp_path, value):
    found = read_table(table(tmp_path, f'image,x,y,label\na.png,"{value}",2,cat\n'), PIXELS)
    assert found.points == ()
    assert len(found.problems) == 1


def test_declared_sizes_that_differ_or_are_none_are_doubtful(tmp_path):
    text = "image,x,y,width,height\na.png,1,2,64,48\na.png,1,3,65,48\nb.png,1,2,0,48\nc.png,1,2,x,48\n"
    found = read_table(table(tmp_path, text), PIXELS)
    assert [problem.doubtful for problem in found.problems] == [True] * 3
    assert [(image.width, image.height) for image in found.images] == [(64, 48), (None, None), (None, None)]
