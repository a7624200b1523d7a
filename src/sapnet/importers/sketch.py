"""What can be seen of a source at a glance."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

from sapnet.errors import DataError
from sapnet.importers.sources import read_json_value

_HEAD_BYTES = 65536
_LISTED_FILES = 1000


@dataclass(frozen=True, eq=False)
class Sketch:
    """What can be seen of a source at a glance; what a sniffing function decides by."""

    path: Path

    @property
    def suffix(self) -> str:
        """The file name's ending in small letters, with its dot; empty for a folder."""
        return "" if self.is_folder else self.path.suffix.lower()

    @cached_property
    def is_folder(self) -> bool:
        """Whether the source is a folder."""
        return self.path.is_dir()

    @cached_property
    def members(self) -> tuple[Path, ...]:
        """The first files in a folder and below it, sorted; none for a file."""
        if not self.is_folder:
            return ()
        return tuple(sorted(islice((item for item in self.path.rglob("*") if item.is_file()), _LISTED_FILES)))

    @cached_property
    def first_file(self) -> Path | None:
        """The file itself; of a folder its first JSON file."""
        if not self.is_folder:
            return self.path
        return next((item for item in self.members if item.suffix.lower() == ".json"), None)

    @cached_property
    def head(self) -> str:
        """The first 64 KB of :attr:`first_file`; what is no UTF-8 replaced."""
        if self.first_file is None:
            return ""
        try:
            with self.first_file.open("rb") as stream:
                return stream.read(_HEAD_BYTES).decode("utf-8-sig", "replace")
        except OSError:
            return ""

    @cached_property
    def document(self) -> Any:
        """The JSON of :attr:`first_file`; None where that is no JSON."""
        if self.first_file is None or self.first_file.suffix.lower() in {".csv", ".tsv", ".xml", ".zip"}:
            return None
        try:
            return read_json_value(self.first_file)
        except DataError:
            return None

    @property
    def keys(self) -> frozenset[str]:
        """The top-level keys of :attr:`document`; empty where that is no object."""
        return frozenset(self.document) if isinstance(self.document, dict) else frozenset()

    @property
    def first_entry(self) -> Any:
        """The first entry of :attr:`document` where that is a list, else None."""
        return self.document[0] if isinstance(self.document, list) and self.document else None

    def trouble(self) -> list[str]:
        """Return why a file that should be JSON could not be read; empty where that is not the matter."""
        if self.first_file is None:
            return ["there is no JSON file in the folder"]
        if self.first_file.suffix.lower() != ".json" or self.document is not None:
            return []
        try:
            read_json_value(self.first_file)
        except DataError as error:
            return [f"{self.first_file.name}: {problem}" for problem in error.problems]
        return []
