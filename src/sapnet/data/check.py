"""Everything that is wrong or odd with a points file and its images, in one report."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.spatial import cKDTree

from sapnet.data.annotations import PointSet, load_points
from sapnet.data.columns import PointsColumn
from sapnet.data.images import read_image, stored_size
from sapnet.errors import DataError, nearest

FEW_CLICKS = 10
"""A class with fewer clicks is warned about."""
SAME_SPOT = 1.0
"""Two clicks of an image closer than this many pixels are warned about."""


@dataclass(frozen=True)
class CheckReport:
    """What :func:`check_points` found; each entry is one sentence."""

    problems: tuple[str, ...]
    """Must be mended before anything else can run."""
    warnings: tuple[str, ...]
    """Legal, but probably not meant."""
    notes: tuple[str, ...] = ()
    """Legal and perhaps meant."""
    summary: dict[str, Any] = field(default_factory=dict)
    """``images``, ``images_without_clicks``, ``clicks``, ``clicks_per_image`` (mean, max), and
    ``classes``: one row per class (id, name, clicks, images)."""

    @property
    def ok(self) -> bool:
        """True where there are no problems."""
        return not self.problems


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
        All problems, warnings and notes, with the file and the id of each.
    """
    folder = Path(images_dir)
    problems = [] if folder.is_dir() else [f"{folder}: there is no such image folder"]
    try:
        points = load_points(points_path)
    except DataError as error:
        found = [*problems, *(f"{error.subject}: {problem}" for problem in error.problems)]
        return CheckReport(problems=tuple(found), warnings=())
    if folder.is_dir():
        problems += _image_problems(points, folder, decode_images=decode_images)
    problems += _outside(points)
    summary = _summary(points)
    warnings = [*_same_spots(points), *_class_warnings(summary), *_repeated_files(points)]
    notes = _notes(points, summary)
    return CheckReport(tuple(problems), tuple(warnings), tuple(notes), summary)


def _notes(points: PointSet, summary: dict[str, Any]) -> list[str]:
    rows = np.setdiff1d(np.arange(len(points.images)), points.annotation_image_index)
    if len(rows) == 0:
        return []
    names = ", ".join(points.images.file_names[int(row)] for row in rows[:5])
    more = ", ..." if len(rows) > 5 else ""
    return [f"{len(rows)} of {summary['images']} images have no clicks and count as empty: {names}{more}"]


def _image_problems(points: PointSet, folder: Path, *, decode_images: bool) -> list[str]:
    problems = []
    names: list[str] | None = None
    for row, name in enumerate(points.images.file_names):
        path = folder / name
        where = f"{name} (image id {points.images.ids[row]})"
        if not path.is_file():
            if names is None:
                names = [str(item.relative_to(folder)) for item in folder.rglob("*") if item.is_file()]
            problems.append(f"{where}: there is no such image in {folder}{_similar_name(name, names)}")
            continue
        try:
            (height, width), turned = stored_size(path)
            if decode_images:
                read_image(path)
        except DataError as error:
            problems.append(f"{where}: {error.problems[0]}")
            continue
        upright = (width, height) if turned else (height, width)
        if upright != points.images.size(row):
            problems.append(f"{where}: {_size_mismatch(points.images.size(row), upright, turned=turned)}")
    return problems


def _similar_name(name: str, names: list[str]) -> str:
    """Return the file that was probably meant: other separators, URL escapes, or a typing error."""
    for candidate in (name.replace("\\", "/"), unquote(name), unquote(name).replace("\\", "/")):
        if candidate in names:
            return f" (did you mean {candidate!r}?)"
    base = name.replace("\\", "/").rsplit("/", 1)[-1]
    same = [item for item in names if item.rsplit("/", 1)[-1] == base]
    return f" (did you mean {same[0]!r}?)" if same else nearest(name, names)


def _size_mismatch(expected: tuple[int, int], found: tuple[int, int], *, turned: bool) -> str:
    text = (
        f"is {found[1]} x {found[0]} pixels (width x height), "
        f"but the points file says {expected[1]} x {expected[0]}"
    )
    if expected == found[::-1] and turned:
        return f"{text}; its EXIF orientation turns it, so the clicks seem to be made on the unturned picture"
    if expected == found[::-1]:
        return f"{text}; width and height seem to be swapped"
    return text


def _outside(points: PointSet) -> list[str]:
    """Name every point that is not within 0 <= x < width and 0 <= y < height."""
    problems = []
    everyone = np.arange(len(points))
    for key, (xy, owner) in {
        "point": (points.xy, everyone),
        "extra_points": points.extra_points.of_rows(everyone),
        "negative_points": points.negative_points.of_rows(everyone),
    }.items():
        image = points.annotation_image_index[owner]
        limit = np.stack([points.images.widths[image], points.images.heights[image]], axis=-1)
        for index in np.flatnonzero(((xy < 0) | (xy >= limit)).any(axis=-1)):
            width, height = limit[index]
            problems.append(
                f"annotation {points.annotation_ids[owner[index]]} in "
                f"{points.images.file_names[int(image[index])]}: {key} ({xy[index, 0]:g}, {xy[index, 1]:g}) "
                f"is outside the image of {width} x {height} pixels (width x height)"
            )
    return problems


def _same_spots(points: PointSet) -> list[str]:
    """Name pairs of clicks on nearly one pixel, and clicks next to a negative one of their own."""
    warnings = []
    for first, second in _close_pairs(points.xy, points.annotation_image_index):
        warnings.append(
            f"annotations {points.annotation_ids[first]} and {points.annotation_ids[second]} in "
            f"{_file_of(points, first)} are clicked on nearly the same pixel "
            f"({points.xy[first, 0]:g}, {points.xy[first, 1]:g})"
        )
    negatives: PointsColumn = points.negative_points
    xy, owner = negatives.of_rows(np.arange(len(points)))
    distance = np.linalg.norm(xy - points.xy[owner], axis=-1)
    for row in owner[distance < SAME_SPOT]:
        warnings.append(
            f"annotation {points.annotation_ids[row]} in {_file_of(points, row)} "
            f"has a negative point on its own click"
        )
    return warnings


def _close_pairs(xy: Float[ndarray, "N 2"], image: ndarray) -> list[tuple[int, int]]:
    if len(xy) < 2:
        return []
    # Images lie on layers of a third axis, far enough apart.
    tree = cKDTree(np.column_stack([xy, image * 10.0 * SAME_SPOT]))
    pairs = tree.query_pairs(np.nextafter(SAME_SPOT, 0))
    return sorted((int(first), int(second)) for first, second in pairs)


def _class_warnings(summary: dict[str, Any]) -> list[str]:
    warnings = []
    for row in summary["classes"]:
        name = f"class {row['name']!r} (id {row['id']})"
        if row["clicks"] == 0:
            warnings.append(f"{name} has no clicks and cannot be learned; remove it or click some")
        elif row["clicks"] < FEW_CLICKS:
            clicks = "click" if row["clicks"] == 1 else "clicks"
            warnings.append(f"{name} has only {row['clicks']} {clicks}, expected at least {FEW_CLICKS}")
    return warnings


def _repeated_files(points: PointSet) -> list[str]:
    first: dict[str, int] = {}
    warnings = []
    for row, name in enumerate(points.images.file_names):
        if first.setdefault(name, row) != row:
            ids = f"{points.images.ids[first[name]]} and {points.images.ids[row]}"
            warnings.append(f"{name}: images {ids} are the same file")
    return warnings


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


def _file_of(points: PointSet, row: int) -> str:
    return points.images.file_names[int(points.annotation_image_index[row])]
