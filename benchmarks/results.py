"""Write docs/results.md from benchmarks/results/*.json; first add what benchmarks have measured.

python benchmarks/results.py [OUT ...]   # OUT: the --out of `sapnet bench`

Rows and seeds that OUT has not stay as they are, so a table can be measured in parts. A table of other data,
settings or defaults than the committed one is refused: remove the committed file first.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from sapnet.bench.bags import BAGS_NAME
from sapnet.bench.combining import OVERLAPS_NAME, Measured, combined, what_differs
from sapnet.bench.results_page import committed_name, results_page
from sapnet.data.atomic import write_json_atomic, write_text_atomic

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
OVERLAPS = RESULTS / "overlaps"
_SECONDS = "seconds per image"


def main(folders: list[str]) -> int:
    """Add and write.

    Args:
        folders: Where benchmarks have written to.

    Returns:
        The exit code: 2 if a table was refused.
    """
    OVERLAPS.mkdir(parents=True, exist_ok=True)
    refused = 0
    for folder in folders:
        for path in sorted(Path(folder).glob("*/bench.json")):
            content = read(path)
            if content["name"] == BAGS_NAME:
                add_bags(content)
            elif problem := table_added(path, content):
                refused += 1
                sys.stderr.write(f"{path}: not added: {problem}\n")
    write_text_atomic(ROOT / "docs" / "results.md", results_page(RESULTS))
    return 2 if refused else 0


def add_bags(content: dict[str, Any]) -> None:
    """Copy tables of bags; their paths and single figures stay where they were measured."""
    kept = {key: content[key] for key in ("name", "data", "every", "version")}
    tables = [without_seconds(table) for table in content["tables"]]
    write_json_atomic(RESULTS / committed_name(content), {**kept, "tables": tables}, indent=1)


def table_added(path: Path, content: dict[str, Any]) -> str | None:
    """Add a table to the committed one.

    Args:
        path: Of its ``bench.json``, beside which its overlaps lie.
        content: Of that file.

    Returns:
        Why not; None if it was added.
    """
    table = Measured(content, read(path.with_name(OVERLAPS_NAME)))
    name = committed_name(table.content)
    if (RESULTS / name).exists():
        committed = Measured(read(RESULTS / name), read(OVERLAPS / name))
        differing = what_differs(committed.content, table.content)
        if differing:
            return f"{', '.join(differing)} differ from {RESULTS / name}; remove that to replace it"
        table = combined(committed, table)
    write_json_atomic(OVERLAPS / name, table.overlaps)
    write_json_atomic(RESULTS / name, table.content, indent=1)
    sys.stdout.write(f"{path} -> {RESULTS.name}/{name}\n")
    return None


def read(path: Path) -> dict[str, Any]:
    """Read a JSON object."""
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def without_seconds(table: dict[str, Any]) -> dict[str, Any]:
    """Leave out a table's column of times, which `benchmarks/builtin_time.py` measures with more care."""
    kept = [i for i, name in enumerate(table["header"]) if name != _SECONDS]
    rows = [[row[i] for i in kept] for row in table["rows"]]
    note = table["note"] if len(kept) == len(table["header"]) else table["note"].partition(" Seconds:")[0]
    return table | {"header": [table["header"][i] for i in kept], "rows": rows, "note": note}


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
