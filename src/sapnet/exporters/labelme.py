"""Labels as labelme files, one JSON per image; X-AnyLabeling reads them too."""

from __future__ import annotations

import base64
import io
import json
import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool
from numpy import ndarray
from PIL import Image

from sapnet.exporters.losses import Losses, rows_to_write
from sapnet.exporters.names import relative_names
from sapnet.exporters.polygons import mask_parts, outline
from sapnet.labels.label_set import LabelSet

VERSION = "5.5.0"
"""The version whose form is written; 6.3.1 reads it."""


def labelme_files(
    labels: LabelSet,
    lost: Losses,
    *,
    shapes: Literal["mask", "polygon"] = "mask",
    images_dir: Path | None = None,
    out: Path | None = None,
) -> Iterator[tuple[PurePosixPath, bytes]]:
    """Build one labelme file per image.

    Args:
        labels: The objects.
        lost: Counts what is left out.
        shapes: ``mask``: mask shapes (a box and a PNG), exact. ``polygon``: one polygon per part,
            with the parts of an object under one ``group_id``; holes are joined by a seam.
        images_dir: Folder of the images, to write ``imagePath`` relative to the JSON.
        out: Folder that the files will be in; needed with ``images_dir``.

    Yields:
        Path and content. ``score`` is a key of the shape; the click and the source of a mask are
        not written.
    """
    for index, name in enumerate(relative_names(labels, unique_stems=True)):
        path = name.with_suffix(".json")
        height, width = labels.images.size(index)
        found: list[dict[str, Any]] = []
        for number, row in enumerate(rows_to_write(labels, index, lost).tolist(), start=1):
            found += _shapes_of(labels, row, number, shapes)
        document: dict[str, Any] = {
            "version": VERSION,
            "flags": {},
            "shapes": found,
            "imagePath": _image_path(labels.images.file_names[index], name, path, images_dir, out),
            "imageData": None,
            "imageHeight": height,
            "imageWidth": width,
        }
        yield path, json.dumps(document, ensure_ascii=False, indent=1).encode("utf-8", "surrogatepass")


def _shapes_of(labels: LabelSet, row: int, number: int, shapes: str) -> Iterator[dict[str, Any]]:
    mask = labels.mask_of(row)
    common: dict[str, Any] = {
        "label": labels.name_of_row(row),
        "group_id": None,
        "description": "",
        "flags": {},
    }
    if not math.isnan(labels.scores[row]):
        common["score"] = float(labels.scores[row])
    if shapes == "mask":
        left, top, right, bottom = (int(side) for side in labels.boxes_of(np.array([row]))[0])
        # The second corner is the last pixel, not the edge after it.
        corners = [[float(left), float(top)], [float(right - 1), float(bottom - 1)]]
        picture = _png_text(mask[top:bottom, left:right])
        yield {**common, "points": corners, "shape_type": "mask", "mask": picture}
        return
    parts = mask_parts(mask)
    for part in parts:
        ring = outline([part.outer, *part.holes])
        points = [[float(x), float(y)] for x, y in ring.tolist()]
        group = number if len(parts) > 1 else None
        yield {**common, "group_id": group, "points": points, "shape_type": "polygon", "mask": None}


def _png_text(mask: Bool[ndarray, "h w"]) -> str:
    stream = io.BytesIO()
    Image.fromarray(mask).save(stream, "PNG")
    return base64.b64encode(stream.getvalue()).decode("ascii")


def _image_path(
    file_name: str, name: PurePosixPath, path: PurePosixPath, images_dir: Path | None, out: Path | None
) -> str:
    """Return the path of the image as seen from the folder of the JSON; without one, beside it."""
    if images_dir is None or out is None:
        return name.name
    return Path(os.path.relpath(images_dir / file_name, (out / path).parent)).as_posix()
