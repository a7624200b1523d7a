"""The formats that ``sapnet points import`` reads, and how to tell them apart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from sapnet.errors import DataError
from sapnet.importers import (
    coco,
    cvat,
    datumaro,
    fiftyone,
    instances,
    label_studio,
    labelme,
    make_sense,
    point_sup,
    table,
    via,
)
from sapnet.importers.records import Reader
from sapnet.importers.sketch import Sketch


class Format(NamedTuple):
    """A format that can be imported."""

    read: Reader
    description: str
    """One line: the tool, and what is special."""
    sniff: Callable[[Sketch], bool]
    """Tells whether a source is of this format; formats are asked in the order of :data:`FORMATS`."""


FORMATS: dict[str, Format] = {
    "label-studio": Format(
        label_studio.read_label_studio, "Label Studio JSON or JSON-MIN", label_studio.is_label_studio
    ),
    "cvat": Format(cvat.read_cvat, "CVAT for images 1.1, XML or the zip archive with it", cvat.is_cvat),
    "datumaro": Format(
        datumaro.read_datumaro, "Datumaro JSON, also as CVAT exports it", datumaro.is_datumaro
    ),
    "labelme": Format(
        labelme.read_labelme, "labelme or X-AnyLabeling, a folder of JSON files", labelme.is_labelme
    ),
    "via": Format(via.read_via, "VGG Image Annotator 1, 2 or 3, JSON or CSV", via.is_via),
    "fiftyone": Format(
        fiftyone.read_fiftyone, "FiftyOneDataset folder or its samples.json", fiftyone.is_fiftyone
    ),
    "point-sup": Format(
        point_sup.read_point_sup,
        "PointSup: COCO with 'point_coords' and 'point_labels'",
        point_sup.is_point_sup,
    ),
    "make-sense": Format(
        make_sense.read_make_sense, "makesense.ai CSV without header", make_sense.is_make_sense
    ),
    "authors": Format(
        coco.read_authors, "quasi-centre JSON of SAPNet's authors, stage A or B", coco.is_authors
    ),
    "coco": Format(coco.read_coco, "COCO JSON with 'point': [x, y] per annotation", coco.is_coco),
    "coco-keypoints": Format(coco.read_keypoints, "COCO keypoints, v = 0 left out", coco.is_keypoints),
    "instances": Format(
        instances.read_instances, "COCO masks: one point per mask (--mode)", coco.is_instances
    ),
    "csv": Format(table.read_table, "CSV or TSV with a header; needs --unit", table.is_table),
}
"""All formats; those that others could be mistaken for come first."""


def detect(source: Path) -> str:
    """Return the name of the format of a source.

    Args:
        source: A file or folder.

    Raises:
        DataError: No format fits; all are listed.
    """
    sketch = Sketch(source)
    for name, candidate in FORMATS.items():
        if candidate.sniff(sketch):
            return name
    known = ", ".join(FORMATS)
    raise DataError(str(source), [f"the format cannot be told (--from names it: {known})", *sketch.trouble()])
