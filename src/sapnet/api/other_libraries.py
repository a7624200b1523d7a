"""Masks as the objects of supervision and FiftyOne, which are imported on use only."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sapnet.errors import InputError

if TYPE_CHECKING:
    from sapnet.api.image_labels import ImageLabels
    from sapnet.api.labels import Labels


class MissingPackageError(InputError):
    """A package that this package does not depend on is needed; the message has the pip command."""


def _needed(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        problem = f"{name} is not installed ({error}); install it with: pip install {name}"
        raise MissingPackageError(f"the conversion to {name}", [problem]) from None


def supervision_detections(labels: ImageLabels) -> Any:
    """Return the masks of an image as ``supervision.Detections``.

    Args:
        labels: The masks.

    Raises:
        MissingPackageError: supervision is not installed.
    """
    detections: Any = _needed("supervision").Detections
    return detections(
        xyxy=np.asarray(labels.boxes, dtype=np.float32).reshape(-1, 4),
        mask=labels.masks,
        confidence=np.nan_to_num(labels.scores).astype(np.float32),
        class_id=np.asarray(labels.labels, dtype=np.int64),
        data={
            "class_name": np.asarray(labels.class_names, dtype=str),
            "annotation_id": np.asarray(labels.ids, dtype=np.int64),
        },
    )


def add_to_fiftyone(labels: Labels, dataset: Any, *, images: Path, field: str) -> int:
    """Add the masks to the samples of a FiftyOne data set; images that it lacks become samples.

    Args:
        labels: The masks.
        dataset: A ``fiftyone.Dataset``.
        images: Folder that the file names are relative to.
        field: Field of the samples that receives ``fiftyone.Detections``.

    Returns:
        Number of samples that were added.

    Raises:
        MissingPackageError: FiftyOne is not installed.
    """
    library = _needed("fiftyone")
    waiting = {str((images / item.file_name).resolve()): item for item in labels}
    for sample in dataset.iter_samples(autosave=True):
        found = waiting.pop(str(Path(sample.filepath).resolve()), None)
        if found is not None:
            sample[field] = _detections(library, found)
    new = []
    for path, item in waiting.items():
        sample = library.Sample(filepath=path)
        sample[field] = _detections(library, item)
        new.append(sample)
    if new:
        dataset.add_samples(new)
    return len(new)


def _detections(library: Any, labels: ImageLabels) -> Any:
    """FiftyOne's detections: boxes ``[x, y, width, height]`` in [0, 1], masks cut at their boxes."""
    height, width = labels.size
    found = []
    for row, (name, score) in enumerate(zip(labels.class_names, labels.scores.tolist(), strict=True)):
        left, top, right, bottom = (int(side) for side in labels.boxes[row])
        found.append(
            library.Detection(
                label=name,
                bounding_box=[
                    left / width,
                    top / height,
                    (right - left) / width,
                    (bottom - top) / height,
                ],
                mask=labels.masks[row, top:bottom, left:right],
                confidence=None if np.isnan(score) else score,
            )
        )
    return library.Detections(detections=found)
