"""Labels as an annotation file of CVAT ("CVAT for images 1.1")."""

from __future__ import annotations

import re
from typing import Literal
from xml.etree import ElementTree

import numpy as np
from jaxtyping import Bool
from numpy import ndarray

from sapnet.exporters.losses import Losses, add, rows_to_write
from sapnet.exporters.polygons import mask_parts, outline
from sapnet.labels.label_set import LabelSet

# What XML 1.0 cannot hold in any form.
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def cvat_xml(labels: LabelSet, lost: Losses, *, shapes: Literal["mask", "polygon"] = "mask") -> bytes:
    """Build an annotation file.

    Args:
        labels: The objects.
        lost: Counts what is left out or changed.
        shapes: ``mask``: exact. ``polygon``: one polygon per part, the parts of an object under one
            ``group_id``; holes are joined by a seam.

    Returns:
        XML in UTF-8. Higher scores lie on top (``z_order``); scores and clicks are not written.
        Upload it to a task whose images have the same names.
    """
    root = ElementTree.Element("annotations")
    ElementTree.SubElement(root, "version").text = "1.1"
    task = ElementTree.SubElement(ElementTree.SubElement(root, "meta"), "task")
    listing = ElementTree.SubElement(task, "labels")
    for category in labels.categories:
        entry = ElementTree.SubElement(listing, "label")
        ElementTree.SubElement(entry, "name").text = _text(category.name, lost)
        ElementTree.SubElement(entry, "type").text = "any"
        ElementTree.SubElement(entry, "attributes")
    for index, name in enumerate(labels.images.file_names):
        height, width = labels.images.size(index)
        attributes = {
            "id": str(index),
            "name": _text(name.replace("\\", "/"), lost),
            "width": str(width),
            "height": str(height),
        }
        image = ElementTree.SubElement(root, "image", attributes)
        rows = rows_to_write(labels, index, lost)
        height_order = np.argsort(np.argsort(np.nan_to_num(labels.scores[rows]), kind="stable"))
        for place, row in enumerate(rows.tolist()):
            _add_object(
                image, labels, row, shapes, z_order=int(height_order[place]), group=place + 1, lost=lost
            )
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="utf-8", xml_declaration=True) + b"\n"


def row_major_runs(mask: Bool[ndarray, "h w"]) -> list[int]:
    """Return run lengths row by row, alternating between empty and filled, first empty."""
    flat = mask.ravel()
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    runs = np.diff(np.concatenate([[0], changes, [len(flat)]])).tolist()
    return [0, *runs] if len(flat) and flat[0] else runs


def _add_object(
    image: ElementTree.Element,
    labels: LabelSet,
    row: int,
    shapes: str,
    *,
    z_order: int,
    group: int,
    lost: Losses,
) -> None:
    common = {"label": _text(labels.name_of_row(row), lost), "source": "auto", "occluded": "0"}
    mask = labels.mask_of(row)
    if shapes == "mask":
        left, top, right, bottom = (int(side) for side in labels.boxes_of(np.array([row]))[0])
        runs = ", ".join(map(str, row_major_runs(mask[top:bottom, left:right])))
        window = {"left": str(left), "top": str(top), "width": str(right - left), "height": str(bottom - top)}
        ElementTree.SubElement(image, "mask", {**common, "rle": runs, **window, "z_order": str(z_order)})
        return
    parts = mask_parts(mask)
    for part in parts:
        ring = outline([part.outer, *part.holes])
        points = ";".join(f"{x:.2f},{y:.2f}" for x, y in ring.tolist())
        grouped = {"group_id": str(group)} if len(parts) > 1 else {}
        ElementTree.SubElement(
            image, "polygon", {**common, "points": points, "z_order": str(z_order), **grouped}
        )


def _text(value: str, lost: Losses) -> str:
    """Replace characters that XML cannot hold."""
    clean, count = _FORBIDDEN.subn("\N{REPLACEMENT CHARACTER}", value)
    add(lost, "characters_replaced", count)
    return clean
