"""Reading COCO-shaped JSON with every problem reported at once."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sapnet.errors import DataError, nearest

_INT64 = range(-(2**63), 2**63)


def read_json(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a JSON file that must hold an object.

    Raises:
        DataError: There is no such file, it is no UTF-8 text, no JSON (with line and column), or no
            object.
    """
    path = Path(path)
    try:
        document = json.loads(path.read_bytes().decode("utf-8-sig"))
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        at_end = error.pos >= len(error.doc.rstrip()) or error.msg.startswith("Unterminated")
        cut = " (the file seems cut off)" if at_end else ""
        raise DataError(str(path), [f"not valid JSON at {place}: {error.msg}{cut}"]) from error
    except UnicodeDecodeError as error:
        raise DataError(str(path), [f"not UTF-8 text (byte {error.start})"]) from error
    except RecursionError as error:
        raise DataError(str(path), ["not usable JSON: nested too deeply"]) from error
    except FileNotFoundError as error:
        names = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        raise DataError(str(path), [f"there is no such file{nearest(path.name, names)}"]) from error
    except (OSError, ValueError) as error:
        raise DataError(
            str(path), [f"cannot be read: {getattr(error, 'strerror', None) or error}"]
        ) from error
    if not isinstance(document, dict):
        found = _kind(document)
        raise DataError(str(path), [f"expected an object with images and annotations, got {found}"])
    return document


class EntryReader:
    """Reads typed values out of the entries of one list and collects what is wrong with them.

    Args:
        document: The whole file.
        section: The name of the list: images, categories or annotations.
        problems: Where sentences are added.
        known: The keys that this package understands; the others pass through.
    """

    def __init__(
        self, document: dict[str, Any], section: str, problems: list[str], known: frozenset[str]
    ) -> None:
        self.section = section
        self.problems = problems
        self.known = known
        self.entry: dict[str, Any] = {}
        self._index = 0
        self._entries = document.get(section)
        if section not in document:
            problems.append(f"the key {section!r} is missing{nearest(section, document)}")
        elif not isinstance(self._entries, list):
            problems.append(f"{section!r} must be a list, got {_kind(self._entries)}")

    def __iter__(self) -> Iterator[int]:
        """Step through the entries that are objects."""
        for index, entry in enumerate(self._entries if isinstance(self._entries, list) else []):
            self._index = index
            if isinstance(entry, dict):
                self.entry = entry
                yield index
            else:
                self.problems.append(f"{self.section}[{index}]: expected an object, got {_kind(entry)}")

    def problem(self, message: str) -> None:
        """Add a problem of the current entry."""
        number = self.entry.get("id")
        where = f" (id {number})" if type(number) is int else ""
        self.problems.append(f"{self.section}[{self._index}]{where}: {message}")

    def integer(self, key: str, *, least: int | None = None) -> int | None:
        """Return an integer, or None and a problem."""
        value = self._value(key)
        if type(value) is int and value in _INT64 and (least is None or value >= least):
            return value
        if value is not None or key in self.entry:
            bound = "" if least is None else f" of at least {least}"
            self.problem(f"{key!r} must be an integer{bound}, got {_kind(value)}")
        return None

    def text(self, key: str) -> str | None:
        """Return a non-empty string, or None and a problem."""
        value = self._value(key)
        if isinstance(value, str) and value:
            return value
        if value is not None or key in self.entry:
            self.problem(f"{key!r} must be a text, got {_kind(value)}")
        return None

    def point(self, key: str) -> list[float] | None:
        """Return a finite ``[x, y]``, or None and a problem."""
        value = self._value(key)
        if _is_point(value):
            return [float(value[0]), float(value[1])]
        if value is not None or key in self.entry:
            self.problem(f"{key!r} must be [x, y] with two finite numbers, got {_kind(value)}")
        return None

    def points(self, key: str) -> list[list[float]]:
        """Return an optional list of points; a problem for whatever else is there."""
        value = self.entry.get(key)
        if value is None:
            return []
        if not isinstance(value, list):
            self.problem(f"{key!r} must be a list of [x, y], got {_kind(value)}")
            return []
        for index, point in enumerate(value):
            if not _is_point(point):
                self.problem(f"{key}[{index}] must be [x, y] with two finite numbers, got {_kind(point)}")
        return [[float(point[0]), float(point[1])] for point in value if _is_point(point)]

    def extras(self) -> str:
        """Return the unknown keys of the entry as JSON, or an empty string."""
        return extras_json(self.entry, self.known, self.problem)

    def _value(self, key: str) -> Any:
        if key not in self.entry:
            self.problem(f"the key {key!r} is missing{nearest(key, set(self.entry) - self.known)}")
        return self.entry.get(key)


def extras_json(entry: dict[str, Any], known: frozenset[str], problem: Any) -> str:
    """Return the keys of an object that are not known as JSON, or an empty string.

    Args:
        entry: The object.
        known: Keys to leave out.
        problem: Called with a sentence if the rest holds a number that JSON cannot express.
    """
    if entry.keys() <= known:
        return ""
    extra = {key: value for key, value in entry.items() if key not in known}
    try:
        return json.dumps(extra, allow_nan=False, separators=(",", ":"))
    except ValueError:
        problem(f"one of the keys {', '.join(map(repr, extra))} holds a number that is not finite")
        return ""


def parse_extras(text: str) -> dict[str, Any]:
    """Return what :func:`extras_json` wrote as an object."""
    return json.loads(text) if text else {}


def _is_point(value: Any) -> bool:
    if not isinstance(value, list) or len(value) != 2:
        return False
    try:
        return all(type(number) in (int, float) and math.isfinite(number) for number in value)
    except OverflowError:
        return False


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, dict):
        return "an object"
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
