"""Reads and writes JSON files that are too large for memory, one list entry at a time.

A file of six masks per object of a large data set has gigabytes; parsed at once it takes ten times that.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from sapnet.errors import DataError, JobError, nearest

_CHUNK = 1 << 20
_BYTE_ORDER_MARK = "\xef\xbb\xbf"
_WHITESPACE = " \t\n\r"
_LONGEST_LITERAL = 16
"""Characters before the end of what was read within which an error may only mean that more must be read."""


class Element(NamedTuple):
    """A top-level value of a file, or one entry of a top-level list."""

    section: str
    """The top-level key."""
    number: int | None
    """Place in the list, from 0; None where the value is no list."""
    value: Any
    """The value. Text in it is Latin-1, so that places are bytes; :func:`read_element` gives true text."""
    offset: int
    """Where it starts in the file, in bytes."""
    length: int
    """Its length in bytes."""


class JsonScan:
    """Steps through the top level of a JSON object on disk.

    Memory is bounded by the largest entry of a top-level list, or the largest other top-level value.

    Args:
        path: The file.

    Raises:
        DataError: While stepping: there is no such file, it cannot be read, or is no JSON object.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.sections: list[str] = []
        """The top-level keys, as far as they have been met."""
        self._digest = hashlib.sha256()

    @property
    def digest(self) -> str:
        """SHA-256 of the file in hexadecimal, once all elements were taken."""
        return self._digest.hexdigest()

    def __iter__(self) -> Iterator[Element]:
        """Yield entry by entry of the top-level lists and every other top-level value, in file order."""
        self.sections.clear()
        self._digest = hashlib.sha256()
        try:
            with self.path.open("rb") as file:
                yield from _top_level(_Window(file, self._digest), self.sections)
        except FileNotFoundError as error:
            folder = self.path.parent
            names = [item.name for item in folder.iterdir()] if folder.is_dir() else []
            problem = f"there is no such file{nearest(self.path.name, names)}"
            raise DataError(str(self.path), [problem]) from error
        except OSError as error:
            raise DataError(str(self.path), [f"cannot be read: {error.strerror or error}"]) from error
        except RecursionError as error:
            raise DataError(str(self.path), ["not usable JSON: nested too deeply"]) from error
        except _BadJson as error:
            raise DataError(str(self.path), [f"not valid JSON at byte {error.offset}: {error}"]) from error


def read_element(file: BinaryIO, offset: int, length: int) -> Any:
    """Read one element again.

    Args:
        file: The file, open for reading bytes.
        offset: Where the element starts.
        length: Its length in bytes.

    Raises:
        ValueError: There is no longer a JSON value at that place.
    """
    file.seek(offset)
    return json.loads(file.read(length).decode("utf-8", "replace"), parse_constant=_nothing)


def write_text_parts_atomic(path: Path | str, parts: Iterable[str]) -> None:
    """Replace a file by the concatenation of texts, without holding it in memory.

    As with :mod:`sapnet.data.atomic`, a reader sees the old file or the new one, never a part.

    Args:
        path: The file to write; a missing folder is made.
        parts: Texts, written as UTF-8. An error that they raise leaves the old file.

    Raises:
        JobError: The file cannot be written. The old file is intact.
    """
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name[:80]}.{uuid.uuid4().hex}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("x", encoding="utf-8", newline="") as stream:
            stream.writelines(parts)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(target)
    except OSError as error:
        raise JobError(f"cannot write {path}: {error.strerror or error}; nothing was changed") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _nothing(_name: str) -> None:
    """Stands for NaN and Infinity, which Python writes though JSON has no such numbers."""


class _BadJson(Exception):
    """What is wrong, and the byte where it is."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.offset = offset


class _Window:
    """The part of a file that is in memory, and a position in it."""

    def __init__(self, file: BinaryIO, digest: Any) -> None:
        self._file = file
        self._digest = digest
        self._text = ""
        self._place = 0
        self._base = 0
        self._decoder = json.JSONDecoder(parse_constant=_nothing)
        self._more()
        if self._text.startswith(_BYTE_ORDER_MARK):
            self._place = len(_BYTE_ORDER_MARK)

    @property
    def offset(self) -> int:
        """The position, in bytes from the start of the file."""
        return self._base + self._place

    def peek(self) -> str:
        """Step over white space and return the next character, or nothing at the end of the file."""
        while True:
            while self._place < len(self._text) and self._text[self._place] in _WHITESPACE:
                self._place += 1
            if self._place < len(self._text):
                return self._text[self._place]
            if not self._more():
                return ""

    def take(self, allowed: str) -> str:
        """Step over the next character, which must be one of some.

        Raises:
            _BadJson: It is another one.
        """
        found = self.peek()
        if not found:
            raise _BadJson("the file seems cut off", self.offset)
        if found not in allowed:
            raise _BadJson(f"found {found!r}, expected {' or '.join(map(repr, allowed))}", self.offset)
        self._place += 1
        return found

    def value(self) -> Any:
        """Step over a whole value and return it.

        Raises:
            _BadJson: There is none.
        """
        self.peek()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._place)
            except json.JSONDecodeError as error:
                maybe_cut = error.pos > len(self._text) - _LONGEST_LITERAL or error.msg.startswith(
                    "Unterminated"
                )
                if maybe_cut and self._more():
                    continue
                cut = " (the file seems cut off)" if maybe_cut else ""
                raise _BadJson(f"{error.msg}{cut}", self._base + error.pos) from error
            except ValueError as error:
                raise _BadJson(str(error), self.offset) from error
            # A number that ends near the end of the text may go on in the file (1|2, 1|.5, 1|e+5).
            if len(self._text) - end < _LONGEST_LITERAL and self._more():
                continue
            self._place = end
            return value

    def _more(self) -> bool:
        """Read on, at least doubling what is left, so that a long value is not parsed too often."""
        data = self._file.read(max(_CHUNK, len(self._text) - self._place))
        if not data:
            return False
        self._digest.update(data)
        # Latin-1 has a character per byte and leaves all that structures JSON as it is.
        self._text = self._text[self._place :] + data.decode("latin-1")
        self._base += self._place
        self._place = 0
        return True


def _top_level(window: _Window, sections: list[str]) -> Iterator[Element]:
    window.take("{")
    end = window.peek() == "}"
    if end:
        window.take("}")
    while not end:
        if window.peek() != '"':
            window.take('"')
        key = window.value()
        sections.append(key)
        window.take(":")
        if window.peek() == "[":
            yield from _entries(window, key)
        else:
            yield _element(window, key, None)
        end = window.take(",}") == "}"
    if window.peek():
        raise _BadJson("there is something after the end of the object", window.offset)


def _entries(window: _Window, key: str) -> Iterator[Element]:
    window.take("[")
    if window.peek() == "]":
        window.take("]")
        return
    number = 0
    while True:
        yield _element(window, key, number)
        number += 1
        if window.take(",]") == "]":
            return


def _element(window: _Window, key: str, number: int | None) -> Element:
    window.peek()
    start = window.offset
    value = window.value()
    return Element(key, number, value, start, window.offset - start)
