"""What a proposer takes and gives: prompts of one image in, run-length encoded masks out.

Everything is in the *original* frame: pixels of the EXIF-transposed image file, origin at the
top-left corner of the top-left pixel, boxes half-open ``xyxy``, sizes ``(height, width)``.
Nothing here needs torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int, UInt8
from numpy import ndarray

from sapnet.data.rle import decode_masks, mask_area, mask_box

if TYPE_CHECKING:
    from sapnet.data.annotations import PointSet


def _no_points() -> ndarray:
    return np.zeros((0, 2))


def _no_owners() -> ndarray:
    return np.zeros(0, dtype=np.int64)


@dataclass(frozen=True)
class ImagePrompts:
    """The clicks of one image, one per object, with optional further evidence.

    Coordinates are ``(x, y)`` pixels of the original image. An owner is an index into
    ``annotation_ids``.
    """

    image_id: int
    annotation_ids: Int[ndarray, " A"]
    xy: Float[ndarray, "A 2"]
    labels: Int[ndarray, " A"]
    """Class labels 0..K-1; a proposer may use them to tell neighbours of a class apart."""
    extra_xy: Float[ndarray, "E 2"] = field(default_factory=_no_points)
    """Further clicks on the same objects."""
    extra_owner: Int[ndarray, " E"] = field(default_factory=_no_owners)
    negative_xy: Float[ndarray, "N 2"] = field(default_factory=_no_points)
    """Clicks outside the object that owns them."""
    negative_owner: Int[ndarray, " N"] = field(default_factory=_no_owners)
    boxes: Float[ndarray, "A 4"] | None = None
    """Estimated box of every object, ``xyxy``; NaN in the rows of objects without one. None: of none."""

    @property
    def num_prompts(self) -> int:
        """Number of clicked objects A."""
        return len(self.annotation_ids)


@dataclass(frozen=True)
class ImageProposals:
    """The proposals of one image, sorted by prompt, then by falling score."""

    image_id: int
    image_size: tuple[int, int]
    annotation_ids: Int[ndarray, " A"]
    prompt_index: Int[ndarray, " n"]
    """Index into ``annotation_ids`` of the prompt that each proposal belongs to."""
    counts: tuple[bytes, ...]
    """Compressed COCO run lengths of each mask, at ``image_size``."""
    boxes: Float[ndarray, "n 4"]
    """Tight box of each mask, ``xyxy`` half-open, float32."""
    scores: Float[ndarray, " n"]
    """The proposer's own scores, float32, not negative. Within a bag their order and their ratios carry
    meaning: a score half as high speaks half as strongly for a proposal (``mil/prior.py``)."""
    areas: Float[ndarray, " n"]
    """Mask areas in pixels, float32."""
    kinds: tuple[str, ...]
    """The kind of prompt (or of simulated mask) that made each proposal."""
    opinions: Float[ndarray, " n"] | None = None
    """How much a second proposer agrees with each proposal, in [0, 1], float32
    (``proposals/second_opinion.py``); None where none was asked."""

    @property
    def num_proposals(self) -> int:
        """Number of proposals n of the image."""
        return len(self.counts)

    def of_prompt(self, index: int) -> slice:
        """Return the rows of the bag of prompt ``index``, best score first (maybe empty)."""
        start, stop = np.searchsorted(self.prompt_index, (index, index + 1))
        return slice(int(start), int(stop))

    def masks(self, rows: slice | None = None) -> ndarray:
        """Decode masks.

        Args:
            rows: Which proposals; all where None.

        Returns:
            bool (n, H, W) in the original frame.
        """
        chosen = self.counts if rows is None else self.counts[rows]
        return decode_masks(chosen, self.image_size)


@runtime_checkable
class Proposer(Protocol):
    """Makes any number of masks per prompt; must be deterministic and picklable.

    ``settings`` is what the store's manifest records; two proposers with equal name and settings
    give equal proposals. Scores are not negative and, within a bag, comparable as ratios (a predicted
    IoU is; logits are not). A proposer with weights also has an attribute ``checkpoint_digest``.
    """

    name: str
    settings: Mapping[str, Any]

    def propose(self, image: UInt8[ndarray, "H W 3"], prompts: ImagePrompts) -> ImageProposals:
        """Propose masks for every prompt of an RGB image (both in the original frame)."""
        ...


def prompts_of_image(points: PointSet, index: int) -> ImagePrompts:
    """Return the prompts of the image in row ``index`` of a point set."""
    clicks = points.of_image(index)
    return ImagePrompts(
        image_id=int(points.images.ids[index]),
        annotation_ids=np.asarray(clicks.annotation_ids),
        xy=np.asarray(clicks.xy, dtype=np.float64).reshape(-1, 2),
        labels=np.asarray(clicks.labels),
        extra_xy=np.asarray(clicks.extra_xy, dtype=np.float64).reshape(-1, 2),
        extra_owner=np.asarray(clicks.extra_owner),
        negative_xy=np.asarray(clicks.negative_xy, dtype=np.float64).reshape(-1, 2),
        negative_owner=np.asarray(clicks.negative_owner),
    )


def collect_proposals(
    prompts: ImagePrompts,
    image_size: tuple[int, int],
    *,
    prompt_index: Sequence[int],
    counts: Sequence[bytes],
    scores: Sequence[float],
    kinds: Sequence[str],
) -> ImageProposals:
    """Sort proposals by prompt, then by falling score, and derive boxes and areas from the masks.

    Ties keep the given order, and empty masks are dropped, so that the result is a function of the
    arguments alone.

    Args:
        prompts: The prompts that were answered.
        image_size: ``(height, width)`` of the masks.
        prompt_index: (n,) index of the prompt of each proposal.
        counts: n compressed run-length strings.
        scores: (n,) scores.
        kinds: n prompt kinds.

    Returns:
        The proposals in the original frame.
    """
    size = (int(image_size[0]), int(image_size[1]))
    areas = mask_area(counts, size).astype(np.float32)
    boxes = mask_box(counts, size).astype(np.float32)
    owner = np.asarray(prompt_index, dtype=np.int64)
    score = np.asarray(scores, dtype=np.float32)
    order = np.lexsort((-score, owner))
    order = order[areas[order] > 0]
    return ImageProposals(
        image_id=int(prompts.image_id),
        image_size=size,
        annotation_ids=np.asarray(prompts.annotation_ids, dtype=np.int64),
        prompt_index=owner[order],
        counts=tuple(counts[i] for i in order),
        boxes=boxes[order],
        scores=score[order],
        areas=areas[order],
        kinds=tuple(kinds[i] for i in order),
    )
