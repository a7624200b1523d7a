"""The report of a benchmark: means, spreads and paired differences over seeds, or the tables of ``bags``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sapnet.errors import InputError
from sapnet.evaluation.bench_tables import bench_tables
from sapnet.report.bags import Section, benchmark_sections, drawn_tables
from sapnet.report.figures import bar_chart
from sapnet.report.markup import NOTHING, section, table
from sapnet.report.pictures import Album
from sapnet.report.run_contents import read_object

BENCH_FILE = "bench.json"
FORMATS = (2, 3)
"""Of benchmarks with paired differences (``sapnet.bench``); 3 has ``commits`` and ``planned``."""


def bench_sections(folder: Path) -> tuple[str, list[Section]]:
    """Return title and sections of a benchmark folder.

    Args:
        folder: Holds ``bench.json``: ``name``, ``rows`` (each ``label`` and ``metrics``: name to
            ``mean``, ``spread``, ``values``), and anything else worth recording. ``simulated`` or
            ``proposer: simulated``, of the benchmark or of a row, marks simulated proposals. With
            ``tables`` it is the experiment ``bags``; with ``format`` it has all that
            ``evaluation.bench_tables`` shows.

    Raises:
        InputError: The file is damaged or has no rows.
    """
    content, problem = read_object(folder / BENCH_FILE)
    if problem is not None:
        raise InputError(str(folder / BENCH_FILE), [problem])
    rows = content.get("rows") if isinstance(content, Mapping) else None
    if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
        raise InputError(str(folder / BENCH_FILE), ["expected an object with a list under 'rows'"])
    name = str(content.get("name", folder.name))
    if "tables" in content:
        return f"Benchmark {name} on {content['data']}", benchmark_sections(content, Album())
    if content.get("format") in FORMATS:
        title = f"Benchmark {name} on {content['data']}, proposals: {content['source']}"
        return title, _paired_sections(content, rows)
    words = ", simulated proposals" if _simulated(content) else ""
    metrics = list(dict.fromkeys(key for row in rows for key in row.get("metrics", {})))
    table_rows = [
        [_label(row, content), *(_cell(row.get("metrics", {}).get(metric)) for metric in metrics)]
        for row in rows
    ]
    note = "Mean over seeds, plus or minus the spread; the number of seeds in brackets."
    parts: list[object] = [table(f"{name}{words}", ["", *metrics], table_rows, note=note)]
    parts += [
        bar_chart(f"{metric}{words}", bars, largest=_largest(bars), distinct=False)
        for metric in metrics[:2]
        if (bars := _bars(rows, content, metric))
    ]
    sections: list[Section] = [("results", "Results", section("results", f"Results{words}", *parts))]
    return f"Benchmark {name}", [*sections, *_record(content)]


def _paired_sections(content: Mapping[str, Any], rows: list[Mapping[str, Any]]) -> list[Section]:
    """The tables of a benchmark with paired differences, and charts of its first figures."""
    charts = [
        bar_chart(f"{metric} of {what}", bars, largest=_largest(bars), distinct=False)
        for metric, what in (("mask mIoU", "the labels"), ("AP", "segmenters"))
        if (bars := _bars(rows, content, metric))
    ]
    tables = drawn_tables(bench_tables(content))
    results = section("results", "Results", *tables[:1], *charts, *tables[1:])
    return [("results", "Results", results), *_record(content)]


def _record(content: Mapping[str, Any]) -> list[Section]:
    other = [[key, str(value)] for key, value in content.items() if key not in ("name", "rows")]
    if not other:
        return []
    record = table("Record of the benchmark", ["", "Value"], other)
    return [("settings", "What was run", section("settings", "What was run", record))]


def _simulated(content: Mapping[str, Any]) -> bool:
    return bool(content.get("simulated")) or content.get("proposer") == "simulated"


def _label(row: Mapping[str, Any], bench: Mapping[str, Any]) -> str:
    label = str(row.get("label", NOTHING))
    return f"{label} (simulated)" if _simulated(row) and not _simulated(bench) else label


def _cell(value: Any) -> str | None:
    if not isinstance(value, Mapping) or value.get("mean") is None:
        return None
    spread, seeds = value.get("spread"), len(value.get("values") or [])
    words = f"{value['mean']:.3f}"
    if spread is not None and seeds > 1:
        words += f" ± {spread:.3f}"
    return f"{words} ({seeds})" if seeds else words


def _bars(
    rows: list[Mapping[str, Any]], bench: Mapping[str, Any], metric: str
) -> list[tuple[str, float | None, str]]:
    known = [(row, (row.get("metrics", {}).get(metric) or {}).get("mean")) for row in rows]
    return [(_label(row, bench), mean, f"{mean:.3f}") for row, mean in known if mean is not None]


def _largest(bars: list[tuple[str, float | None, str]]) -> float:
    return max((value or 0.0 for _, value, _ in bars), default=0.0) or 1.0
