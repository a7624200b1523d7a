"""``sapnet points import``: one report of every defect, nothing written; with --skip-bad the rest."""

from __future__ import annotations

import json

import pytest

from import_builders import FIXTURES, clicks, image_folder, make_image
from sapnet.cli import import_verbs
from sapnet.cli.main import main
from sapnet.errors import InputError
from sapnet.importers.formats import FORMATS
from sapnet.pipeline import import_points_file

DEFECTS = """image,x,y,label,object_id,positive,width,height
good.png,1,2,cat,,,64,48
gone.png,1,2,cat,,,,
wrong size.png,1,2,cat,,,65,48
swapped.png,1,2,cat,,,48,64
twin.png,1,2,cat,,,,
GOOD2.PNG,1,2,cat,,,,
damaged.png,1,2,cat,,,,
turned.png,1,2,cat,,,,
good.png,64.5,2,cat,,,64,48
good.png,-1,2,cat,,,64,48
good.png,x,2,cat,,,64,48
good.png,1,inf,cat,,,64,48
good.png,1,2
,1,2,cat,,,64,48
good.png,5,5,,,,64,48
good.png,6,6,cat,o,0,64,48
good.png,7,7,cat,p,1,64,48
good.png,8,8,dog,p,1,64,48
good.png,1,2,cat,,,64,48
good.png,9,9,Cat,,,64,48
good.png,3,3,cat,,perhaps,64,48
"""
WRONG = {
    "line 3": "there is no such image",
    "line 4": "the source says 65 x 48 pixels",
    "line 5": "width and height seem to be swapped",
    "line 6": "may be any of 2 files: p/twin.png, q/twin.png",
    "line 8": "cannot be read as an image",
    "line 10": "(64.5, 2) is outside the image good.png of 64 x 48",
    "line 11": "(-1, 2) is outside",
    "line 12": "expected two finite numbers x and y, got 'x' and '2'",
    "line 13": "got '1' and 'inf'",
    "line 14": "has 3 columns, the header has 8",
    "line 15": "names no image",
    "line 16": "the point has no class",
    "line 17": "a negative point, but its object has no click",
    "line 19": "its object is of class 'cat'",
    "line 22": "positive must be 1 or 0, got 'perhaps'",
}
DOUBTFUL = {
    "line 7": "only letters of another case match",
    "line 9": "EXIF orientation 6",
    "line 20": "the same click",
    "line 21": "differ only in spelling",
}


@pytest.fixture
def work(tmp_path):
    images = image_folder(tmp_path / "images", "good.png", "p/twin.png", "q/twin.png", "good2.png")
    image_folder(images, "wrong size.png", "swapped.png")
    make_image(images / "turned.png", orientation=6)
    (images / "damaged.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (tmp_path / "defects.csv").write_text(DEFECTS)
    (tmp_path / "good.csv").write_text("image,x,y,label\ngood.png,1,2,cat\n")
    return tmp_path


def run(work, source, *more, capsys):
    words = ["points", "import", str(work / source), "--images", str(work / "images")]
    code = main([*words, "--out", str(work / "out.json"), *more])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_one_report_names_every_defect_and_nothing_is_written(work, capsys):
    before = sorted(work.rglob("*"))
    code, out, err = run(work, "defects.csv", "--unit", "pixel", capsys=capsys)
    assert (code, out) == (2, "")
    lines = err.splitlines()
    for line, text in WRONG.items():
        assert any(f"csv {line}:" in item and text in item for item in lines), (line, text, err)
    for line, text in DOUBTFUL.items():
        assert any(f"doubtful: defects.csv {line}:" in item and text in item for item in lines), (line, err)
    assert sorted(work.rglob("*")) == before


def test_skip_bad_leaves_out_what_is_wrong_and_counts_it(work, capsys):
    code, out, _ = run(work, "defects.csv", "--unit", "pixel", "--skip-bad", "--json", capsys=capsys)
    assert code == 0
    figures = json.loads(out)
    assert len(figures["left_out"]) == len(WRONG)
    assert len(figures["doubtful"]) == 4
    assert figures["images_unmatched"] == 2
    document = json.loads((work / "out.json").read_text())
    assert [entry[:3] for entry in clicks(document)] == [
        ("good.png", "cat", (1, 2)),
        ("good2.png", "cat", (1, 2)),
        ("turned.png", "cat", (1, 2)),
        ("good.png", "cat", (7, 7)),
        ("good.png", "cat", (1, 2)),
        ("good.png", "Cat", (9, 9)),
    ]
    assert main(["points", "check", str(work / "out.json"), "--images", str(work / "images"), "--quiet"]) == 0


def test_strict_makes_doubts_errors(work, capsys):
    (work / "doubtful.csv").write_text("image,x,y,label\nGOOD2.PNG,1,2,cat\n")
    assert run(work, "doubtful.csv", "--unit", "pixel", capsys=capsys)[0] == 0
    (work / "out.json").unlink()
    code, _, err = run(work, "doubtful.csv", "--unit", "pixel", "--strict", capsys=capsys)
    assert code == 2
    assert "only letters of another case match" in err
    assert not (work / "out.json").exists()


def test_the_closing_lines_say_what_was_found(work, capsys):
    code, out, err = run(work, "good.csv", "--unit", "pixel", capsys=capsys)
    assert (code, out) == (0, "")
    assert "detected csv; images: 1 (0 without points), points: 1, classes: 1, unmatched images: 0" in err
    assert "points per class: cat 1" in err
    assert "images of the folder that the source does not name (left out): 7" in err


def test_a_class_map_renames_and_is_checked(work, capsys):
    (work / "map.json").write_text('{"cat": "kitten"}')
    more = ("--unit", "pixel", "--class-map", str(work / "map.json"))
    assert run(work, "good.csv", *more, capsys=capsys)[0] == 0
    assert json.loads((work / "out.json").read_text())["categories"] == [{"id": 1, "name": "kitten"}]
    (work / "map.json").write_text('{"cat": 3, "dog": ""}')
    code, _, err = run(work, "good.csv", *more, capsys=capsys)
    assert code == 2
    assert "2 problems" in err


def test_wrong_arguments_are_said_together(work, capsys):
    code, _, err = run(work, "godo.csv", "--strict", "--skip-bad", capsys=capsys)
    assert code == 2
    assert "did you mean 'good.csv'" in err
    assert "exclude each other" in err
    words = ["points", "import", str(work / "good.csv"), "--images", str(work / "none")]
    assert main([*words, "--out", str(work / "good.csv")]) == 2
    err = capsys.readouterr().err
    assert "there is no such image folder" in err
    assert "would be written over the source" in err


def test_a_source_of_no_known_format_lists_the_formats(work, capsys):
    (work / "a.json").write_text('{"what": 1}')
    code, _, err = run(work, "a.json", capsys=capsys)
    assert code == 2
    assert "the format cannot be told" in err
    (work / "a.json").write_text('{"what": ')
    assert "not valid JSON" in run(work, "a.json", capsys=capsys)[2]
    (work / "folder").mkdir()
    assert "there is no JSON file in the folder" in run(work, "folder", capsys=capsys)[2]


def test_nothing_usable_is_no_success(work, capsys):
    (work / "bad.csv").write_text("image,x,y,label\ngone.png,1,2,cat\n")
    code, _, err = run(work, "bad.csv", "--unit", "pixel", "--skip-bad", capsys=capsys)
    assert code == 2
    assert "nothing is left to import" in err
    assert not (work / "out.json").exists()


def test_the_command_line_names_the_formats_that_there_are():
    assert list(import_verbs.FORMATS) == ["auto", *FORMATS]


@pytest.mark.parametrize("name", ["coco_points.json", "cvat.xml", "label_studio.json", "via_project.json"])
def test_the_same_source_gives_the_same_bytes(tmp_path, name):
    images = image_folder(tmp_path / "images", "a.png")
    outs = []
    for out in (tmp_path / "1.json", tmp_path / "2.json"):
        try:
            import_points_file(FIXTURES / name, images, out, skip_bad=True)
            outs.append(out.read_bytes())
        except InputError as error:
            outs.append(str(error))
    assert outs[0] == outs[1]
