"""Images are read as a person sees them, or refused by name."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from data_builders import write_image
from sapnet.data.images import image_size, read_image
from sapnet.errors import DataError


def test_an_exif_orientation_turns_the_picture_and_its_size(tmp_path):
    pixels = np.zeros((4, 6, 3), dtype=np.uint8)
    pixels[0, 0] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # Turn clockwise by a quarter to show it.
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    assert image_size(tmp_path / "a.png") == (6, 4)
    shown = read_image(tmp_path / "a.png")
    assert shown.shape == (6, 4, 3)
    assert shown[0, 3].tolist() == [255, 255, 255]


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1", "LA"])
def test_every_colour_mode_becomes_rgb(tmp_path, mode):
    suffix = "jpg" if mode == "CMYK" else "png"
    Image.new("RGB", (5, 3), (200, 200, 200)).convert(mode).save(tmp_path / f"a.{suffix}")
    image = read_image(tmp_path / f"a.{suffix}")
    assert image.shape == (3, 5, 3)
    assert image.dtype == np.uint8


def test_sixteen_bit_grey_keeps_its_shades(tmp_path):
    grey = np.array([[0, 256 * 100, 65535]], dtype=np.uint16)
    Image.fromarray(grey).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png")[0, :, 0].tolist() == [0, 100, 255]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 1600, 4095], [0, 100, 255]),  # 12 bits
        ([0, 400, 1023], [0, 100, 255]),  # 10 bits
        ([0, 100, 255], [0, 100, 255]),
        ([0, 200, 40000], [0, 0, 156]),
    ],
)
def test_grey_of_fewer_bits_in_sixteen_is_no_black_picture(tmp_path, values, expected):
    Image.fromarray(np.array([values], dtype=np.uint16)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png")[0, :, 0].tolist() == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 0.5, 1.0], [0, 128, 255]),
        ([-3.0, 100.2, 300.0], [0, 100, 255]),
        ([np.nan, 0.0, 1.0], [0, 0, 255]),
    ],
)
def test_floats_are_shares_of_white_or_grey_values(tmp_path, values, expected):
    Image.fromarray(np.array([values], dtype=np.float32)).save(tmp_path / "a.tif")
    assert read_image(tmp_path / "a.tif")[0, :, 0].tolist() == expected


def test_a_missing_image_is_named_with_the_nearest_name(tmp_path):
    write_image(tmp_path / "street_001.png")
    with pytest.raises(
        DataError, match=r"street_01\.png: there is no such image .did you mean 'street_001\.png'"
    ):
        read_image(tmp_path / "street_01.png")


@pytest.mark.parametrize("content", [b"", b"no image", None])
def test_a_damaged_image_is_named(tmp_path, content):
    path = tmp_path / "bad.png"
    write_image(path)
    path.write_bytes(path.read_bytes()[:400] if content is None else content)
    with pytest.raises(DataError, match=r"bad\.png"):
        read_image(path)


def test_a_folder_is_no_image(tmp_path):
    with pytest.raises(DataError, match="is a folder"):
        image_size(tmp_path)
