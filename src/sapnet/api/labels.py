"""Labels and predictions as objects: masks, boxes, scores and class names, image by image."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sapnet.api.arguments import AnyPath, refuse_unknown
from sapnet.api.image_labels import ImageLabels
from sapnet.api.process_state import in_python_words
from sapnet.data.coco_json import parse_extras
from sapnet.errors import DataError, nearest
from sapnet.labels.label_set import LabelSet
from sapnet.labels.label_set import load_labels as read_labels

if TYPE_CHECKING:
    import fiftyone
    import supervision


class Labels:
    """One mask per clicked object; iterating gives one :class:`ImageLabels` per image.

    Everything that takes a label file takes this too.

    Args:
        content: The columns of the file.
        path: The file.
        keep: Closed when this object is gone; removes a file that nobody asked for.
    """

    def __init__(self, content: LabelSet, path: Path, *, keep: ExitStack | None = None) -> None:
        self.path = path
        self.label_set = content
        self.figures: dict[str, Any] = {}
        """What the verb that made it prints with ``--json``."""
        if keep is not None:
            weakref.finalize(self, keep.close)

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

    def to_coco(self, path: AnyPath, *, shapes: Literal["mask", "polygon"] = "mask") -> dict[str, Any]:
        """Write the masks as COCO instances, exactly.

        Args:
            path: File to write.
            shapes: ``mask``: compressed run lengths; ``polygon``: polygons with holes joined by seams.

        Returns:
            Counts, and under ``lost`` what could not be written.

        Raises:
            JobError: The file cannot be written.
        """
        return self.save(path, "coco", shapes=shapes)

    def save(
        self,
        path: AnyPath,
        format: str = "coco",  # noqa: A002 - what a person calls it
        *,
        images: AnyPath | None = None,
        shapes: Literal["mask", "polygon"] | None = None,
        parts: Literal["largest", "bridge", "split"] | None = None,
        void_rim: int | None = None,
        sixteen_bit: bool | None = None,
        image_url: str | None = None,
    ) -> dict[str, Any]:
        """Write the masks in another tool's format (``sapnet convert``).

        Args:
            path: File to write, or folder for formats of many files (yolo, labelme, voc).
            format: ``coco``, ``yolo``, ``labelme``, ``voc``, ``label-studio`` or ``cvat``.
            images: Image folder, for formats that refer to the images (yolo, labelme).
            shapes: Exact masks or polygons (coco, labelme, label-studio, cvat).
            parts: What becomes of objects of several parts (yolo).
            void_rim: Pixels around outlines that become void (voc).
            sixteen_bit: Object pictures with 16 bits, for more than 254 objects (voc).
            image_url: What comes before the file name in the address of an image (label-studio).

        Returns:
            Counts, under ``lost`` what the format could not hold, and under ``not_written`` what it
            has no place for.

        Raises:
            InputError: The format or an option is unknown, or ``path`` holds something else.
            JobError: Writing failed; what was there before is intact.
        """
        from sapnet.exporters.export import ExportOptions, export_labels

        options = ExportOptions(
            shapes=shapes, parts=parts, void_rim=void_rim, sixteen_bit=sixteen_bit, image_url=image_url
        )
        with in_python_words():
            refuse_unknown(
                shapes=(shapes, ("mask", "polygon")), parts=(parts, ("largest", "bridge", "split"))
            )
            return export_labels(self.label_set, Path(path), format, options, images_dir=images)

    def to_fiftyone(self, dataset: fiftyone.Dataset, *, images: AnyPath, field: str = "sapnet") -> int:
        """Add the masks to the samples of a FiftyOne data set; images that it lacks become samples.

        Args:
            dataset: The data set. Samples are found by the path of their image.
            images: Folder that the file names are relative to.
            field: Field of the samples that receives ``fiftyone.Detections``.

        Returns:
            Number of samples that were added.

        Raises:
            MissingPackageError: FiftyOne is not installed.
        """
        from sapnet.api.other_libraries import add_to_fiftyone

        return add_to_fiftyone(self, dataset, images=Path(images), field=field)

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
