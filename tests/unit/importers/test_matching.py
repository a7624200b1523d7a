"""Names that tools made of the images' names lead back to the files; what is unclear is never guessed."""

from __future__ import annotations

import pytest

from import_builders import image_folder
from sapnet.errors import DataError
from sapnet.importers.matching import ImageFolder


@pytest.fixture
def folder(tmp_path):
    names = ["a.png", "sub/a.png", "sub/b c.png", "sub/deep/d.png", "other/d.png", "1a2b3c4d-e.png", "E.png"]
    return ImageFolder(image_folder(tmp_path, *names, "Ünï.png", "000032.jpg", "x/twin.png", "y/twin.png"))


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("a.png", "a.png"),
        ("./a.png", "a.png"),
        ("sub/a.png", "sub/a.png"),
        ("sub\\a.png", "sub/a.png"),
        ("C:\\photos\\set\\sub\\a.png", "sub/a.png"),
        ("elsewhere/b c.png", "sub/b c.png"),
        ("b%20c.png", "sub/b c.png"),
        ("1a2b3c4d-b c.png", "sub/b c.png"),
        ("/data/upload/3/0f0f0f0f-b%20c.png", "sub/b c.png"),
        ("/data/local-files/?d=sub%2Fdeep%2Fd.png", "sub/deep/d.png"),
        ("s3://bucket/other/d.png", "other/d.png"),
        ("https://host/other/d.png?token=1", "other/d.png"),
        ("1a2b3c4d-e.png", "1a2b3c4d-e.png"),
        ("x/y/twin.png", "y/twin.png"),
    ],
)
def test_a_name_leads_to_its_file(folder, name, file):
    assert folder.match(name) == (file, "")


@pytest.mark.parametrize(
    ("name", "file", "text"),
    [
        ("A.PNG", None, "may be any of 2 files"),
        ("SUB/B C.PNG", "sub/b c.png", "only letters of another case match"),
        ("u\u0308ni\u0308.PNG", "Ünï.png", "only letters of another case match"),
        ("000032", "000032.jpg", "only the ending fits not"),
    ],
)
def test_other_letters_and_missing_endings_are_doubtful(folder, name, file, text):
    match = folder.match(name)
    assert match.file == file
    assert text in match.text


@pytest.mark.parametrize("name", ["d.png", "set/twin.png", "0123abcd-d.png"])
def test_several_files_that_fit_equally_are_no_match(folder, name):
    match = folder.match(name)
    assert match.file is None
    assert "may be any of 2 files: " in match.text


@pytest.mark.parametrize(
    "name", ["", ".", "/", "f.png", "../a.pngx", "a", "?", "?d=", "deadbeef-", "\0", "%00"]
)
def test_a_name_without_a_file_is_no_match(folder, name):
    match = folder.match(name)
    assert match.file in {None, "a.png"}
    assert match.text


def test_the_nearest_name_is_suggested(folder):
    assert "did you mean 'sub/deep/d.png'" in folder.match("sub/deep/dd.png").text


def test_nothing_outside_the_folder_is_found(tmp_path):
    image_folder(tmp_path, "secret.png", "in/a.png")
    folder = ImageFolder(tmp_path / "in")
    assert folder.match("../secret.png").file is None
    assert folder.match(str(tmp_path / "secret.png")).file is None


def test_a_linked_folder_is_searched_once(tmp_path):
    image_folder(tmp_path, "real/a.png")
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "linked").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "loop").symlink_to(tmp_path / "images")
    assert ImageFolder(tmp_path / "images").files == ("linked/a.png",)


def test_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(DataError, match="no such image folder"):
        ImageFolder(tmp_path / "none")


def test_an_empty_folder_matches_nothing(tmp_path):
    assert ImageFolder(tmp_path).match("a.png").file is None
