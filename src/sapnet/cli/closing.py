"""What verbs say to people at their end."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

_LISTED_ITEMS = 8
_SIZES = ("all", "small", "medium", "large")
_LINES = (
    ("masks: top-1", "mask", "top1"),
    ("masks: best of 3", "mask", "best_of_3"),
    ("masks: best of 6", "mask", "best_of_6"),
    ("masks: best of 12", "mask", "best_of_12"),
    ("masks: best of all", "mask", "oracle"),
    ("boxes: top-1", "box", "top1"),
    ("boxes: best of all", "box", "oracle"),
)


def closing_lines(figures: dict[str, Any]) -> tuple[str, ...]:
    """Say where the results of a whole run are, and its headline figures.

    Args:
        figures: What ``pipeline.run`` returned; a process that is not the first returns nothing.
    """
    if "headline" not in figures:
        return ()
    headline = figures["headline"]
    lines = [f"{name:<7} {figures[name]}" for name in ("report", "model")]
    lines.append(f"labels  {figures['labels']['out']} ({figures['labels']['labels']} masks)")
    overlaps = {
        "this run's picks": headline["mask_miou_selected"],
        "highest proposer score": headline["mask_miou_top_score"],
        "best proposal": headline["mask_miou_oracle"],
    }
    if headline["mask_miou_selected"] is not None:
        known = [f"{name} {value:.3f}" for name, value in overlaps.items() if value is not None]
        lines.append("mask mIoU of the labels: " + ", ".join(known))
    if headline["AP"] is not None:
        lines.append(
            f"segmenter on the validation images: AP {headline['AP']:.3f}, AP50 {headline['AP50']:.3f}"
        )
    return tuple(lines)


def proposal_lines(figures: dict[str, Any]) -> tuple[str, ...]:
    """Say how good the bags of a store are; nothing of its own where they were not measured.

    Args:
        figures: What ``pipeline.propose`` returned.
    """
    quality = figures.get("quality")
    if quality is None:
        return ()
    others = {name: value for name, value in figures.items() if name != "quality"}
    lines = [*summary_lines(others), *_bag_lines(quality)]
    if quality["proposals_per_click"] is not None:
        lines.append(f"proposals per click: {quality['proposals_per_click']:.1f}")
    return tuple(lines)


def _bag_lines(quality: Mapping[str, Any]) -> Iterator[str]:
    """Yield the mean IoU of bags by size, then by kind of prompt, in columns."""
    yield _columns("mean IoU with the ground truth", _SIZES)
    yield _columns("  clicks", [str(quality[size]["clicks"]) for size in _SIZES])
    for name, what, depth in _LINES:
        yield _columns(f"  {name}", [_decimal(quality[size][what][depth]) for size in _SIZES])
    below = [_decimal(quality[size]["below_half"]) for size in _SIZES]
    yield _columns("  share with no mask of 0.5", below)
    for kind, figures in quality["kinds"].items():
        shares = (
            f"{_decimal(figures['share'])} of the proposals, {_decimal(figures['share_of_top1'])} of top-1"
        )
        yield f"  kind {kind}: {shares}"
        for name, what, depth in (_LINES[0], _LINES[4], _LINES[5], _LINES[6]):
            yield _columns(f"    {name}", [_decimal(figures[size][what][depth]) for size in _SIZES])


def bench_lines(figures: dict[str, Any]) -> tuple[str, ...]:
    """Show the tables of the experiment ``bags``, or how much of another table is there if not all.

    Args:
        figures: What ``pipeline.bench`` returned.
    """
    lines: list[str] = []
    planned = len(figures.get("planned", ()))
    if len(figures.get("rows", ())) < planned:
        return (*summary_lines(figures), f"{len(figures['rows'])} of {planned} rows are measured")
    for table in figures.get("tables", ()):
        cells = [[_cell(cell) for cell in row] for row in [table["header"], *table["rows"]]]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines += ["", table["caption"]]
        lines += [
            "  ".join(
                [row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))]
            )
            for row in cells
        ]
    return tuple(lines[1:])


def _columns(name: str, cells: Any) -> str:
    return f"{name:<32}" + "".join(f"{cell:>8}" for cell in cells)


def _decimal(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _cell(value: Any) -> str:
    return value if isinstance(value, str) else _decimal(value)


def plain(value: Any) -> Any:
    """Return a value with only what strict JSON knows; NaN and infinity become null.

    Args:
        value: Figures, maybe numpy's or torch's.
    """
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    if hasattr(value, "tolist"):  # numpy and torch numbers and arrays
        return plain(value.tolist())
    return str(value)


def _are_sentences(value: list[Any]) -> bool:
    """Texts that differ, as sentences do and the cells of a column (such as sizes of objects) do not."""
    return all(isinstance(item, str) for item in value) and len(set(value)) == len(value)


def summary_lines(figures: Any, prefix: str = "") -> Iterator[str]:
    """Yield one ``name: value`` line per figure.

    Args:
        figures: What a verb found; dicts may be nested.
        prefix: Of the names.
    """
    for key, value in plain(figures).items() if isinstance(figures, dict) else [("result", figures)]:
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            yield from summary_lines(value, f"{name}.")
        elif isinstance(value, list) and _are_sentences(value):
            yield from (f"{name}: {item}" for item in value)
        elif isinstance(value, list):
            more = f" ... ({len(value)} in all)" if len(value) > _LISTED_ITEMS else ""
            yield f"{name}: {json.dumps(value[:_LISTED_ITEMS])}{more}"
        elif isinstance(value, float):
            yield f"{name}: {value:.4g}"
        elif value is not None:
            yield f"{name}: {value}"
