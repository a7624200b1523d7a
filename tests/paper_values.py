"""The values that docs/algorithm.md says the paper gives."""

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]


def paper_column():
    """The settings whose value the paper gives: what it lacks altogether must be switched off."""
    text = (ROOT / "docs" / "algorithm.md").read_text(encoding="utf-8")
    values = {}
    for line in text.partition("## Settings")[2].partition("\n## ")[0].splitlines():
        row = re.match(r"\| `([\w.]+)`[^|]*\| ([^|]*) \|", line)
        if row and row[2] == "not there":
            values[row[1]] = 0
        elif row and (given := re.match(r"`([^`]+)`|([\d.]+)(?= |$)", row[2])):
            values[row[1]] = yaml.safe_load(given[1] or given[2])
    return values
