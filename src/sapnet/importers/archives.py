"""Files in zip archives, opened with a limit on what they unpack to."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

from sapnet.errors import DataError

LARGEST_MEMBER = 1 << 30
"""Bytes that a file in an archive may unpack to."""


def names_in(path: Path) -> tuple[str, ...]:
    """Return the names of the files in an archive; none where it is no readable zip archive."""
    try:
        with zipfile.ZipFile(path) as archive:
            return tuple(archive.namelist())
    except (OSError, ValueError, zipfile.BadZipFile, RuntimeError, NotImplementedError):
        return ()


def open_member(path: Path, wanted: Callable[[str], bool], expected: str) -> IO[bytes]:
    """Open the first file in an archive whose name is wanted.

    Args:
        path: A zip archive.
        wanted: Tells whether a name is the right one.
        expected: What to call such a file in messages.

    Raises:
        DataError: It is no zip archive, there is no such file in it, or it is locked or too large.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = [item for item in archive.infolist() if not item.is_dir() and wanted(item.filename)]
            if not members:
                raise DataError(str(path), [f"there is no {expected} in this archive"])
            if members[0].file_size > LARGEST_MEMBER:
                raise DataError(
                    str(path), [f"{members[0].filename} unpacks to more than {LARGEST_MEMBER >> 20} MB"]
                )
            return archive.open(members[0])
    except (OSError, ValueError, zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
        raise DataError(str(path), [f"cannot be read as a zip archive: {error}"]) from error
