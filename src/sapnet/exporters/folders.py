"""Folders that appear whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from sapnet.errors import InputError, JobError

MARKER = "sapnet-export.json"
"""Lists the files of an exported folder, so that only such a folder is ever replaced."""


def refuse_foreign_folder(out: Path) -> None:
    """Refuse to replace anything but an empty folder or one that an export wrote and nobody added to.

    Raises:
        InputError: ``out`` is a file, or a folder with other files; some are named.
    """
    if not out.exists():
        return
    if not out.is_dir():
        raise InputError("the command line", [f"--out {out}: is a file, this format needs a folder"])
    present = {path.relative_to(out).as_posix() for path in out.rglob("*") if not path.is_dir()}
    foreign = sorted(present - _listed(out) - {MARKER})
    if foreign:
        shown = ", ".join(foreign[:3]) + (f" and {len(foreign) - 3} more" if len(foreign) > 3 else "")
        problem = f"--out {out}: holds files that no export wrote ({shown}); name another folder or empty it"
        raise InputError("the command line", [problem])


def write_folder(
    out: Path,
    files: Iterable[tuple[PurePosixPath, bytes]],
    about: Callable[[], dict[str, Any]],
    links: Iterable[tuple[PurePosixPath, Path]] = (),
) -> int:
    """Write files into a folder that appears in one step.

    Args:
        out: The folder; replaced where ``refuse_foreign_folder`` allows it.
        files: Relative path and content.
        about: Gives what to record beside the list of files, once all are written.
        links: Relative path and existing file: a hard link where the disk allows, else a copy.

    Returns:
        Number of files.

    Raises:
        InputError: The folder holds foreign files.
        JobError: Something cannot be written. What was there before is intact.
    """
    out = Path(os.path.abspath(out))  # noqa: PTH100 - symbolic links are kept
    refuse_foreign_folder(out)
    temporary = out.with_name(f".{out.name[:80]}.{uuid.uuid4().hex}.tmp")
    try:
        written = [_write(temporary, path, data) for path, data in files]
        written += [_link(temporary, path, source) for path, source in links]
        marker = {**about(), "files": sorted(written)}
        _write(temporary, PurePosixPath(MARKER), json.dumps(marker, indent=1).encode())
        _swap(temporary, out)
    except OSError as error:
        raise JobError(f"cannot write {out}: {error.strerror or error}; nothing was changed") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return len(written)


def _listed(out: Path) -> set[str]:
    """Return the files that the marker of an earlier export lists."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        document = json.loads((out / MARKER).read_text(encoding="utf-8"))
        return {str(name) for name in document["files"]}
    return set()


def _write(folder: Path, path: PurePosixPath, data: bytes) -> str:
    target = folder / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)
    return path.as_posix()


def _link(folder: Path, path: PurePosixPath, source: Path) -> str:
    target = folder / path
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        target.hardlink_to(source.resolve())
    except OSError:
        shutil.copyfile(source, target)
    return path.as_posix()


def _swap(temporary: Path, out: Path) -> None:
    """Put a finished folder in place of an old one; the old one is gone only afterwards."""
    if not out.exists():
        temporary.rename(out)
        return
    old = out.with_name(f".{out.name[:80]}.{uuid.uuid4().hex}.old")
    out.rename(old)
    try:
        temporary.rename(out)
    except OSError:
        old.rename(out)
        raise
    shutil.rmtree(old, ignore_errors=True)
