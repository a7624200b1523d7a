"""The boxes of clicks as a file: the points file with ``bbox`` and ``score``, readable as either."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sapnet.data.annotations import PointSet, points_to_json
from sapnet.data.atomic import write_json_atomic
from sapnet.data.coco_json import read_json
from sapnet.errors import DataError

Box = tuple[float, float, float, float]
"""xyxy, half-open, pixels of the original image."""


@dataclass(frozen=True)
class ClickBox:
    """The estimated box of one click."""

    box: Box
    score: float
    """How sure the estimator is of the click's class there, in [0, 1]."""


@dataclass(frozen=True)
class BoxFile:
    """What a file of boxes says."""

    boxes: Mapping[int, Box]
    """By annotation id; clicks without a box are missing."""
    points_digest: str
    """Digest of the clicks that they belong to."""
    digest: str
    """SHA-256 over ids and boxes, whatever their order."""


def save_boxes(
    path: Path, points: PointSet, found: Mapping[int, ClickBox], *, settings: Mapping[str, Any]
) -> None:
    """Write the boxes of clicks, COCO-shaped and atomically.

    Every annotation keeps what the points file says of it; ``bbox`` is ``[x, y, width, height]`` in pixels
    of the original image, with a ``score``. Clicks without a box have neither.

    Args:
        path: The file.
        points: The clicks.
        found: Boxes by annotation id.
        settings: What made them, JSON-compatible; kept under ``info``.

    Raises:
        JobError: It cannot be written.
    """
    document = points_to_json(points)
    for entry in document["annotations"]:
        entry.pop("bbox", None)
        if (estimate := found.get(entry["id"])) is not None:
            left, top, right, bottom = estimate.box
            entry["bbox"] = [left, top, right - left, bottom - top]
            entry["score"] = estimate.score
    info = {"made_by": "point-to-box enhancer", "points_digest": points.digest, "settings": dict(settings)}
    write_json_atomic(path, {**document, "info": {**document.get("info", {}), **info}})


def load_boxes(path: Path) -> BoxFile:
    """Read a file that :func:`save_boxes` wrote.

    Args:
        path: The file.

    Returns:
        Its boxes.

    Raises:
        DataError: It is missing, damaged or something else.
    """
    document = read_json(path)
    try:
        boxes = {
            int(entry["id"]): _corners(*entry["bbox"]) for entry in document["annotations"] if "bbox" in entry
        }
        points_digest = str(document["info"]["points_digest"])
    except (KeyError, TypeError, ValueError) as error:
        reason = f"not a file of boxes ({type(error).__name__}: {error}); delete it to have it made again"
        raise DataError(str(path), [reason]) from error
    return BoxFile(boxes, points_digest, digest_of_boxes(boxes))


def digest_of_boxes(boxes: Mapping[int, Box]) -> str:
    """Return ``sha256:`` and a digest of ids and boxes that does not depend on their order."""
    rows = sorted([int(key), *map(float, box)] for key, box in boxes.items())
    return f"sha256:{hashlib.sha256(json.dumps(rows).encode()).hexdigest()}"


def _corners(left: float, top: float, width: float, height: float) -> Box:
    return float(left), float(top), float(left) + float(width), float(top) + float(height)
