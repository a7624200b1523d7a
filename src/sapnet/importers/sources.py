"""Opening foreign files safely, and typed values out of them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sapnet.errors import DataError, nearest

_INT64 = range(-(2**63), 2**63)


def read_text(path: Path) -> str:
    """Read a text file: UTF-8 with or without byte order mark, or UTF-16 with one.

    Raises:
        DataError: There is no such file, or it is no such text.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        names = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        raise DataError(str(path), [f"there is no such file{nearest(path.name, names)}"]) from error
    except IsADirectoryError as error:
        raise DataError(str(path), ["is a folder, expected a file"]) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(str(path), [f"cannot be read: {reason}"]) from error
    name = "UTF-16" if data[:2] in {b"\xff\xfe", b"\xfe\xff"} else "UTF-8"
    try:
        return data.decode("utf-8-sig" if name == "UTF-8" else name)
    except UnicodeDecodeError as error:
        raise DataError(str(path), [f"not {name} text (byte {error.start})"]) from error


def read_json_value(path: Path) -> Any:
    """Read a JSON file of any shape. An object in which a key occurs twice is refused.

    Numbers may come out as NaN or infinite; :func:`number` refuses those.

    Raises:
        DataError: There is no such file, or it is no usable JSON (with line and column).
    """
    return parse_json(read_text(path), str(path))


def parse_json(text: str, subject: str) -> Any:
    """Read JSON of any shape from a text, as :func:`read_json_value` does.

    Args:
        text: The JSON.
        subject: What to call it in messages.

    Raises:
        DataError: It is no usable JSON (with line and column).
    """
    try:
        return json.loads(text, object_pairs_hook=_without_repeated_keys)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        at_end = error.pos >= len(error.doc.rstrip()) or error.msg.startswith("Unterminated")
        cut = " (the file seems cut off)" if at_end else ""
        raise DataError(subject, [f"not valid JSON at {place}: {error.msg}{cut}"]) from error
    except RecursionError as error:
        raise DataError(subject, ["not usable JSON: nested too deeply"]) from error
    except ValueError as error:
        raise DataError(subject, [f"not usable JSON: {error}"]) from error


def number(value: Any) -> float | None:
    """Return a finite number as a float; None for everything else, also for texts and true/false."""
    if type(value) not in (int, float):
        return None
    try:
        result = float(value)
    except OverflowError:
        return None
    return result if math.isfinite(result) else None


def number_in_text(text: str) -> float | None:
    """Return the finite number that a text spells with ASCII digits and a point; None for everything else."""
    stripped = text.strip()
    if not stripped.isascii() or "_" in stripped or len(stripped) > 60:
        return None
    try:
        result = float(stripped)
    except ValueError:
        return None
    return result if math.isfinite(result) else None


def whole(value: Any) -> int | None:
    """Return an integer of at most 64 bits; None for everything else. 3.0 counts as 3."""
    if type(value) is float and value.is_integer() and abs(value) < 2**53:
        value = int(value)
    return value if type(value) is int and value in _INT64 else None


def side(value: Any) -> int | None:
    """Return a declared width or height: a positive integer below 2**31, else None."""
    result = whole(value)
    return result if result is not None and 0 < result < 2**31 else None


def text_of(value: Any) -> str | None:
    """Return a non-empty text that UTF-8 can express, without spaces around it; None for everything else."""
    if not isinstance(value, str) or not value.strip():
        return None
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return None
    return value.strip()


def shown(value: Any) -> str:
    """Return a short description of a value for a message."""
    if value is None:
        return "null"
    if isinstance(value, dict):
        return "an object"
    if type(value) is int and value not in _INT64:
        return "an integer of more than 64 bits"
    if isinstance(value, list):
        return f"a list of {len(value)}" if len(value) > 4 or any(map(_is_nested, value)) else str(value)
    result = ascii(value) if isinstance(value, str) and text_of(value) is None else repr(value)
    return result if len(result) <= 60 else f"{result[:57]}..."


def list_of(value: Any) -> list[Any]:
    """Return a list as it is, and an empty one for everything else."""
    return value if isinstance(value, list) else []


def object_of(value: Any) -> dict[str, Any]:
    """Return an object as it is, and an empty one for everything else."""
    return value if isinstance(value, dict) else {}


def _is_nested(value: Any) -> bool:
    return isinstance(value, dict | list | str) or (type(value) is int and value not in _INT64)


def _without_repeated_keys(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    given = list(pairs)
    result = dict(given)
    if len(result) < len(given):
        seen: set[str] = set()
        twice = next(key for key, _ in given if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {ascii(twice)[:60]} occurs twice in one object")
    return result
