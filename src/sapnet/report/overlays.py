"""Whole images: training images with the labels, validation images with predictions and truth."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sapnet.data.annotations import InstanceSet
from sapnet.report.markup import Markup, section, tag
from sapnet.report.pictures import Album
from sapnet.report.run_contents import RunContents
from sapnet.visualize import draw_click, draw_instances

TRAINING_IMAGES, VALIDATION_IMAGES = 8, 6
"""How many images are shown."""
_LONG_SIDE = 440
_MAX_CAPTIONS = 12
"""More names and scores than this would hide the picture."""
_MIN_SCORE = 0.3
"""Predictions below this score are not drawn."""


def training_section(run: RunContents, album: Album) -> Markup | None:
    """Return training images with every label drawn; None where there are no labels or images."""
    if run.labels is None or run.images is None:
        return None
    by_image: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
    for item in run.labels.get("annotations", []):
        by_image[item["image_id"]].append(item)
    entries = [item for item in run.labels.get("images", []) if by_image[item["id"]]]
    names = run.class_names()
    figures = []
    for row in _sample(len(entries), TRAINING_IMAGES):
        entry = entries[row]
        image = album.read(run.images / entry["file_name"])
        if image is None:
            continue
        picks = by_image[entry["id"]]
        drawn = _draw(image, picks, names)
        if drawn is None:
            continue
        for pick in picks:
            if pick.get("point"):
                drawn = draw_click(drawn, pick["point"], share=1 / 150)
        words = f"{entry['file_name']}: {_count(len(picks), 'label')}"
        figures.append(_figure(album, drawn, words))
    if not figures:
        return None
    intro = f"Drawn with a fixed seed. Picks from {run.proposal_words}; red dots are the clicks."
    title = f"Training images with the labels ({run.proposal_words})"
    return section("training-images", title, tag("p", intro), tag("div", *figures, class_="grid"))


def validation_section(run: RunContents, album: Album) -> Markup | None:
    """Return validation images with predictions beside the ground truth; None where something lacks."""
    truth = run.validation_instances
    if run.predictions is None or run.validation_images is None or truth is None or not len(truth.images):
        return None
    by_image: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
    for item in run.predictions:
        by_image[item.get("image_id", -1)].append(item)
    names = {category.id: category.name for category in truth.categories}
    rows = np.unique(truth.annotation_image_index)
    parts: list[Markup] = []
    for place in _sample(len(rows), VALIDATION_IMAGES):
        row = int(rows[place])
        name = truth.images.file_names[row]
        image = album.read(run.validation_images / name)
        if image is None:
            continue
        shown = [item for item in by_image[int(truth.images.ids[row])] if item.get("score", 0) >= _MIN_SCORE]
        objects = _objects(truth, row)
        predicted, expected = _draw(image, shown, names), _draw(image, objects, names)
        if predicted is None or expected is None:
            continue
        pair = [
            _figure(album, predicted, f"Predicted in {name}: {_count(len(shown), 'instance')}"),
            _figure(album, expected, f"Ground truth of {name}: {_count(len(objects), 'instance')}"),
        ]
        parts.append(tag("div", *pair, class_="pair"))
    if not parts:
        return None
    intro = (
        f"The trained segmenter on images it was not trained on; predictions with a score of at least "
        f"{_MIN_SCORE} are drawn. Drawn with a fixed seed. Trained with {run.proposal_words}."
    )
    return section("validation-images", "Predictions beside ground truth", tag("p", intro), *parts)


def _objects(truth: InstanceSet, image_row: int) -> list[dict[str, Any]]:
    size = list(truth.images.size(image_row))
    rows = np.flatnonzero((truth.annotation_image_index == image_row) & ~truth.iscrowd)
    return [
        {
            "segmentation": {"size": size, "counts": truth.counts[int(row)]},
            "category_id": truth.categories[int(truth.annotation_labels[row])].id,
        }
        for row in rows
    ]


def _draw(
    image: np.ndarray, items: Sequence[Mapping[str, Any]], names: Mapping[int, str]
) -> np.ndarray | None:
    try:
        return draw_instances(image, items, names, captions=len(items) <= _MAX_CAPTIONS)
    except (ValueError, KeyError):  # a mask of another size or without a category: not drawable
        return None


def _count(number: int, name: str) -> str:
    return f"{number} {name}" if number == 1 else f"{number} {name}s"


def _figure(album: Album, image: np.ndarray, words: str) -> Markup:
    return tag("figure", album.picture(image, words, long_side=_LONG_SIDE), tag("figcaption", words))


def _sample(number: int, most: int) -> list[int]:
    """Return at most ``most`` of ``number`` rows, the same on every call, in rising order."""
    chosen = np.random.default_rng(0).permutation(number)[:most]
    return sorted(int(row) for row in chosen)
