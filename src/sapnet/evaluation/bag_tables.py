"""Quality of bags as tables, for reports and as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_DEPTHS = {
    "top1": "top-1",
    "best_of_3": "best of 3",
    "best_of_6": "best of 6",
    "best_of_12": "best of 12",
    "oracle": "best of all",
}
_SIZES = ("small", "medium", "large")
Table = dict[str, Any]
"""``caption``, ``header``, ``rows`` (first cell the name, then words, numbers or None) and ``note``."""


def bag_tables(rows: Sequence[Mapping[str, Any]]) -> list[Table]:
    """Arrange measured rows in tables.

    Args:
        rows: Each with ``label``, ``points`` (which kind they are), ``quality`` as
            :func:`~sapnet.proposals.quality.bag_quality` gives it, and maybe ``seconds_per_image``,
            ``neighbours`` (the quality of some clicks alone) and ``every`` (n: only every n-th image was
            measured).

    Returns:
        For every kind of points: masks, masks by size, boxes, kinds of prompt, and the clicks with
        neighbours of their class where rows have them.
    """
    tables = []
    for kind, every in dict.fromkeys((row["points"], row.get("every", 1)) for row in rows):
        of_points = [row for row in rows if (row["points"], row.get("every", 1)) == (kind, every)]
        points = f"{kind} points" + (f", 1 image in {every}" if every > 1 else "")
        tables += [_masks(of_points, points), _by_size(of_points, points), _boxes(of_points, points)]
        tables.append(_kinds(of_points, points))
        pairs = [row for row in of_points if row.get("neighbours")]
        if pairs:
            tables.append(_neighbours(pairs, points))
    return tables


def as_markdown(tables: Sequence[Table]) -> str:
    """Return tables as Markdown.

    Args:
        tables: What :func:`bag_tables` made.
    """
    blocks = []
    for table in tables:
        lines = [f"### {table['caption']}", "", _line(table["header"])]
        lines.append(_line(["---"] * len(table["header"])))
        lines += [_line([_words(cell) for cell in row]) for row in table["rows"]]
        blocks.append("\n".join([*lines, *(["", table["note"]] if table["note"] else [])]))
    return "\n\n".join(blocks) + "\n"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _words(cell: Any) -> str:
    if cell is None:
        return "\N{EN DASH}"
    return f"{cell:.3f}" if isinstance(cell, float) else str(cell)


def new_table(caption: str, header: Sequence[str], rows: Sequence[Sequence[Any]], note: str = "") -> Table:
    """Return a table, for reports and for :func:`as_markdown`.

    Args:
        caption: What it shows.
        header: Names of the columns.
        rows: Their cells: words, numbers or None.
        note: Stands below it.
    """
    return {"caption": caption, "header": list(header), "rows": [list(row) for row in rows], "note": note}


def _clicks(rows: Sequence[Mapping[str, Any]], part: str = "quality") -> str:
    counts = {row[part]["all"]["clicks"] for row in rows}
    return f"{'/'.join(map(str, sorted(counts)))} clicks"


def _masks(rows: Sequence[Mapping[str, Any]], points: str) -> Table:
    header = ["Proposer", *_DEPTHS.values(), "best under 0.5", "per click", "seconds per image"]
    cells = []
    for row in rows:
        whole = row["quality"]["all"]
        figures = [whole["mask"][depth] for depth in _DEPTHS]
        more = [whole["below_half"], row["quality"]["proposals_per_click"], row.get("seconds_per_image")]
        cells.append([row["label"], *figures, *more])
    note = "Best under 0.5: share of clicks without a mask of IoU 0.5. Seconds: of the proposer alone."
    return new_table(f"Mask mIoU, {points} ({_clicks(rows)})", header, cells, note)


def _by_size(rows: Sequence[Mapping[str, Any]], points: str) -> Table:
    depths = ("top1", "best_of_3", "best_of_6", "best_of_12")
    counts = {size: rows[0]["quality"][size]["clicks"] for size in _SIZES}
    header = ["Proposer", *(_DEPTHS[depth] for depth in depths), "best under 0.5"]
    cells = []
    for row in rows:
        sizes = [row["quality"][size] for size in _SIZES]
        figures = [_abreast([figures["mask"][depth] for figures in sizes]) for depth in depths]
        cells.append([row["label"], *figures, _abreast([figures["below_half"] for figures in sizes])])
    words = " / ".join(f"{count} {size}" for size, count in counts.items())
    return new_table(f"Mask mIoU, small / medium / large, {points} ({words})", header, cells)


def _abreast(figures: Sequence[float | None]) -> str:
    return " / ".join(_words(figure) for figure in figures)


def _boxes(rows: Sequence[Mapping[str, Any]], points: str) -> Table:
    cells = [[row["label"], *(row["quality"]["all"]["box"][depth] for depth in _DEPTHS)] for row in rows]
    return new_table(f"Box mIoU, {points} ({_clicks(rows)})", ["Proposer", *_DEPTHS.values()], cells)


def _kinds(rows: Sequence[Mapping[str, Any]], points: str) -> Table:
    header = ["Proposer", "kind", "share of proposals", "share of top-1"]
    header += [f"{what} {depth}" for what in ("mask", "box") for depth in ("top-1", "best of all")]
    header.append("mask best of all, small / medium / large")
    cells = [
        [
            row["label"],
            kind,
            figures["share"],
            figures["share_of_top1"],
            *(figures["all"][what][depth] for what in ("mask", "box") for depth in ("top1", "oracle")),
            _abreast([figures[size]["mask"]["oracle"] for size in _SIZES]),
        ]
        for row in rows
        for kind, figures in row["quality"]["kinds"].items()
    ]
    note = "Each kind as if the bags held no other."
    return new_table(f"Kinds of prompt, {points} ({_clicks(rows)})", header, cells, note)


def _neighbours(rows: Sequence[Mapping[str, Any]], points: str) -> Table:
    depths = ("top1", "best_of_3", "best_of_6", "oracle")
    header = ["Proposer", *(_DEPTHS[depth] for depth in depths), "best under 0.5"]
    cells = [
        [
            row["label"],
            *(row["neighbours"]["all"]["mask"][depth] for depth in depths),
            row["neighbours"]["all"]["below_half"],
        ]
        for row in rows
    ]
    caption = f"Mask mIoU, {points} with another click of their class in the image"
    return new_table(f"{caption} ({_clicks(rows, 'neighbours')})", header, cells)
