"""The head of ``docs/results.md``: what all tables say together, and how much of each is measured."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from sapnet.bench.rows import SEGMENTER_SEEDS, Row, Source
from sapnet.evaluation.bag_tables import Table, as_markdown, new_table
from sapnet.evaluation.bench_tables import cell, label_seeds

Contents = Mapping[tuple[str, str, Source], Mapping[str, Any]]
"""``bench.json`` of every table that is measured, by experiment, data and source."""
Planned = Sequence[tuple[str, str, Source, Sequence[Row]]]
"""Experiment, data, source and rows of every table that there is to measure."""

_SEEDS = 3
_LABELS = ("SAM-top1", "paper", "default", "best proposal")
_SHARES = ("paper", "default")
_SEGMENTERS = ("stages", "schedule", "retrain")
_PRECISIONS = ("AP", "AP50", "AP of full", "AP50 of full")
_SAME_LABELS = dict.fromkeys(("SAPNet", "SAPNet's labels"), "SAPNet, two-stage")
_LABELS_NOTE = (
    "`paper` is the paper's form of every step (`-c paper`). Share closed: of the distance from the highest "
    "proposer score (SAM-top1) to the best proposal. Tables `presets`."
)
_SEGMENTERS_NOTE = (
    "Of full: the share of the same segmenter's AP that was trained as long on ground truth, seed by seed. "
    "Tables `stages`, `schedule` and `retrain`; cells without ± are of one seed."
)
_COUNTS_NOTE = (
    "A figure is a row with a seed: three seeds for labels, two for AP and for the labels of rows trained "
    "end to end. AP is wanted of the first, the last and the decisive rows."
)


def overview(contents: Contents, planned: Planned, names: Mapping[str, str]) -> str:
    """Write the head.

    Args:
        contents: What is measured.
        planned: What there is to measure.
        names: Of the sources, for people.

    Returns:
        Markdown: labels side by side, segmenters side by side, and every table with a link and the number
        of its figures.
    """
    tables = [_labels(contents, names), _segmenters(contents, names), _counts(contents, planned, names)]
    return "## In short\n\n" + as_markdown([table for table in tables if table["rows"]])


def _labels(contents: Contents, names: Mapping[str, str]) -> Table:
    rows = []
    for (experiment, data, source), content in contents.items():
        if experiment != "presets":
            continue
        measured = {row["label"]: row for row in content["rows"]}
        figures = [cell(measured.get(label), "mask mIoU", len(content["seeds"])) for label in _LABELS]
        shares = [cell(measured.get(label), "share closed", len(content["seeds"])) for label in _SHARES]
        rows.append([f"{data}, {names[source]}", *figures, *shares])
    header = ["mask mIoU", *_LABELS, *(f"share closed, {label}" for label in _SHARES)]
    return new_table("Labels", header, rows, _LABELS_NOTE)


def _segmenters(contents: Contents, names: Mapping[str, str]) -> Table:
    rows: dict[tuple[str, ...], list[str]] = {}
    for (experiment, data, source), content in contents.items():
        for row in content["rows"] if experiment in _SEGMENTERS else ():
            if "AP of full" not in row["metrics"] or row["labels"] == "truth":
                continue
            epochs = content["segmenter_epochs"] * row["longer"]
            network = "Mask R-CNN" if row["segmenter"] == "mask-rcnn" else "SOLOv2"
            trained_on = _trained_on(row)
            key = (data, source, network, str(epochs), trained_on)
            seeds = len(row["metrics"]["AP"]["values"])
            figures = [cell(row, name, seeds) for name in _PRECISIONS]
            # Of what several tables have, the first says it: they found the same training.
            rows.setdefault(key, [f"{data}, {names[source]}", network, str(epochs), trained_on, *figures])
    header = ["", "network", "epochs", "learns from", *_PRECISIONS]
    return new_table("Segmenters", header, list(rows.values()), _SEGMENTERS_NOTE)


def _trained_on(row: Mapping[str, Any]) -> str:
    """What a row's network learns from, in the words that ``stages`` has for it."""
    words = re.sub(r"^Mask R-CNN on |, \d+ times as long$", "", row["label"])
    return _SAME_LABELS.get(words, words)


def _counts(contents: Contents, planned: Planned, names: Mapping[str, str]) -> Table:
    cells = []
    for experiment, data, source, rows in planned:
        content = contents.get((experiment, data, source), {"rows": []})
        measured = {row["label"]: row["metrics"] for row in content["rows"]}
        segmenter_seeds = content.get("segmenter_seeds", SEGMENTER_SEEDS)
        labelled = [row for row in rows if row.labels != "truth"]
        judged = [row for row in rows if row.segmenter != "none"]
        labels = [
            (_values(measured, row, "mask mIoU"), label_seeds(row.labels, _SEEDS, segmenter_seeds))
            for row in labelled
        ]
        precisions = [(_values(measured, row, "AP"), segmenter_seeds) for row in judged]
        title = f"{experiment}, {data}, {names[source]}"
        cells.append([f"[{title}](#{_anchor(title)})", _of(labels), _of(precisions)])
    header = ["table", "figures of labels", "figures of AP"]
    return new_table("Tables, and how much of them is measured", header, cells, _COUNTS_NOTE)


def _values(measured: Mapping[str, Any], row: Row, name: str) -> int:
    return len(measured.get(row.label, {}).get(name, {"values": []})["values"])


def _of(counts: Sequence[tuple[int, int]]) -> str:
    done, wanted = (sum(min(pair) for pair in counts), sum(pair[1] for pair in counts))
    return "all" if done == wanted else f"{done} of {wanted}"


def _anchor(title: str) -> str:
    """The name that GitHub gives to a heading."""
    kept = "".join(sign for sign in title.lower() if sign.isalnum() or sign in " -")
    return kept.replace(" ", "-")
