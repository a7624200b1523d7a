"""Points land on the pixel that was clicked, whatever EXIF says and whoever has followed it."""

from __future__ import annotations

import numpy as np
import pytest

from import_builders import assembled, make_image, sentences, source_image, source_point
from sapnet.data.images import image_size, read_image, stored_orientation
from sapnet.importers.frames import Frame, choose_frame

QUARTER_TURNS = (5, 6, 7, 8)


def bright_pixel(path):
    rows, columns = np.nonzero(read_image(path)[..., 0] > 128)
    assert len(rows) == 1
    return columns[0] + 0.5, rows[0] + 0.5


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("unit", ["pixel", "percent", "fraction"])
def test_a_point_on_the_stored_picture_is_turned_with_it(tmp_path, orientation, unit):
    path = make_image(tmp_path / "a.png", (6, 4), orientation, bright=[(1, 3)])
    height, width = image_size(path)
    whole = {"pixel": (1, 1), "percent": (6 / 100, 4 / 100), "fraction": (6, 4)}[unit]
    turned = Frame(width, height, orientation).to_upright(1.5 / whole[0], 3.5 / whole[1], unit)
    assert turned == pytest.approx(bright_pixel(path))


@pytest.mark.parametrize("orientation", [6, 8])
@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_the_declared_size_tells_on_which_picture_was_clicked(tmp_path, orientation, ending):
    path = make_image(tmp_path / f"a.{ending}", (64, 48), orientation)
    assert image_size(path) == (64, 48)
    upright = assembled(
        tmp_path, source_point(3, 5, image=path.name), images=[source_image(path.name, (48, 64))]
    )
    stored = assembled(
        tmp_path, source_point(3, 5, image=path.name), images=[source_image(path.name, (64, 48))]
    )
    assert upright.problems == stored.problems == ()
    assert upright.document["annotations"][0]["point"] == [3, 5]
    assert stored.document["annotations"][0]["point"] == ([43, 3] if orientation == 6 else [5, 61])
    assert stored.document["images"][0]["width"] == 48
    assert (upright.figures["images_turned"], stored.figures["images_turned"]) == (0, 1)


def test_without_a_declared_size_a_turned_picture_is_doubtful_until_the_user_says(tmp_path):
    make_image(tmp_path / "a.png", (64, 48), 8)
    doubted = assembled(tmp_path, source_point(3, 5))
    assert "EXIF orientation 8" in sentences(doubted.problems, doubtful=True)[0]
    assert doubted.document["annotations"][0]["point"] == [3, 5]
    assert assembled(tmp_path, source_point(3, 5), exif="upright").problems == ()
    settled = assembled(tmp_path, source_point(3, 5), exif="stored")
    assert settled.problems == ()
    assert settled.document["annotations"][0]["point"] == [5, 61]


@pytest.mark.parametrize("orientation", [2, 3, 4])
def test_a_turn_that_keeps_the_size_cannot_be_told_from_it(orientation):
    frame, text = choose_frame((48, 64), orientation, [(48, 64)], "auto")
    assert frame == Frame(64, 48)
    assert "--exif" in text


def test_a_declared_size_that_contradicts_the_users_word_is_a_problem():
    assert choose_frame((48, 64), 6, [(48, 64)], "upright")[0] is None
    assert choose_frame((48, 64), 6, [(64, 48)], "stored")[0] is None
    assert choose_frame((48, 64), 6, [(48, 64)], "stored") == (Frame(48, 64, 6), "")


def test_another_declared_size_is_a_problem_with_both_sizes():
    frame, text = choose_frame((48, 64), 1, [(64, 48)], "auto")
    assert frame is None
    assert text == (
        "the source says 48 x 64 pixels (width x height), the file has 64 x 48; "
        "width and height seem to be swapped"
    )
    frame, text = choose_frame((48, 64), 6, [(10, 90)], "auto")
    assert frame is None
    assert "90 x 10" in text
    assert "48 x 64 (64 x 48 before EXIF)" in text


def test_shares_of_a_resized_picture_fit_but_its_pixels_do_not(tmp_path):
    make_image(tmp_path / "a.png")
    points = [source_point(50, 25, unit="percent"), source_point(3, 5, where="row 2")]
    made = assembled(tmp_path, *points, images=[source_image(size=(128, 96))])
    assert [entry["point"] for entry in made.document["annotations"]] == [[32, 12]]
    assert sentences(made.problems, doubtful=False) == [
        "row 2: (3, 5) are pixels of an image of another size"
    ]
    assert "128 x 96" in sentences(made.problems, doubtful=True)[0]
    made = assembled(tmp_path, *points[1:], images=[source_image(size=(128, 96))])
    assert made.document["annotations"] == made.document["images"] == []
    assert "128 x 96" in sentences(made.problems, doubtful=False)[0]


def test_an_orientation_that_exif_does_not_define_is_none(tmp_path):
    path = make_image(tmp_path / "a.png", (6, 4), 77)
    assert stored_orientation(path) == ((4, 6), 1)
