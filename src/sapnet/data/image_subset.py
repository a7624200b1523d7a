"""Some of the clicks only, or those of some images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Int
from numpy import ndarray

from sapnet.data.annotations import PointSet
from sapnet.data.columns import PointsColumn, StringColumn


def only_images(points: PointSet, chosen: Bool[ndarray, " I"]) -> PointSet:
    """Return the clicks of some images.

    Args:
        points: The clicks, of I images.
        chosen: Whether the image in each row stays, in its order.
    """
    images = np.flatnonzero(chosen)
    rows = np.flatnonzero(chosen[points.annotation_image_index])
    table = points.images
    place = np.cumsum(chosen) - 1
    kept = replace(
        table,
        ids=table.ids[images],
        file_names=StringColumn.of(table.file_names[int(row)] for row in images),
        heights=table.heights[images],
        widths=table.widths[images],
        extras=StringColumn.of(table.extras[int(row)] for row in images),
    )
    clicks = only_clicks(points, rows)
    return replace(clicks, images=kept, annotation_image_index=place[clicks.annotation_image_index])


def only_clicks(points: PointSet, rows: Int[ndarray, " n"]) -> PointSet:
    """Return some clicks, and all images.

    Args:
        points: The clicks.
        rows: Which of them, in their order.
    """
    return replace(
        points,
        annotation_ids=points.annotation_ids[rows],
        annotation_image_index=points.annotation_image_index[rows],
        annotation_labels=points.annotation_labels[rows],
        annotation_extras=StringColumn.of(points.annotation_extras[int(row)] for row in rows),
        xy=points.xy[rows],
        extra_points=_rows_of(points.extra_points, rows),
        negative_points=_rows_of(points.negative_points, rows),
    )


def every_nth_image(points: PointSet, every: int) -> PointSet:
    """Return the clicks of the first image of every ``every``, in file order; all images where it is 1.

    Args:
        points: The clicks.
        every: At least 1.
    """
    return points if every == 1 else only_images(points, np.arange(len(points.images)) % every == 0)


def _rows_of(column: PointsColumn, rows: ndarray) -> PointsColumn:
    return PointsColumn.of([column.of_row(int(row)).tolist() for row in rows])
