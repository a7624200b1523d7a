"""Finished pieces of a long job, kept in a file as they come; the same job called again goes on from them.

A line a piece, appended in one write: its key, a checksum and its content as JSON. A killed process leaves
at most a torn last line, which is cut off when the file is opened again.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from sapnet.data.appending import lock, write_all
from sapnet.errors import DataError, JobError

_OPENING = b"-1 "
"""What every journal begins with, be its first line torn: the key of the identity."""


def unfinished_path(out: Path) -> Path:
    """Return where the finished pieces of a job lie until its ``out`` is written."""
    return out.with_name(f"{out.name}.unfinished")


class Journal:
    """Keeps the finished pieces of one job; a context manager.

    What the file holds of another job (other inputs, settings or versions) is dropped. While another
    process has the file, this one does the whole job itself and keeps its pieces in a nameless file that
    ends with it.

    Args:
        path: The file; made where absent, with its folder.
        identity: All that the pieces depend on, JSON-compatible.

    Raises:
        DataError: The file is something else, which would be lost.
        JobError: The file cannot be written.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any]) -> None:
        self.path = path
        self._places: dict[int, tuple[int, int]] = {}
        """First byte and length of the line of every piece."""
        self._stream: io.FileIO | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._stream = io.FileIO(path, "a+")
            self._named = _locked(self._stream)
            if self._named:
                self._take_up(_line(-1, identity))
            else:
                self._stream.close()
                self._stream = tempfile.TemporaryFile(dir=path.parent, buffering=0)  # noqa: SIM115 - see close
        except OSError as error:
            self.close()
            raise JobError(f"cannot write {path}: {error.strerror or error}") from error
        except DataError:
            self.close()
            raise

    def __enter__(self) -> Self:
        """Return the journal itself."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close the file; what was added stays."""
        self.close()

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, key: int) -> bool:
        return key in self._places

    def add(self, key: int, content: Any) -> None:
        """Keep a finished piece; one that is there already is left as it is.

        Args:
            key: At least 0.
            content: JSON-compatible; floats come back bit for bit.

        Raises:
            JobError: The disk is full or failing; all that was added before is kept.
        """
        assert self._stream is not None, "the journal is closed"
        if key in self._places:
            return
        place, line = self._stream.seek(0, os.SEEK_END), _line(key, content)
        try:
            write_all(self._stream, line)
        except OSError as error:
            with contextlib.suppress(OSError):
                self._stream.truncate(place)
            kept = f"{len(self)} finished images are kept there; run the same command again to go on"
            raise JobError(f"cannot write {self.path}: {error.strerror or error}; {kept}") from error
        self._places[key] = (place, len(line))

    def items(self) -> Iterator[tuple[int, Any]]:
        """Yield the pieces by rising key, read from the file one at a time."""
        assert self._stream is not None, "the journal is closed"
        for key in sorted(self._places):
            place, length = self._places[key]
            self._stream.seek(place)
            yield key, json.loads(self._stream.read(length).split(b" ", 2)[2])

    def close(self) -> None:
        """Close the file; may be called twice."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def remove(self) -> None:
        """Delete the file, the job being done; not that of another process."""
        if self._named:
            self.path.unlink(missing_ok=True)
        self.close()

    def _take_up(self, header: bytes) -> None:
        """Find the pieces that are there, and cut off what is torn or of another job."""
        assert self._stream is not None
        end = 0
        with self.path.open("rb") as stream:
            first = stream.readline()
            if first[: len(_OPENING)] != _OPENING[: len(first)]:
                raise DataError(
                    str(self.path), ["is none of sapnet's files of unfinished work; move it away"]
                )
            if first == header:
                end = len(header)
                for key, length in _whole_lines(stream):
                    self._places[key] = (end, length)
                    end += length
        self._stream.truncate(end)
        if end == 0:
            self._stream.write(header)


def files_digest(names: Iterable[str], folder: Path) -> str:
    """Return a digest of the names, lengths and times of files, in their order, without reading them.

    Args:
        names: The files; one that is not there counts as such.
        folder: Where they lie; absolute names lie where they say.
    """
    digest = hashlib.sha256()
    for name in names:
        try:
            found = (folder / name).stat()
            told: tuple[Any, ...] = (name, found.st_size, found.st_mtime_ns)
        except OSError:
            told = (name,)
        digest.update(repr(told).encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _line(key: int, content: Any) -> bytes:
    text = json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")
    return b"%d %08x %s\n" % (key, zlib.crc32(text), text)


def _whole_lines(stream: Iterable[bytes]) -> Iterator[tuple[int, int]]:
    """Yield key and length of every line before the first one that is torn."""
    for line in stream:
        key, _, rest = line.partition(b" ")
        checksum, _, text = rest.partition(b" ")
        if not text.endswith(b"\n") or checksum != b"%08x" % zlib.crc32(text[:-1]):
            return
        yield int(key), len(line)


def _locked(stream: io.FileIO) -> bool:
    try:
        return lock(stream)
    except OSError:  # some network file systems know no locks
        return True
