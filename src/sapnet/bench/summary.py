"""From the figures of rows and seeds to the rows of a table: means, spreads and paired differences."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from sapnet.bench.paired import ImageSums, paired_difference
from sapnet.bench.rows import Row, Source

OVERLAP, PRECISIONS = "mask mIoU", ("AP", "AP50", "AP75")
_COMPARED = ("AP of full", "AP50 of full")


@dataclass
class RowResults:
    """What is known of a row by now."""

    row: Row
    source: Source
    figures: dict[int, dict[str, Any]] = field(default_factory=dict)
    """Figures by seed, then by name."""
    images: dict[int, ImageSums] = field(default_factory=dict)
    """Overlaps of the labels by seed; empty of ground truth."""
    clicks: int | None = None
    kept: list[str] = field(default_factory=list)
    """Folders of the figures."""
    commits: list[str] = field(default_factory=list)
    """Of the code that measured them."""

    @property
    def simulated(self) -> bool:
        """Whether the row's proposals come from ground truth, but are not it."""
        return (self.row.source or self.source) == "simulated"


def table_rows(results: Sequence[RowResults]) -> list[dict[str, Any]]:
    """Make the rows of ``bench.json``.

    Args:
        results: All rows so far, in order.

    Returns:
        Per row of which anything is known: ``label``, ``group``, ``labels``, ``segmenter`` and ``longer``
        (how they were made), ``simulated``, ``clicks``, ``metrics`` (name to ``mean``, ``spread`` and
        ``values`` by seed; of AP also the share of that of ground truth which was trained as long),
        ``differences`` (``above`` and ``first``: ``of`` and, of the mask mIoU and of AP, the difference),
        ``kept``.
    """
    return [
        {
            "label": item.row.label,
            "group": item.row.group,
            "labels": item.row.labels,
            "segmenter": item.row.segmenter,
            "longer": item.row.longer,
            "simulated": item.simulated,
            "clicks": item.clicks,
            "metrics": _metrics(item, _full_supervision(item, results)),
            "differences": _differences(results, place),
            "kept": item.kept,
        }
        for place, item in enumerate(results)
        if item.figures
    ]


def _full_supervision(item: RowResults, results: Sequence[RowResults]) -> RowResults | None:
    """The row of ground truth that trained as long."""
    found = (
        other for other in results if other.row.labels == "truth" and other.row.longer == item.row.longer
    )
    return next(found, None)


def figures_of(row: Mapping[str, Any], *names: str) -> dict[int, dict[str, float]]:
    """Return what was measured of a row of ``bench.json``, which ``table_rows`` makes again from it.

    Args:
        row: Of the table.
        *names: Only these figures; none: all that are no comparison with another row.

    Returns:
        Figures by seed, then by name.
    """
    found: dict[int, dict[str, float]] = {}
    for name, summary in row["metrics"].items():
        if name in names if names else name not in _COMPARED:
            for seed, value in zip(summary["seeds"], summary["values"], strict=True):
                found.setdefault(seed, {})[name] = value
    return found


def _metrics(item: RowResults, full: RowResults | None) -> dict[str, Any]:
    names = list(dict.fromkeys(name for figures in item.figures.values() for name in figures))
    found = {
        name: _summary({seed: figures.get(name) for seed, figures in item.figures.items()}) for name in names
    }
    if full is None or "AP" not in found:
        return found
    for name, share in zip(PRECISIONS[:2], _COMPARED, strict=True):
        shares = {
            seed: figures[name] / best
            for seed, figures in item.figures.items()
            if figures.get(name) is not None and (best := full.figures.get(seed, {}).get(name))
        }
        if shares:
            found[share] = _summary(shares)
    return found


def _summary(values: Mapping[int, float | None]) -> dict[str, Any]:
    """Mean, spread (sample deviation) and values by seed; seeds without a figure are left out."""
    present = {seed: value for seed, value in values.items() if value is not None}
    return {
        "mean": statistics.fmean(present.values()) if present else None,
        "spread": statistics.stdev(present.values()) if len(present) > 1 else 0.0,
        "values": list(present.values()),
        "seeds": list(present),
    }


def _differences(results: Sequence[RowResults], place: int) -> dict[str, Any]:
    """Against the row above of the group, and against the first row."""
    item, found = results[place], {}
    if place == 0:
        return {}
    # A row of which nothing is known is not in the table either.
    above = next((other for other in reversed(results[:place]) if other.figures), results[0])
    if above.row.group == item.row.group:
        found["above"] = _difference(item, above)
    found["first"] = _difference(item, results[0])
    return found


def _difference(item: RowResults, other: RowResults) -> dict[str, Any]:
    found: dict[str, Any] = {"of": other.row.label}
    overlap = paired_difference(item.images, other.images)
    if overlap is not None:
        found[OVERLAP] = {**asdict(overlap), "values": list(overlap.values)}
    for name in PRECISIONS[:2]:
        values = {
            seed: figures[name] - theirs
            for seed, figures in item.figures.items()
            if figures.get(name) is not None and (theirs := other.figures.get(seed, {}).get(name)) is not None
        }
        if values:
            found[name] = _summary(values)
    return found
