"""Atomic writes: a reader sees the old file or the new one, never a part of either."""

from __future__ import annotations

import contextlib
import json
import os
import uuid
from functools import partial
from pathlib import Path
from typing import Any

from sapnet.errors import JobError


def write_bytes_atomic(path: str | os.PathLike[str], data: bytes) -> None:
    """Replace a file by ``data`` in one step.

    The bytes go to a temporary file in the same folder, are forced to the disk, and take the
    place of the old file with one rename. A missing folder is made.

    Args:
        path: The file to write; a symbolic link is written through.
        data: The whole content.

    Raises:
        JobError: The file cannot be written (full disk, no permission). The old file is intact.
    """
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name[:80]}.{uuid.uuid4().hex}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(target)
    except OSError as error:
        raise JobError(f"cannot write {path}: {error.strerror or error}; nothing was changed") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    _sync_folder(target.parent)


def write_text_atomic(path: str | os.PathLike[str], text: str) -> None:
    """Write text as UTF-8, like :func:`write_bytes_atomic`.

    Bytes of a file name that are no UTF-8, which Python reads as lone surrogates, are written as they were.
    """
    write_bytes_atomic(path, text.encode("utf-8", "surrogateescape"))


def write_json_atomic(path: str | os.PathLike[str], obj: Any, *, indent: int | None = None) -> None:
    """Write an object as JSON, like :func:`write_bytes_atomic`.

    Args:
        path: The file to write.
        obj: Anything :mod:`json` can write; where it has a file name that is no UTF-8, all that is not ASCII
            is escaped, so that the name comes back as it was.
        indent: Spaces per level; compact where None.

    Raises:
        JobError: The file cannot be written.
        ValueError: The object holds a number that is not finite, which JSON cannot express.
    """
    separators = (",", ":") if indent is None else (",", ": ")
    write = partial(json.dumps, obj, allow_nan=False, indent=indent, separators=separators)
    try:
        data = write(ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        data = write(ensure_ascii=True).encode("ascii")
    write_bytes_atomic(path, data + b"\n")


def _sync_folder(folder: Path) -> None:
    """Make the rename itself survive a power cut, where the system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
