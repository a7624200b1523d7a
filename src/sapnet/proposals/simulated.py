"""Simulated SAM: part, whole and group masks drawn from ground truth. An instrument, not a proposer.

It tells whether selection works when real SAM weights are absent, by giving every click the
ambiguity that SAM gives it: a *part* of the object, the *whole* with boundary noise, and a *group*
with its neighbours, with scores that often put the part first. Only ``bench`` and the evaluation
commands may use it: it reads ground-truth masks. Whatever is made from it carries the name
"simulated" (the proposer's name and every proposal's kind).

Calibration: on street4's training set (one quasi-centre click per object) the mask with the highest
score has a mean IoU near 0.54, the figure published for SAM ViT-H with one centre click on COCO,
and the best of three lies between 0.74 and 0.80 (tests/integration/test_simulated_calibration.py).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy import ndarray
from numpy.random import Generator

from sapnet.data.images import read_image
from sapnet.data.rle import decode_masks, encode_mask
from sapnet.proposals.proposer import ImagePrompts, ImageProposals, collect_proposals, prompts_of_image
from sapnet.proposals.simulated_masks import (
    component_at,
    dilated,
    disturb_boundary,
    draw_part,
    grow_into_background,
)

if TYPE_CHECKING:
    from sapnet.data.annotations import InstanceSet, PointSet

PART, WHOLE, GROUP = "simulated-part", "simulated-whole", "simulated-group"

_FIRST_PROBABILITY = {"small": (0.38, 0.48, 0.14), "medium": (0.46, 0.42, 0.12), "large": (0.50, 0.40, 0.10)}
"""Probability that part, whole, group has the highest score, by COCO size class."""
_WHOLE_MISSING = 0.08
"""Share of clicks whose whole mask is replaced by a large part."""


@dataclass(frozen=True)
class _Object:
    """One ground-truth object of an image: its mask, class and known parts."""

    mask: ndarray
    label: int
    crowd: bool
    parts: tuple[ndarray, ...]


class SimulatedProposer:
    """Draws three masks per click from ground truth (bench and evaluation only).

    Implements :class:`~sapnet.proposals.proposer.Proposer`. A click's masks depend on (seed,
    annotation id, ground truth of the image, pixels of the image) alone, not on the other clicks.

    Args:
        instances: Ground truth; prompts are matched to it by annotation id. Where an instance lists
            its ``parts`` (the embedded scenes do), these are used instead of drawn ones.
        seed: Seed of all draws.
    """

    name = "simulated"

    def __init__(self, instances: InstanceSet, *, seed: int = 0) -> None:
        self.settings: Mapping[str, Any] = {
            "seed": seed,
            "version": 1,
            "instances_crc32": zlib.crc32(instances.counts.buffer.tobytes()),
        }
        self._seed = seed
        self._instances = instances

    def propose(self, image: ndarray | None, prompts: ImagePrompts) -> ImageProposals:
        """Draw the masks of every prompt whose annotation id is a non-crowd object of the image.

        Args:
            image: uint8 (H, W, 3) RGB, which makes parts follow colour; None cuts by position only.
            prompts: The clicks; ids without ground truth get an empty bag.

        Returns:
            Up to three proposals per click, kinds ``simulated-part``, ``-whole``, ``-group``.
        """
        image_index = self._instances.images.index_of(int(prompts.image_id))
        size = self._instances.images.size(image_index)
        objects = self._objects_of(image_index, size)
        color = None
        if image is not None:
            color = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2LAB).astype(np.float32) / 255.0
        index: list[int] = []
        counts: list[bytes] = []
        scores: list[float] = []
        kinds: list[str] = []
        for i, annotation_id in enumerate(prompts.annotation_ids.tolist()):
            target = objects.get(annotation_id)
            if target is None or target.crowd or not target.mask.any():
                continue
            random = np.random.default_rng([self._seed, annotation_id % 2**64])
            neighbours = [
                other.mask
                for other_id, other in objects.items()
                if other_id != annotation_id and other.label == target.label and not other.crowd
            ]
            for kind, mask, score in _draw_bag(target, neighbours, prompts.xy[i], color, random):
                index.append(i)
                counts.append(encode_mask(mask))
                scores.append(score)
                kinds.append(kind)
        return collect_proposals(prompts, size, prompt_index=index, counts=counts, scores=scores, kinds=kinds)

    def _objects_of(self, image_index: int, size: tuple[int, int]) -> dict[int, _Object]:
        objects = {}
        for row in self._instances.rows_of(image_index).tolist():
            masks = decode_masks([self._instances.counts[row], *self._instances.parts(row)], size)
            objects[int(self._instances.annotation_ids[row])] = _Object(
                mask=masks[0],
                label=int(self._instances.annotation_labels[row]),
                crowd=bool(self._instances.iscrowd[row]),
                parts=tuple(masks[1:]),
            )
        return objects


def simulate_proposals(
    instances: InstanceSet,
    points: PointSet,
    *,
    seed: int,
    images_dir: Path | str | None = None,
) -> Iterator[ImageProposals]:
    """Yield the simulated proposals of every image of a point set, in its order.

    Args:
        instances: Ground truth of the same images and annotation ids.
        points: The clicks.
        seed: Seed of all draws.
        images_dir: Folder of the images; where given, parts follow colour.

    Yields:
        One :class:`ImageProposals` per image.
    """
    proposer = SimulatedProposer(instances, seed=seed)
    for index, file_name in enumerate(points.images.file_names):
        image = None
        if images_dir is not None:
            image = read_image(Path(images_dir) / file_name)
        yield proposer.propose(image, prompts_of_image(points, index))


def _draw_bag(
    target: _Object,
    neighbours: Sequence[ndarray],
    xy: ndarray,
    color: ndarray | None,
    random: Generator,
) -> list[tuple[str, ndarray, float]]:
    """Draw (kind, full mask, score) of one click's part, whole and group."""
    mask = target.mask
    area = float(mask.sum())
    length = float(np.sqrt(area))
    reach = max(2, round(0.04 * length))
    around = _window(mask, margin=reach)
    halo = dilated(mask[around], reach)
    near = [other for other in neighbours if (other[around] & halo).any()]
    joined = np.logical_or.reduce([mask, *near])
    window = _window(joined, margin=int(np.ceil(1.2 * length)) + 4)
    row, column = _nearest_pixel(mask, xy)
    row, column = row - window[0].start, column - window[1].start
    inner = mask[window]

    whole = disturb_boundary(inner, area, random.uniform(0.015, 0.07), random)
    part = _part(target, window, (row, column), color, random)
    if near:
        group = disturb_boundary(joined[window], area, random.uniform(0.015, 0.07), random)
    else:
        grown = grow_into_background(inner, area, random.uniform(0.08, 0.4), random)
        group = disturb_boundary(grown, area, 0.04, random)
    if random.uniform() < _WHOLE_MISSING:
        whole = draw_part(inner, row, column, None, random) | part
    # Like SAM's, every mask covers its click.
    spot = np.zeros_like(inner)
    spot[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2] = True
    drawn = [item | (spot & inner) for item in (part, whole, group)]
    probability = np.array(_FIRST_PROBABILITY[_size_class(area)])
    # Gumbel's trick: the largest of log p + noise is a draw from p, and the rest are ordered too.
    logits = np.log(probability) + random.gumbel(size=3)
    scores = 1.0 / (1.0 + np.exp(-(logits + 1.5)))
    bag = []
    for kind, piece, score in zip((PART, WHOLE, GROUP), drawn, scores.tolist(), strict=True):
        full = np.zeros_like(mask)
        full[window] = piece
        bag.append((kind, full, score))
    return bag


def _part(
    target: _Object,
    window: tuple[slice, slice],
    click: tuple[int, int],
    color: ndarray | None,
    random: Generator,
) -> ndarray:
    """Draw the part mask in the window: a known part at the click, else a drawn one."""
    inner = target.mask[window]
    known = [part[window] for part in target.parts if part[window][click]]
    if known:
        part = known[int(random.integers(len(known)))] & inner
    else:
        part = draw_part(inner, *click, None if color is None else color[window], random)
    moved = disturb_boundary(part, float(part.sum()), random.uniform(0.015, 0.05), random)
    return component_at(moved, *click)


def _window(mask: ndarray, margin: int) -> tuple[slice, slice]:
    """Return the slices of the box of ``mask`` grown by ``margin`` pixels."""
    rows = np.flatnonzero(mask.any(1))
    columns = np.flatnonzero(mask.any(0))
    return (
        slice(max(int(rows[0]) - margin, 0), int(rows[-1]) + 1 + margin),
        slice(max(int(columns[0]) - margin, 0), int(columns[-1]) + 1 + margin),
    )


def _nearest_pixel(mask: ndarray, xy: ndarray) -> tuple[int, int]:
    """Return (row, column) of the mask pixel nearest to a click; the click's own where it is on it."""
    rows, columns = np.nonzero(mask)
    best = int(np.argmin((rows + 0.5 - xy[1]) ** 2 + (columns + 0.5 - xy[0]) ** 2))
    return int(rows[best]), int(columns[best])


def _size_class(area: float) -> str:
    """Return COCO's size class of an area in pixels."""
    if area < 32**2:
        return "small"
    return "medium" if area < 96**2 else "large"
