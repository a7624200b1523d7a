"""Atomic writes: a reader sees the old file or the new one, never a part of either."""

from __future__ import annotations

import contextlib
import json
import os
import uuid
from collections.abc import Iterable, Iterator, Mapping
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
    _write_chunks_atomic(path, [data])


def _write_chunks_atomic(path: str | os.PathLike[str], chunks: Iterable[bytes]) -> None:
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name[:80]}.{uuid.uuid4().hex}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as stream:
            stream.writelines(chunks)
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
    write_bytes_atomic(path, _json(obj, indent) + b"\n")


def write_json_items_atomic(path: str | os.PathLike[str], document: Mapping[str, Any]) -> None:
    """Write an object as compact JSON whose long lists need not fit into memory.

    The bytes are those of :func:`write_json_atomic`, but that a file name which is no UTF-8 makes only its
    own item be escaped.

    Args:
        path: The file to write.
        document: The object; values that are iterators are lists, asked for one item at a time.

    Raises:
        JobError: The file cannot be written.
        ValueError: The object holds a number that is not finite.
    """
    _write_chunks_atomic(path, _pieces(document))


def _pieces(document: Mapping[str, Any]) -> Iterator[bytes]:
    opening = b"{"
    for name, value in document.items():
        yield opening + _json(name) + b":"
        opening = b","
        if not isinstance(value, Iterator):
            yield _json(value)
            continue
        yield b"["
        for number, item in enumerate(value):
            yield b"," * (number > 0) + _json(item)
        yield b"]"
    yield b"}\n" if document else b"{}\n"


def _json(obj: Any, indent: int | None = None) -> bytes:
    separators = (",", ":") if indent is None else (",", ": ")
    write = partial(json.dumps, obj, allow_nan=False, indent=indent, separators=separators)
    try:
        return write(ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return write(ensure_ascii=True).encode("ascii")


def _sync_folder(folder: Path) -> None:
    """Make the rename itself survive a power cut, where the system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
