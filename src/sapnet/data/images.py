"""Reading image files, always as a person sees them: turned as EXIF says, in RGB.

Every coordinate in this package refers to the image that these functions return.
"""

from __future__ import annotations

import os
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray
from PIL import Image, ImageOps

from sapnet.errors import DataError, nearest

_ORIENTATION_TAG = 0x0112
_TRANSPOSED_ORIENTATIONS = (5, 6, 7, 8)
# What Pillow's decoders are known to raise on damaged files.
_UNREADABLE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    OverflowError,
    MemoryError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)


def read_image(path: str | os.PathLike[str]) -> UInt8[ndarray, "H W 3"]:
    """Read an image file.

    Args:
        path: A file in any format that Pillow reads.

    Returns:
        uint8 (H, W, 3) RGB, turned as its EXIF orientation says. Grey, palette, CMYK, 16-bit and float
        images are converted (:func:`to_rgb`).

    Raises:
        DataError: There is no such file, or it cannot be decoded; the file is named.
    """
    path = Path(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                image.load()
                upright = ImageOps.exif_transpose(image)
                return to_rgb(upright)
    except _UNREADABLE as error:
        raise DataError(str(path), [describe_unreadable(path, error)]) from error


def image_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Return ``(height, width)`` of an image after its EXIF rotation.

    Only the header is read, but all of a PNG file, whose EXIF data may come last.

    Raises:
        DataError: There is no such file, or it cannot be read; the file is named.
    """
    (height, width), turned = stored_size(path)
    return (width, height) if turned else (height, width)


def stored_size(path: str | os.PathLike[str]) -> tuple[tuple[int, int], bool]:
    """Return ``(height, width)`` as stored, and whether EXIF turns it by a quarter.

    Reads what :func:`image_size` reads.

    Raises:
        DataError: There is no such file, or it cannot be read; the file is named.
    """
    size, orientation = stored_orientation(path)
    return size, orientation in _TRANSPOSED_ORIENTATIONS


def stored_orientation(path: str | os.PathLike[str]) -> tuple[tuple[int, int], int]:
    """Return ``(height, width)`` as stored, and the EXIF orientation, 1 to 8 (1: already upright).

    Reads what :func:`image_size` reads.

    Raises:
        DataError: There is no such file, or it cannot be read; the file is named.
    """
    path = Path(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                width, height = image.size
                orientation = image.getexif().get(_ORIENTATION_TAG, 1)
    except _UNREADABLE as error:
        raise DataError(str(path), [describe_unreadable(path, error)]) from error
    return (height, width), orientation if orientation in range(1, 9) else 1


def describe_unreadable(path: Path, error: BaseException) -> str:
    """Return one sentence on why an image could not be read, with the nearest file name."""
    if isinstance(error, FileNotFoundError):
        names = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        hint = nearest(path.name, names) if names else " (its folder does not exist)"
        return f"{path}: there is no such image{hint}"
    if isinstance(error, IsADirectoryError):
        return f"{path}: is a folder, expected an image file"
    if path.is_file() and path.stat().st_size == 0:
        return f"{path}: the file is empty"
    return f"{path}: cannot be read as an image ({str(error) or type(error).__name__})"


def to_rgb(image: Image.Image) -> UInt8[ndarray, "H W 3"]:
    """Convert an image that has been turned upright.

    Grey values of 16 bits lose their lower bits; where none exceeds 4095 or 1023 they are taken for values of
    12 or 10 bits, as cameras store them. Floats in [0, 1] become 0 to 255; others are clipped to that.

    Args:
        image: In any mode of Pillow's.

    Returns:
        uint8 (H, W, 3) RGB.
    """
    if image.mode.startswith("I;16") or image.mode == "I":
        # Pillow clips these at 255.
        grey = np.asarray(image)
        return _grey_to_rgb(np.clip(grey, 0, 65535) >> _surplus_bits(grey))
    if image.mode == "F":
        values = np.nan_to_num(np.asarray(image), posinf=255.0, neginf=0.0)
        in_unit = values.min(initial=0.0) >= 0 and values.max(initial=0.0) <= 1
        return _grey_to_rgb(np.clip(np.rint(values * 255 if in_unit else values), 0, 255))
    return np.array(image.convert("RGB"), dtype=np.uint8)


def _surplus_bits(grey: ndarray) -> int:
    """How many low bits to drop, so that the values fit into 8."""
    low, high = int(grey.min(initial=0)), int(grey.max(initial=0))
    if low < 0:
        return 8
    return next((bits - 8 for bits in (8, 10, 12) if high < 1 << bits), 8)


def _grey_to_rgb(grey: ndarray) -> UInt8[ndarray, "H W 3"]:
    return np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)
