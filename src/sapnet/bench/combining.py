"""One table from what was measured of it in several folders: other rows, other seeds, on other machines.

A whole table takes hours; a machine may be gone before it is whole. Figures of every row and seed are
numbers, and paired differences need the overlaps of every image besides, which lie beside ``bench.json``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sapnet.bench.paired import kept_image_sums
from sapnet.bench.rows import Row, Source
from sapnet.bench.summary import OVERLAP, RowResults, figures_of, table_rows

OVERLAPS_NAME = "overlaps.json"
_SAME = (
    "format",
    "name",
    "data",
    "source",
    "clicks",
    "images",
    "validation_images",
    "segmenter_epochs",
    "settings",
    "settings_digest",
    "digests",
)
"""What two measurements must have in common to be of one table."""


@dataclass(frozen=True)
class Measured:
    """A table, as far as it is measured."""

    content: Mapping[str, Any]
    """Of ``bench.json``."""
    overlaps: Mapping[str, Any]
    """Of ``overlaps.json``, as ``overlaps_of`` makes it; of rows whose overlaps are lost it has nothing."""


def overlaps_of(results: Sequence[RowResults]) -> dict[str, Any]:
    """Make ``overlaps.json``: the overlaps of the labels of every image, by row and seed.

    Args:
        results: All rows so far.

    Returns:
        ``images``: sets of images, each with ``image_id`` and ``objects`` (how many were judged), and
        ``rows``: by label, then by seed as text, ``images`` (which of the sets) and ``overlap`` (sum of the
        mask IoU of an image's objects).
    """
    sets: list[dict[str, list[int]]] = []
    rows: dict[str, dict[str, Any]] = {}
    for item in results:
        for seed, sums in item.images.items():
            images = {"image_id": sums.image_ids.tolist(), "objects": sums.objects.tolist()}
            if images not in sets:
                sets.append(images)
            found = {"images": sets.index(images), "overlap": sums.sums.round(4).tolist()}
            rows.setdefault(item.row.label, {})[str(seed)] = found
    return {"images": sets, "rows": rows}


def what_differs(earlier: Mapping[str, Any], later: Mapping[str, Any]) -> list[str]:
    """Name what keeps two measurements from being of one table.

    Args:
        earlier: Content of a ``bench.json``.
        later: Content of another one.

    Returns:
        Names of the differing entries; empty if the two can be combined.
    """
    return [name for name in _SAME if _but_for_seed(earlier.get(name)) != _but_for_seed(later.get(name))]


def _but_for_seed(value: Any) -> Any:
    """Settings without the first seed, which says what was measured, not of which table."""
    return {key: value[key] for key in value if key != "seed"} if isinstance(value, Mapping) else value


def combined(earlier: Measured, later: Measured) -> Measured:
    """Put two measurements of one table together.

    A row with one seed that both have is the later one's. A difference is that over the seeds whose
    overlaps are at hand, or the earlier one's where that is over more seeds.

    Args:
        earlier: One measurement.
        later: Another, with nothing of ``what_differs``; its plan says which rows there are, in which order.

    Returns:
        The table. ``commits`` of its content has the commits of all measurements, earlier ones first.
    """
    results = []
    for label in later.content["planned"]:
        rows = [(part, row) for part in (earlier, later) for row in _rows(part, label)]
        if rows:
            results.append(_merged(later.content, rows))
    most = max(later.content, earlier.content, key=lambda content: len(content["seeds"]))  # later, if as many
    content = {
        **later.content,
        **{name: most[name] for name in ("command", "settings")},
        "seeds": sorted({*earlier.content["seeds"], *later.content["seeds"]}),
        "segmenter_seeds": max(part.content["segmenter_seeds"] for part in (earlier, later)),
        "commits": list(dict.fromkeys([*earlier.content["commits"], *later.content["commits"]])),
        "rows": table_rows(results),
    }
    for row in content["rows"]:
        for part in (later, earlier):
            _keep_differences_of_more_seeds(row, _rows(part, row["label"]))
    return Measured(content, overlaps_of(results))


def _rows(part: Measured, label: str) -> list[Mapping[str, Any]]:
    """The row of a label, if it is measured."""
    return [row for row in part.content["rows"] if row["label"] == label]


def _merged(head: Mapping[str, Any], rows: Sequence[tuple[Measured, Mapping[str, Any]]]) -> RowResults:
    """What is known of a row from measurements of it; later ones win."""
    last = rows[-1][1]
    own: Source | None = None if last["simulated"] == head["simulated"] else "ground-truth"
    made = {name: last[name] for name in ("labels", "segmenter", "group")}
    row = Row(last["label"], **made, source=own, longer=last.get("longer", 1))
    found = RowResults(row, head["source"])
    for part, measured in rows:
        for seed, figures in figures_of(measured).items():
            found.figures[seed] = found.figures.get(seed, {}) | figures
        overlaps = part.overlaps["rows"].get(row.label, {})
        # Without its overlaps, a seed of this part has none: those of another part may be of other labels.
        for seed in figures_of(measured, OVERLAP):
            found.images.pop(seed, None)
        for seed, kept in overlaps.items():
            images = part.overlaps["images"][kept["images"]]
            found.images[int(seed)] = kept_image_sums({"images": {**images, "overlap": kept["overlap"]}})
        found.clicks = measured["clicks"] if measured["clicks"] is not None else found.clicks
        found.kept = list(dict.fromkeys([*found.kept, *measured["kept"]]))
    found.figures = dict(sorted(found.figures.items()))
    return found


def _keep_differences_of_more_seeds(row: Mapping[str, Any], measured: Sequence[Mapping[str, Any]]) -> None:
    """Take the differences of a measured row that are over more seeds than those of the table's."""
    for before in measured:
        for key, difference in before["differences"].items():
            now = row["differences"].get(key, {})
            kept = difference.get(OVERLAP)
            if kept is None or now.get("of") != difference["of"]:
                continue
            if len(kept["values"]) > len(now.get(OVERLAP, {"values": ()})["values"]):
                now[OVERLAP] = kept
