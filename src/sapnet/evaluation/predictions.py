"""Reading of predictions (COCO results) against the images and categories of a ground truth."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from sapnet.data.annotations import InstanceSet, load_instances
from sapnet.data.rle import segmentation_to_counts
from sapnet.errors import DataError
from sapnet.evaluation.matching import Rle
from sapnet.evaluation.prediction_files import to_ground_truth_ids

_LISTED = 50
_REQUIRED = ("image_id", "category_id", "segmentation", "score")


@dataclass(frozen=True)
class Predictions:
    """Predicted masks in file order, in the original frame."""

    image_index: Int[ndarray, " n"]
    """Row of the ground truth's image table."""
    labels: Int[ndarray, " n"]
    """Class labels 0..K-1 of the ground truth."""
    scores: Float[ndarray, " n"]
    masks: tuple[Rle, ...]


def load_ground_truth(instances: Path | str | InstanceSet) -> InstanceSet:
    """Return ``instances``, read from file if it is a path.

    Raises:
        DataError: The file is wrong; every problem is listed.
    """
    return instances if isinstance(instances, InstanceSet) else load_instances(Path(instances))


def image_sizes(instances: InstanceSet) -> Int[ndarray, "n 2"]:
    """Return ``(height, width)`` of every image of a data set, in pixels."""
    images = instances.images
    return np.stack([images.heights, images.widths], axis=-1).astype(np.int64).reshape(-1, 2)


def read_json(path: Path | str) -> Any:
    """Read a JSON file.

    Raises:
        DataError: The file is absent, unreadable or no JSON.
    """
    path = Path(path)
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise DataError(str(path), ["the file does not exist"]) from None
    except OSError as error:
        raise DataError(str(path), [f"the file cannot be read: {error.strerror}"]) from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(str(path), [f"not a JSON file: {error}"]) from None


def raise_problems(subject: str, problems: Sequence[str]) -> None:
    """Raise a ``DataError`` if there are problems, with the first 50 of them written out.

    Raises:
        DataError: ``problems`` is not empty.
    """
    if problems:
        rest = len(problems) - _LISTED
        more = [f"and {rest} more of the kind"] if rest > 0 else []
        raise DataError(subject, [*problems[:_LISTED], *more])


def load_predictions(source: Path | str | Sequence[Mapping[str, Any]], instances: InstanceSet) -> Predictions:
    """Read COCO results: ``image_id``, ``category_id``, ``segmentation`` and ``score`` each.

    Args:
        source: A file with a list of results, or the list itself. An empty list is legal. What
            ``sapnet predict`` writes is matched by file and category names.
        instances: The ground truth; image and category ids of a list must be among its own.

    Raises:
        DataError: Any entry is wrong; every problem is listed, with its place in the list.
    """
    subject = "predictions" if isinstance(source, Sequence) and not isinstance(source, str) else str(source)
    content: Any = read_json(source) if isinstance(source, Path | str) else source
    if isinstance(content, Mapping) and all(
        key in content for key in ("images", "categories", "annotations")
    ):
        content, problems = to_ground_truth_ids(content, instances)
        raise_problems(subject, problems)
    if isinstance(content, Mapping):
        content = content.get("annotations")
    if not isinstance(content, Sequence) or isinstance(content, str):
        raise DataError(subject, ["expected a list of results, each with " + ", ".join(_REQUIRED)])
    row_of_image = {int(image_id): row for row, image_id in enumerate(instances.images.ids)}
    label_of_category = {int(category.id): label for label, category in enumerate(instances.categories)}
    sizes = image_sizes(instances).tolist()
    rows: list[tuple[int, int, float, Rle]] = []
    problems = []
    for position, entry in enumerate(content):
        found = _entry_problems(entry, row_of_image, label_of_category)
        if not found:
            image, size = row_of_image[entry["image_id"]], sizes[row_of_image[entry["image_id"]]]
            try:
                mask = {"size": size, "counts": segmentation_to_counts(entry["segmentation"], tuple(size))}
                rows.append((image, label_of_category[entry["category_id"]], float(entry["score"]), mask))
            except (DataError, ValueError, TypeError, KeyError) as error:
                found = [f"segmentation: {error}"]
        problems += [f"result {position}: {problem}" for problem in found]
    raise_problems(subject, problems)
    return Predictions(
        image_index=np.array([row[0] for row in rows], dtype=np.int64),
        labels=np.array([row[1] for row in rows], dtype=np.int64),
        scores=np.array([row[2] for row in rows], dtype=np.float64),
        masks=tuple(row[3] for row in rows),
    )


def _entry_problems(entry: Any, images: Mapping[int, int], categories: Mapping[int, int]) -> list[str]:
    if not isinstance(entry, Mapping):
        return [f"expected an object, found {type(entry).__name__}"]
    missing = [key for key in _REQUIRED if key not in entry]
    if missing:
        return [f"{', '.join(missing)} missing"]
    problems = []
    if not _is_integer(entry["image_id"]) or entry["image_id"] not in images:
        problems.append(f"image_id {entry['image_id']!r} is no image of the ground truth")
    if not _is_integer(entry["category_id"]) or entry["category_id"] not in categories:
        known = ", ".join(str(category) for category in list(categories)[:20])
        problems.append(f"category_id {entry['category_id']!r} is no category of the ground truth ({known})")
    score = entry["score"]
    if not isinstance(score, int | float) or isinstance(score, bool) or not math.isfinite(score):
        problems.append(f"score {score!r} is not a finite number")
    return problems


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
