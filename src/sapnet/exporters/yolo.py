"""Labels as YOLO segmentation rows: one polygon per row, normalised coordinates, no holes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Literal

from numpy import ndarray

from sapnet.exporters.losses import Losses, add, rows_to_write
from sapnet.exporters.names import relative_names
from sapnet.exporters.polygons import Part, mask_parts, outline
from sapnet.labels.label_set import LabelSet

Parts = Literal["largest", "bridge", "split"]
# What reads YOLO rows cuts or rounds coordinates to whole pixels and fills the outline too, so the
# outline has to run over the first and the last pixels of the mask: a quarter after their number.
_NEAR, _FAR = 0.25, 0.75
_DECIMALS = 6


def yolo_files(
    labels: LabelSet, lost: Losses, *, parts: Parts = "bridge", split: str = "train"
) -> Iterator[tuple[PurePosixPath, bytes]]:
    """Build the files of a YOLO segmentation data set, except the images.

    Args:
        labels: The objects. A class is numbered by its rank among the categories, from 0.
        lost: Counts what is left out or changed.
        parts: A row holds one polygon. ``largest`` writes the largest part and drops the others,
            ``split`` writes each part as an object of its own; both fill holes. ``bridge`` joins
            parts and holes through seams, which keeps every pixel; trainers draw seams between parts
            one pixel wide.
        split: Name of the folders ``images/SPLIT`` and ``labels/SPLIT``.

    Yields:
        Path and content: ``data.yaml``, and one text file per image; empty for an image without
        objects, which is an example of background.
    """
    names = relative_names(labels, unique_stems=True)
    yield PurePosixPath("data.yaml"), _data_yaml(labels, split).encode()
    for index, name in enumerate(names):
        lines: list[str] = []
        for row in rows_to_write(labels, index, lost).tolist():
            label = int(labels.annotation_labels[row])
            rings = _rings(mask_parts(labels.mask_of(row)), parts, lost)
            lines += [f"{label} {_coordinates(ring, labels.size_of_row(row))}\n" for ring in rings]
        yield PurePosixPath("labels", split, name).with_suffix(".txt"), "".join(lines).encode()


def _rings(found: tuple[Part, ...], parts: Parts, lost: Losses) -> list[ndarray]:
    """Return the polygons to write for one object; a mask has at least one part."""
    if parts == "bridge":
        return [_polygon([ring for part in found for ring in (part.outer, *part.holes)])]
    if parts == "largest":
        add(lost, "parts_dropped", len(found) - 1)
        add(lost, "pixels_dropped", sum(part.area for part in found[1:]))
        found = found[:1]
    elif len(found) > 1:
        add(lost, "objects_split", 1)
        add(lost, "rows_added_by_splitting", len(found) - 1)
    add(lost, "holes_filled", sum(len(part.holes) for part in found))
    return [_polygon([part.outer]) for part in found]


def _polygon(rings: list[ndarray]) -> ndarray:
    return outline(rings, near=_NEAR, far=_FAR)


def _coordinates(ring: ndarray, size: tuple[int, int]) -> str:
    height, width = size
    fractions = ring / (width, height)
    return " ".join(f"{value:.{_DECIMALS}f}" for value in fractions.ravel().tolist())


def _data_yaml(labels: LabelSet, split: str) -> str:
    # A JSON text is a valid YAML scalar, whatever characters a class name has.
    names = [f"  {number}: {json.dumps(item.name)}\n" for number, item in enumerate(labels.categories)]
    folder = json.dumps(f"images/{split}")
    return "".join(
        [
            "# Trainers want both keys; point val at other images before trusting its figures.\n",
            # Without `path` trainers take the folder of this file; `.` would be that they are started in.
            f"train: {folder}\nval: {folder}\n",
            "names:\n" if names else "names: {}\n",
            *names,
        ]
    )
