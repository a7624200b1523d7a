"""One annotation of the released proposal JSON of SAPNet's authors, read into a bag and written from one.

Per annotation that file has ``bbox``, a list of boxes ``[x, y, width, height]``, and ``segmentation``, a
list of COCO segmentations in the same order; six of each in what was released, other numbers in variants
of it. ``scores`` is there for some of them at most. Everything is in the original frame, in pixels.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from jaxtyping import Float
from numpy import ndarray

from sapnet.data.rle import run_lengths, segmentation_to_counts
from sapnet.proposals.proposer import ImageProposals

_PLACEHOLDER_SIDE = 2.0
"""Side in pixels of the box that stands for ``true_bbox``; loaders drop boxes of less than one pixel."""
_LARGEST_SCORE = 1e38
"""Scores are kept in 32 bits."""


class Bag(NamedTuple):
    """The proposals of one annotation, in the order of the file."""

    counts: list[bytes]
    """Compressed run lengths."""
    scores: list[float]
    kinds: list[str]


def read_bag(entry: Mapping[str, Any], size: tuple[int, int]) -> tuple[Bag, list[str]]:
    """Read the proposals of an annotation.

    The order of a bag means something (in the released file the first three masks are those of the
    point prompt), so unless every proposal has a score they all get the score 1, which keeps it.
    ``true_bbox`` and ``area`` are ground truth and are not looked at: nothing of a point-supervised
    model may depend on them. Boxes are derived from the masks; ``bbox`` must only agree in number.

    Args:
        entry: The annotation.
        size: ``(height, width)`` of its image.

    Returns:
        The bag, and a clause for everything that is wrong with it.
    """
    problems: list[str] = []
    masks = _segmentations(entry, problems)
    boxes = _boxes(entry, problems)
    if not problems and len(masks) != len(boxes):
        problems.append(f"'segmentation' has {len(masks)} entries, but 'bbox' has {len(boxes)}")
    real = entry.get("num_proposals", len(masks))
    if type(real) is not int or not 0 <= real <= len(masks):
        problems.append(f"'num_proposals' must be a number from 0 to {len(masks)}, got {real!r}")
        real = 0
    counts = _counts(masks[:real], size, problems)
    if problems:
        return Bag([], [], []), problems
    return Bag(counts, _scores(entry, real), _kinds(entry, real)), []


def bag_entry(
    proposals: ImageProposals, prompt: int, click: Float[ndarray, " 2"], per_click: int | None
) -> dict[str, Any]:
    """Return what an annotation says about the proposals of one click.

    Args:
        proposals: The proposals of its image.
        prompt: Index of the click in the image.
        click: The click, original frame.
        per_click: Number of proposals to write: the best ones, and where there are fewer the same ones
            again; all there are where None. ``num_proposals`` says how many are no repetition.

    Returns:
        The keys ``bbox``, ``segmentation``, ``scores``, ``kinds``, ``num_proposals``, ``area`` and
        ``true_bbox``. The last would be ground truth, of which we have none; because the published
        loader drops annotations without it and takes its centre for the click, it is a box of two
        pixels around the click. ``area`` is that of the best mask, because the loader wants one.
    """
    bag = proposals.of_prompt(prompt)
    found = range(bag.start, bag.stop)
    number = len(found) if per_click is None else per_click
    rows = [found[i % len(found)] for i in range(number)] if found else []
    boxes = proposals.boxes[rows].astype(float)
    boxes[:, 2:] -= boxes[:, :2]
    size = list(proposals.image_size)
    x, y = (float(value) - _PLACEHOLDER_SIDE / 2 for value in click)
    return {
        "bbox": boxes.tolist(),
        "segmentation": [{"size": size, "counts": proposals.counts[row].decode("ascii")} for row in rows],
        "scores": proposals.scores[rows].astype(float).tolist(),
        "kinds": [proposals.kinds[row] for row in rows],
        "num_proposals": min(len(found), number),
        "area": float(proposals.areas[found[0]]) if found else 0.0,
        "true_bbox": [x, y, _PLACEHOLDER_SIDE, _PLACEHOLDER_SIDE],
    }


def _segmentations(entry: Mapping[str, Any], problems: list[str]) -> list[Any]:
    """Return the list of segmentations; one single segmentation is what ground truth looks like."""
    found = entry.get("segmentation")
    if "segmentation" not in entry:
        problems.append("the key 'segmentation' is missing")
    elif isinstance(found, Mapping) or (
        isinstance(found, list) and any(isinstance(item, list) and _is_flat(item) for item in found)
    ):
        problems.append("'segmentation' is one mask, expected a list with one segmentation per proposal")
    elif isinstance(found, list):
        return found
    else:
        problems.append(f"'segmentation' must be a list, got {type(found).__name__}")
    return []


def _is_flat(item: list[Any]) -> bool:
    return bool(item) and not isinstance(item[0], list)


def _counts(masks: Sequence[Any], size: tuple[int, int], problems: list[str]) -> list[bytes]:
    """Return the compressed run lengths of all masks that are right."""
    compressed = [
        mask["counts"].encode()
        for mask in masks
        if isinstance(mask, Mapping)
        and isinstance(mask.get("counts"), str)
        and mask.get("size") == list(size)
    ]
    if len(compressed) == len(masks):
        # By far the most frequent case, and checking a whole bag costs as much as checking one mask.
        with contextlib.suppress(ValueError):
            run_lengths(compressed, size)
            return compressed
    counts = []
    for index, mask in enumerate(masks):
        try:
            counts.append(segmentation_to_counts(mask, size))
        except ValueError as error:
            problems.append(f"segmentation[{index}]: {error}")
    return counts


def _boxes(entry: Mapping[str, Any], problems: list[str]) -> list[Any]:
    found = entry.get("bbox")
    if "bbox" not in entry:
        problems.append("the key 'bbox' is missing")
    elif not isinstance(found, list) or any(not isinstance(box, list) or len(box) != 4 for box in found):
        problems.append("'bbox' must be a list of boxes [x, y, width, height], one per proposal")
    else:
        return found
    return []


def _scores(entry: Mapping[str, Any], number: int) -> list[float]:
    found = entry.get("scores")
    if isinstance(found, list) and len(found) >= number and all(map(_is_score, found[:number])):
        return [float(score) for score in found[:number]]
    return [1.0] * number


def _is_score(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value <= _LARGEST_SCORE


def _kinds(entry: Mapping[str, Any], number: int) -> list[str]:
    found = entry.get("kinds")
    if isinstance(found, list) and len(found) >= number and all(map(_is_kind, found[:number])):
        return found[:number]
    return [f"authors-{place}" for place in range(1, number + 1)]


def _is_kind(value: Any) -> bool:
    # A store keeps the names of kinds one per line.
    return isinstance(value, str) and value != "" and "\n" not in value
