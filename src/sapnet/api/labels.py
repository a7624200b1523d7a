"""Labels and predictions as objects: masks, boxes, scores and class names, image by image."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from sapnet.api.arguments import AnyPath
from sapnet.data.coco_json import parse_extras
from sapnet.data.rle import decode_masks
from sapnet.errors import DataError, nearest
from sapnet.labels.label_set import LabelSet
from sapnet.labels.label_set import load_labels as read_labels

if TYPE_CHECKING:
    import supervision


@dataclass(frozen=True, eq=False, kw_only=True)
class ImageLabels:
    """The masks of one image, in pixels of the EXIF-transposed image."""

    image_id: int
    file_name: str
    size: tuple[int, int]
    """``(height, width)``."""
    ids: Int[ndarray, " n"]
    """Annotation ids; of labels those of the clicks."""
    counts: tuple[bytes, ...]
    """Each mask as compressed COCO run lengths."""
    boxes: Float[ndarray, "n 4"]
    """Tight boxes of the masks, ``xyxy``, half-open."""
    scores: Float[ndarray, " n"]
    """In [0, 1]; NaN where the file has none."""
    labels: Int[ndarray, " n"]
    """0..K-1."""
    class_names: tuple[str, ...]
    """Name of the class of every mask."""
    points: Float[ndarray, "n 2"]
    """The clicks ``(x, y)``; NaN where there are none, as in predictions."""

    @cached_property
    def masks(self) -> Bool[ndarray, "n H W"]:
        """The masks, decoded on first use."""
        return decode_masks(self.counts, self.size)

    def __len__(self) -> int:
        """Number of masks n."""
        return len(self.counts)

    def __repr__(self) -> str:
        height, width = self.size
        return f"<ImageLabels {self.file_name!r}: {len(self)} masks, {width} x {height} pixels>"

    def to_supervision(self) -> supervision.Detections:
        """Return the masks as ``supervision.Detections``.

        Returns:
            ``xyxy``, ``mask``, ``confidence`` (0 where a score is missing), ``class_id`` and, under
            ``data``, ``class_name`` and ``annotation_id``.

        Raises:
            MissingPackageError: supervision is not installed.
        """
        from sapnet.api.other_libraries import supervision_detections

        return supervision_detections(self)


class Labels:
    """One mask per clicked object; iterating gives one :class:`ImageLabels` per image.

    Everything that takes a label file takes this too.

    Args:
        content: The columns of the file.
        path: The file.
        keep: The temporary folder that the file lies in, if nobody asked for a file.
    """

    def __init__(self, content: LabelSet, path: Path, keep: TemporaryDirectory[str] | None = None) -> None:
        self.path = path
        self.label_set = content
        self.figures: dict[str, Any] = {}
        """What the verb that made it prints with ``--json``."""
        self._keep = keep

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, in label order."""
        return tuple(item.name for item in self.label_set.categories)

    @property
    def file_names(self) -> tuple[str, ...]:
        """Names of the images, in file order."""
        return tuple(self.label_set.images.file_names)

    @property
    def num_masks(self) -> int:
        """Number of masks in all images."""
        return len(self.label_set)

    @property
    def unlabelled(self) -> tuple[int, ...]:
        """Ids of the clicks for which the proposer found no mask."""
        return tuple(parse_extras(self.label_set.extra).get("unlabelled", ()))

    def __len__(self) -> int:
        """Number of images."""
        return len(self.label_set.images)

    def __iter__(self) -> Iterator[ImageLabels]:
        """Yield the labels of every image, in file order, those without masks included."""
        return map(self._of_row, range(len(self)))

    def of_image(self, image: int | str | os.PathLike[str]) -> ImageLabels:
        """Return the labels of one image.

        Args:
            image: Its id, or its file name as in the file; the last part of the name will do where
                that is unique.

        Raises:
            DataError: There is no such image, with the nearest name; or there are several.
        """
        if isinstance(image, int):
            try:
                return self._of_row(self.label_set.images.index_of(image))
            except KeyError as error:
                raise DataError(str(self.path), [error.args[0]]) from None
        name = os.fspath(image)
        rows = self._rows_by_name.get(name) or self._rows_by_name.get(Path(name).name, [])
        if len(rows) == 1:
            return self._of_row(rows[0])
        hint = nearest(name, self.file_names) if not rows else f" ({len(rows)} images are called that)"
        raise DataError(str(self.path), [f"no image is clearly meant by {name!r}{hint}"])

    @cached_property
    def _rows_by_name(self) -> dict[str, list[int]]:
        rows: dict[str, list[int]] = {}
        for row, name in enumerate(self.file_names):
            for known in {name, Path(name).name}:
                rows.setdefault(known, []).append(row)
        for row, name in enumerate(self.file_names):
            rows[name] = [row]  # a whole name wins over the last part of another
        return rows

    def _of_row(self, index: int) -> ImageLabels:
        content = self.label_set
        rows = content.rows_of(index)
        return ImageLabels(
            image_id=int(content.images.ids[index]),
            file_name=content.images.file_names[index],
            size=content.images.size(index),
            ids=content.annotation_ids[rows],
            counts=tuple(content.counts.take(rows)),
            boxes=content.boxes_of(rows),
            scores=content.scores[rows],
            labels=content.annotation_labels[rows],
            class_names=tuple(content.name_of_row(int(row)) for row in rows),
            points=content.points[rows],
        )

    def to_supervision(self, image: int | str | os.PathLike[str]) -> supervision.Detections:
        """Return the masks of one image as ``supervision.Detections``.

        Args:
            image: As for :meth:`of_image`.

        Raises:
            DataError: There is no such image.
            MissingPackageError: supervision is not installed.
        """
        return self.of_image(image).to_supervision()

    def __fspath__(self) -> str:
        """Return the path of the file."""
        return os.fspath(self.path)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {str(self.path)!r}: {self.num_masks} masks, {len(self)} images>"


class Predictions(Labels):
    """The instances found in new images, best first; iterating gives one :class:`ImageLabels` each."""


def load_labels(path: AnyPath) -> Labels:
    """Read labels, or any COCO instances file.

    Args:
        path: A file of ``sapnet label`` or COCO instances with polygons or run lengths.

    Raises:
        DataError: The file is missing, no JSON or not in the format; lists every problem.
    """
    return Labels(read_labels(path), Path(path).absolute())


def load_predictions(path: AnyPath) -> Predictions:
    """Read the predictions that ``sapnet predict`` wrote.

    Args:
        path: The file.

    Raises:
        DataError: The file is missing, no JSON or not in the format; lists every problem.
    """
    return Predictions(read_labels(path), Path(path).absolute())


def no_points(count: int) -> Float[ndarray, "n 2"]:
    """Return the ``points`` of masks that come from no click: NaN."""
    return np.full((count, 2), np.nan)
