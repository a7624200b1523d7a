"""The tables of a benchmark that trains, for reports and as Markdown (``bag_tables.as_markdown``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sapnet.evaluation.bag_tables import Table, new_table

MISSING = "not measured"
NOT_WANTED = "\N{EN DASH}"
_OVERLAP = "mask mIoU"
_ALWAYS = (_OVERLAP, "share closed", "box mIoU", "Gap")
_PRECISIONS = ("AP", "AP50", "AP75", "AP of full", "AP50 of full")
_DIGITS = dict.fromkeys(_PRECISIONS[:3], 4)
"""Decimals of figures that differ by less than a thousandth from row to row."""
_SIZES = ("small", "medium", "large")
_KINDS = ("part", "whole", "group")
_NOTE = (
    "Mean over seeds ± sample deviation. Differences are paired (same seeds, same images), with the interval "
    "of 95 % of 10,000 bootstrap draws of the images. Share closed: of the distance from the highest "
    "proposer score to the best proposal. Labels of rows trained end to end are of the seeds that AP is of."
)


def bench_tables(
    content: Mapping[str, Any], planned: Sequence[tuple[str, bool]] | None = None
) -> list[Table]:
    """Arrange the rows of a benchmark in tables.

    Args:
        content: Of its ``bench.json``: ``name``, ``data``, ``source``, ``simulated``, ``seeds``,
            ``segmenter_seeds`` and ``rows`` as ``bench.summary.table_rows`` makes them.
        planned: Label of every row that the table shall have, and whether AP is wanted of it; rows and
            figures that are missing say so. None: the rows that are there.

    Returns:
        ``caption``, ``header``, ``rows`` (cells are text) and ``note`` of: labels, their sizes,
        differences, which kinds were picked from simulated bags, and segmenters where AP is wanted of
        any row.
    """
    measured = {row["label"]: row for row in content["rows"]}
    rows = planned or [(label, row["segmenter"] != "none") for label, row in measured.items()]
    words = ", simulated proposals" if content["simulated"] else f", proposals: {content['source']}"
    title = f"{content['name']} on {content['data']}{words}"

    seeds = {
        label: label_seeds(row["labels"], len(content["seeds"]), content["segmenter_seeds"])
        for label, row in measured.items()
    }

    def figures(names: Sequence[str]) -> list[list[str]]:
        return [
            [label, *(cell(measured.get(label), name, seeds.get(label, 0)) for name in names)]
            for label, _ in rows
        ]

    tables: list[Table] = [
        new_table(f"Labels, {title}", ["", *_ALWAYS], figures(_ALWAYS), _NOTE),
        new_table(f"Mask mIoU of the labels by size, {title}", ["", *_SIZES], figures(_SIZES)),
        new_table(
            f"Differences of the labels' mask mIoU, {title}",
            ["", "to the row above", "to the first row"],
            [[label, *_differences(measured.get(label), seeds.get(label, 0))] for label, _ in rows],
        ),
    ]
    if any(kind in row["metrics"] for row in measured.values() for kind in _KINDS):
        tables.append(
            new_table(f"What was picked, share of the picks, {title}", ["", *_KINDS], figures(_KINDS))
        )
    wanted = [label for label, with_precision in rows if with_precision]
    if wanted and content["segmenter_seeds"]:
        tables.append(_segmenters(wanted, measured, content, title))
    return tables


def label_seeds(labels: str, seeds: int, segmenter_seeds: int) -> int:
    """Return with how many seeds the labels of a row are measured.

    Args:
        labels: How they are chosen, as rows of a benchmark say it.
        seeds: Of a selection that is trained alone.
        segmenter_seeds: Of AP, whose training chooses the labels of a row that is trained end to end.
    """
    return min(seeds, max(1, segmenter_seeds)) if labels == "end-to-end" else seeds


def _segmenters(
    wanted: Sequence[str], measured: Mapping[str, Any], content: Mapping[str, Any], title: str
) -> Table:
    full = any("AP of full" in row["metrics"] for row in measured.values())
    names = _PRECISIONS if full else _PRECISIONS[:3]
    cells = [
        [
            label,
            *(cell(measured.get(label), name, content["segmenter_seeds"], MISSING) for name in names),
            _precision_difference(measured.get(label)),
        ]
        for label in wanted
    ]
    caption = f"Segmenters, {title} ({content['validation_images']} validation images, "
    caption += f"{content['segmenter_epochs']} epochs)"
    return new_table(caption, ["", *names, "AP, to the first row"], cells)


def cell(row: Mapping[str, Any] | None, name: str, seeds: int, absent: str = NOT_WANTED) -> str:
    """Return mean and spread, and the number of seeds where it is not that of the table.

    Args:
        row: Of a ``bench.json``; None: not measured.
        name: Of the figure.
        seeds: How many are wanted.
        absent: What stands for a figure that the row has not.
    """
    if row is None:
        return MISSING
    found = row["metrics"].get(name)
    if found is None or found["mean"] is None:
        return absent
    count = len(found["values"])
    digits = _DIGITS.get(name, 3)
    words = f"{found['mean']:.{digits}f}" + (f" ± {found['spread']:.{digits}f}" if count > 1 else "")
    return _of_seeds(words, count, seeds)


def _of_seeds(words: str, count: int, seeds: int) -> str:
    return words if count == seeds else f"{words} ({count} of {seeds} seeds)"


def _differences(row: Mapping[str, Any] | None, seeds: int) -> list[str]:
    if row is None:
        return [MISSING, MISSING]
    return [_interval(row["differences"].get(key), seeds) for key in ("above", "first")]


def _interval(difference: Mapping[str, Any] | None, seeds: int) -> str:
    found = None if difference is None else difference.get(_OVERLAP)
    if found is None:
        return NOT_WANTED
    words = f"{found['mean']:+.3f} [{found['low']:+.3f}, {found['high']:+.3f}]"
    return _of_seeds(words, len(found["values"]), seeds)


def _precision_difference(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return MISSING
    found = row["differences"].get("first", {}).get("AP")
    if found is None:
        return NOT_WANTED
    return f"{found['mean']:+.4f}" + (f" ± {found['spread']:.4f}" if len(found["values"]) > 1 else "")
