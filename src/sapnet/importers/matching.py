"""Which file an image of a source is.

Tools rename, move and escape what they are given. A name is tried as a path in the image folder, then by
its base name, then by its base name without the eight hexadecimal digits that upload forms put in front.
Letters of another case, a missing ending, and the blanks and signs that uploads lose, are matched only in
doubt.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qs, unquote

from sapnet.errors import DataError, nearest
from sapnet.importers.sources import shown, text_of

_MANGLED = re.compile(r"^[0-9a-f]{8}-(?=.)")
_COMPARED_NAMES = 300_000
"""How many pairs of names are compared in all to suggest the nearest ones."""
_LISTED = 4


class Match(NamedTuple):
    """The file that a name means."""

    file: str | None
    """Path below the image folder with forward slashes; None where there is no such file, or several."""
    text: str = ""
    """Why there is none, or why the match is in doubt; empty where all is well."""


class ImageFolder:
    """The files of a folder and below it, found by the names that tools give them.

    Args:
        path: The folder.

    Raises:
        DataError: There is no such folder.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_dir():
            raise DataError(str(path), ["there is no such image folder"])
        self.path = path
        self.files = tuple(sorted(filter(text_of, _files_below(path))))
        self._known = frozenset(self.files)
        self._comparisons = 0
        self._indexes: dict[Callable[[str], str], dict[str, list[str]]] = {}

    def match(self, name: str) -> Match:
        """Find the file of a name: a path, a URL, or what a tool made of one of those."""
        spellings = list(_spellings(name))
        for spelling in spellings:
            if spelling in self._known:
                return Match(spelling)
        for spell in (_base, _unmangled):
            found = self._unique(spellings, _base, spell)
            if found is not None:
                return found
        for key, text in (
            (_folded_base, "only letters of another case match"),
            (_stem, "only the ending fits not"),
            (_web_name, "only without blanks and signs, as uploads are stored, the name matches"),
        ):
            for spell in (_base, _unmangled):
                found = self._unique(spellings, key, spell)
                if found is not None:
                    return Match(found.file, found.text or f"{text}: taken to be {found.file}")
        return Match(None, f"there is no such image in {self.path}{self._hint(spellings[-1])}")

    def _unique(
        self, spellings: list[str], key: Callable[[str], str], spell: Callable[[str], str]
    ) -> Match | None:
        index = self._index(key)
        for spelling in spellings:
            last = spell(spelling)
            if key is _stem and "." in last[-5:]:
                continue
            candidates = index.get(key(last), [])
            if not candidates:
                continue
            best = longest_common_tails(spelling, candidates)
            if len(best) == 1:
                return Match(best[0])
            more = ", ..." if len(best) > _LISTED else ""
            listed = ", ".join(best[:_LISTED])
            return Match(None, f"may be any of {len(best)} files: {listed}{more}")
        return None

    def _index(self, key: Callable[[str], str]) -> dict[str, list[str]]:
        if key not in self._indexes:
            index = defaultdict(list)
            for file in self.files:
                index[key(_base(file))].append(file)
            self._indexes[key] = dict(index)
        return self._indexes[key]

    def _hint(self, name: str) -> str:
        self._comparisons += len(self.files)
        if self._comparisons > _COMPARED_NAMES and self._comparisons > len(self.files):
            return ""
        return nearest(name, self.files) or nearest(_base(name), map(_base, self.files))


def describe_name(name: str) -> str:
    """Return the name of an image as it is shown in messages."""
    return name if text_of(name) == name and len(name) <= 200 else shown(name)


def _spellings(name: str) -> Iterable[str]:
    """Yield what a name may mean: as it is, with forward slashes, from a URL's query, without escapes."""
    found: dict[str, None] = {}
    path, _, query = name.partition("?")
    named = parse_qs(query) if query else {}
    candidates = [name, *(value for key in ("d", "filepath") for value in named.get(key, [])), path]
    for candidate in candidates:
        for text in (candidate, candidate.replace("\\", "/"), unquote(candidate).replace("\\", "/")):
            parts = [part for part in text.split("/") if part not in {"", "."}]
            found["/".join(parts)] = None
    return found


def _base(path: str) -> str:
    return path.rsplit("/", 1)[-1]


def _unmangled(path: str) -> str:
    return _MANGLED.sub("", _base(path))


def _folded_base(name: str) -> str:
    return unicodedata.normalize("NFC", _base(name)).casefold()


def _web_name(name: str) -> str:
    """The name under which web tools store an upload: blanks become ``_``, signs go (Django's rule)."""
    return re.sub(r"[^-\w.]", "", unicodedata.normalize("NFC", _base(name)).strip().replace(" ", "_"))


def _stem(name: str) -> str:
    stem, dot, _ = name.rpartition(".")
    return stem if dot else name


def longest_common_tails(name: str, candidates: list[str]) -> list[str]:
    """Keep the candidates that share the most folders with a name, counted from the end.

    Args:
        name: A path with ``/``.
        candidates: Paths with ``/`` and the same last part.

    Returns:
        Those that agree with the name in the most folders before it, in their order.
    """
    if len(candidates) == 1:
        return candidates
    wanted = name.split("/")[-2::-1]

    def shared(candidate: str) -> int:
        folders = candidate.split("/")[-2::-1]
        same = [ours == theirs for ours, theirs in zip(wanted, folders, strict=False)]
        return same.index(False) if False in same else len(same)

    counts = [shared(candidate) for candidate in candidates]
    return [item for item, count in zip(candidates, counts, strict=True) if count == max(counts)]


def _files_below(folder: Path) -> Iterable[str]:
    """Yield every file as a path with forward slashes; linked folders are followed once."""
    visited: set[str] = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in visited:
            folders.clear()
            continue
        visited.add(real)
        folders[:] = sorted(item for item in folders if not item.startswith("."))
        relative = os.path.relpath(place, folder).replace(os.sep, "/")
        prefix = "" if relative == "." else f"{relative}/"
        yield from (prefix + name for name in names)
