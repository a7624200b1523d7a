"""Everything that is wrong or odd with a points file and its images, in one report."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from sapnet.data.annotations import PointSet, points_from_json, read_what_is_there
from sapnet.data.check_clicks import class_findings, empty_images, own_boxes, positions, same_spots
from sapnet.data.check_findings import KINDS, CheckReport, Finding
from sapnet.data.check_images import image_findings, repeated_files
from sapnet.data.coco_json import read_json
from sapnet.data.image_subset import only_clicks, only_images
from sapnet.errors import DataError

__all__ = ["CheckReport", "check_points"]


def check_points(
    points_path: str | os.PathLike[str], images_dir: str | os.PathLike[str], *, decode_images: bool = True
) -> CheckReport:
    """Check a points file and its images; nothing is raised and nothing written.

    Args:
        points_path: The points file.
        images_dir: The folder of the images.
        decode_images: Decode every image, which finds files that are cut off; otherwise only their
            headers are read.

    Returns:
        All findings, with the file and the id of each.
    """
    folder = Path(images_dir)
    findings = (
        [] if folder.is_dir() else [Finding("image folder", f"{folder}: there is no such image folder")]
    )
    try:
        document = read_json(points_path)
    except DataError as error:
        return CheckReport((*findings, *_of_file(error)))
    try:
        points = points_from_json(document, str(points_path))
    except DataError as error:
        others = _of_damaged(document, folder, decode=decode_images)
        return CheckReport((*findings, *_of_file(error), *others))
    if folder.is_dir():
        findings += image_findings(points, folder, decode=decode_images)
    summary = _summary(points)
    findings += [
        *positions(points),
        *same_spots(points),
        *own_boxes(points),
        *class_findings(summary["classes"]),
        *repeated_files(points),
        *empty_images(points),
    ]
    return CheckReport(tuple(findings), summary)


def _of_file(error: DataError) -> Iterator[Finding]:
    for problem in error.problems:
        yield Finding("file", f"{error.subject}: {problem}")


def _of_damaged(document: dict[str, Any], folder: Path, *, decode: bool) -> Iterator[Finding]:
    """Yield what else must be mended beside the file's own problems; warnings wait until it can be read."""
    points, has_place, is_sound = read_what_is_there(document, [])
    points = only_images(only_clicks(points, np.flatnonzero(has_place)), is_sound)
    images = image_findings(points, folder, decode=decode) if folder.is_dir() else ()
    for finding in (*images, *positions(points)):
        if KINDS[finding.kind].severity == "error":
            yield finding


def _summary(points: PointSet) -> dict[str, Any]:
    per_image = np.bincount(points.annotation_image_index, minlength=len(points.images))
    classes = []
    for label, category in enumerate(points.categories):
        rows = np.flatnonzero(points.annotation_labels == label)
        classes.append(
            {
                "id": category.id,
                "name": category.name,
                "clicks": len(rows),
                "images": len(np.unique(points.annotation_image_index[rows])),
            }
        )
    return {
        "images": len(points.images),
        "images_without_clicks": int((per_image == 0).sum()),
        "clicks": len(points),
        "clicks_per_image": {
            "mean": float(per_image.mean()) if len(per_image) else 0.0,
            "max": int(per_image.max(initial=0)),
        },
        "classes": classes,
    }
