"""Write docs/results.md from benchmarks/results/*.json; first copy what benchmarks have measured.

python benchmarks/results.py [OUT ...]   # OUT: the --out of `sapnet bench`
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from sapnet.bench.bags import BAGS_NAME
from sapnet.bench.results_page import committed_name, results_page
from sapnet.data.atomic import write_json_atomic, write_text_atomic

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
_SECONDS = "seconds per image"


def main(folders: list[str]) -> None:
    """Copy and write.

    Args:
        folders: Where benchmarks have written to.
    """
    RESULTS.mkdir(exist_ok=True)
    for folder in folders:
        for path in sorted(Path(folder).glob("*/bench.json")):
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["name"] == BAGS_NAME:  # its paths and single figures stay where they were measured
                content = {key: content[key] for key in ("name", "data", "every", "version")} | {
                    "tables": [without_seconds(table) for table in content["tables"]]
                }
            write_json_atomic(RESULTS / committed_name(content), content, indent=1)
            sys.stdout.write(f"{path} -> {RESULTS.name}/{committed_name(content)}\n")
    write_text_atomic(ROOT / "docs" / "results.md", results_page(RESULTS))


def without_seconds(table: dict[str, Any]) -> dict[str, Any]:
    """Leave out a table's column of times, which `benchmarks/builtin_time.py` measures with more care."""
    kept = [i for i, name in enumerate(table["header"]) if name != _SECONDS]
    rows = [[row[i] for i in kept] for row in table["rows"]]
    note = table["note"] if len(kept) == len(table["header"]) else table["note"].partition(" Seconds:")[0]
    return table | {"header": [table["header"][i] for i in kept], "rows": rows, "note": note}


if __name__ == "__main__":
    main(sys.argv[1:])
