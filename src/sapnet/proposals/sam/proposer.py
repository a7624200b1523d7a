"""The SAM family as a proposer: prompts planned per click, decoded by a promptable segmenter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from sapnet.errors import InputError
from sapnet.proposals.merging import merge_duplicates
from sapnet.proposals.prompt_plan import (
    BOX,
    BOX_AND_POINT,
    POINT,
    NegativeChoice,
    PlannedPrompts,
    check_prompt_settings,
    plan_prompts,
)
from sapnet.proposals.proposer import ImagePrompts, ImageProposals, collect_proposals
from sapnet.proposals.sam.checkpoints import checkpoint_digest, find_checkpoint
from sapnet.proposals.sam.families import Precision, check_precision, class_of_transformers, family_named

if TYPE_CHECKING:
    from sapnet.proposals.sam.decoding import EncodedImage
    from sapnet.proposals.sam.loading import LoadedSam

_NEEDS_BOX = (BOX, BOX_AND_POINT)


class SamProposer:
    """Asks a member of the SAM family for the masks of every click.

    Implements :class:`~sapnet.proposals.proposer.Proposer`. Every image is encoded once. Kinds of prompt that
    need a box use that of the prompts (``ImagePrompts.boxes``); a click without one uses the box of the mask
    with the highest score among the answers to its other prompts, which are decoded first.

    The files are found when the proposer is made, so that what is wrong with them shows before any image
    is opened; the weights are loaded at the first image, or by :meth:`load`. A pickled proposer leaves them
    behind, so that every worker process loads its own.

    Args:
        name: ``sam``, ``sam-hq``, ``sam2``, ``sam3`` or ``edgetam``.
        checkpoint: A folder in the format of ``transformers``, an original ``.pth`` file, or an id on the
            hub; None is the member's default on the hub.
        device: Where the model computes.
        precision: ``no`` (float32), ``bf16`` or ``fp16``.
        offline: Never ask the hub; what is in its local cache is used.
        kinds: Which kinds of prompt fill the bag (:data:`~sapnet.proposals.prompt_plan.PROMPT_KINDS`).
        multimask: Three masks per prompt instead of one.
        max_negatives: The most clicks on other objects that are negative points of a prompt.
        negatives: Whether those are of the same class or of any.
        jitter_pixels: How far jittered points are moved, pixels of the original image.
        jitter_count: Number of jittered prompts per click.
        duplicate_iou: Masks of a click that overlap more than this are one proposal.
        max_per_prompt: The most proposals per click.
        chunk_size: Prompts per call of the mask decoder.
        seed: Seed of the jitter.

    Raises:
        CheckpointError: The checkpoint is missing, gated, incomplete or of another member.
        InputError: The extra ``sam`` is not installed, or settings are wrong.
    """

    def __init__(
        self,
        name: str,
        *,
        checkpoint: str | Path | None = None,
        device: str = "cpu",
        precision: Precision = "no",
        offline: bool = True,
        kinds: Sequence[str] = (POINT,),
        multimask: bool = True,
        max_negatives: int = 3,
        negatives: NegativeChoice = "same-class",
        jitter_pixels: float = 4.0,
        jitter_count: int = 2,
        duplicate_iou: float = 0.95,
        max_per_prompt: int = 12,
        chunk_size: int = 32,
        seed: int = 0,
    ) -> None:
        family = family_named(name)
        self._plan: dict[str, Any] = {
            "max_negatives": max_negatives,
            "negatives": negatives,
            "jitter_pixels": jitter_pixels,
            "jitter_count": jitter_count,
        }
        check_prompt_settings(kinds, **self._plan)
        check_precision(precision)
        _check_further_settings(
            chunk_size=chunk_size, max_per_prompt=max_per_prompt, duplicate_iou=duplicate_iou
        )
        class_of_transformers(family.model_class)
        self._files = find_checkpoint(family, checkpoint, offline=offline)
        self.name = name
        self.settings: Mapping[str, Any] = {
            "version": 1,
            "kinds": list(kinds),
            "multimask": multimask,
            **self._plan,
            # Boxes that come with the prompts are recorded by whoever adds them (``proposals/boxed.py``).
            "boxes": None,
            "duplicate_iou": duplicate_iou,
            "max_per_prompt": max_per_prompt,
            "precision": precision,
            "seed": seed,
        }
        self._device = device
        self._precision = precision
        self._chunk_size = chunk_size
        self._digest: str | None = None
        self._sam: LoadedSam | None = None

    @property
    def uses_boxes(self) -> bool:
        """Whether a kind of prompt asks with the box of the object."""
        return any(kind in _NEEDS_BOX for kind in self.settings["kinds"])

    @property
    def checkpoint_digest(self) -> str:
        """SHA-256 over the weight files, read once.

        Raises:
            CheckpointError: A file cannot be read.
        """
        if self._digest is None:
            self._digest = checkpoint_digest(self._files)
        return self._digest

    def load(self) -> LoadedSam:
        """Load the weights where that is not done yet.

        Raises:
            CheckpointError: A file is corrupt or does not fit.
        """
        if self._sam is None:
            from sapnet.proposals.sam.loading import load_checkpoint

            self._sam = load_checkpoint(self._files, device=self._device, precision=self._precision)
        return self._sam

    def unload(self) -> None:
        """Let go of the weights; they are loaded again when needed."""
        self._sam = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_sam": None}

    def propose(self, image: UInt8[ndarray, "H W 3"], prompts: ImagePrompts) -> ImageProposals:
        """Propose masks for every click of an image; score is the predicted IoU, kind that of the prompt.

        Raises:
            CheckpointError: The weights had not been loaded and cannot be.
            JobError: The model returned numbers that are not finite.
        """
        size = (image.shape[0], image.shape[1])
        if prompts.num_prompts == 0:
            return collect_proposals(prompts, size, prompt_index=[], counts=[], scores=[], kinds=[])
        from sapnet.proposals.sam.decoding import encode_image

        encoded = encode_image(self.load(), np.ascontiguousarray(image))
        kinds = list(self.settings["kinds"])
        boxes = _given_boxes(prompts)
        first = [kind for kind in kinds if kind not in _NEEDS_BOX]
        second = [kind for kind in kinds if kind in _NEEDS_BOX]
        proposals: ImageProposals | None = None
        if second and not np.isfinite(boxes).all():
            # Without kinds of its own the first round asks with the click, for its box alone.
            answers = self._answers(encoded, prompts, first or [POINT], boxes)
            boxes = np.where(np.isfinite(boxes), boxes, _best_boxes(answers))
            proposals = answers if first else None
        elif first:
            proposals = self._answers(encoded, prompts, first, boxes)
        if second:
            proposals = _joined(prompts, proposals, self._answers(encoded, prompts, second, boxes))
        assert proposals is not None
        return merge_duplicates(
            proposals, iou=self.settings["duplicate_iou"], max_per_prompt=self.settings["max_per_prompt"]
        )

    def _answers(
        self, encoded: EncodedImage, prompts: ImagePrompts, kinds: Sequence[str], boxes: ndarray
    ) -> ImageProposals:
        """Decode the prompts of some kinds."""
        from sapnet.proposals.sam.decoding import decode_prompts

        planned: PlannedPrompts = plan_prompts(
            prompts,
            kinds=kinds,
            boxes=boxes,
            seed=self.settings["seed"],
            image_size=encoded.image_size,
            **self._plan,
        )
        decoded = decode_prompts(
            self.load(), encoded, planned, multimask=self.settings["multimask"], chunk_size=self._chunk_size
        )
        return collect_proposals(
            prompts,
            encoded.image_size,
            prompt_index=planned.owner[decoded.query].tolist(),
            counts=decoded.counts,
            scores=decoded.scores.tolist(),
            kinds=[planned.kinds[i] for i in decoded.query.tolist()],
        )


def _given_boxes(prompts: ImagePrompts) -> Float[ndarray, "A 4"]:
    """Return the estimated box of every click, NaN where there is none or it has no area."""
    if prompts.boxes is None:
        return np.full((prompts.num_prompts, 4), np.nan)
    boxes = np.asarray(prompts.boxes, dtype=np.float64)
    usable = np.isfinite(boxes).all(axis=1, keepdims=True)
    usable = usable & (boxes[:, 2:] > boxes[:, :2]).all(axis=1, keepdims=True)
    return np.where(usable, boxes, np.nan)


def _check_further_settings(*, chunk_size: int, max_per_prompt: int, duplicate_iou: float) -> None:
    """Refuse settings that cannot be followed, all at once."""
    counts = {"chunk_size": chunk_size, "max_per_prompt": max_per_prompt}
    problems = [f"{name} is {value}, expected at least 1." for name, value in counts.items() if value < 1]
    if not 0.0 < duplicate_iou <= 1.0:
        problems.append(f"duplicate_iou is {duplicate_iou}, expected a number above 0 and up to 1.")
    if problems:
        raise InputError("the proposer's settings", problems)


def _best_boxes(proposals: ImageProposals) -> Float[ndarray, "A 4"]:
    """Return the box of the first proposal of every click, NaN where it has none."""
    boxes = np.full((len(proposals.annotation_ids), 4), np.nan)
    owners, rows = np.unique(proposals.prompt_index, return_index=True)
    boxes[owners] = proposals.boxes[rows]
    return boxes


def _joined(prompts: ImagePrompts, one: ImageProposals | None, other: ImageProposals) -> ImageProposals:
    """Return the proposals of two rounds, sorted."""
    if one is None:
        return other
    return collect_proposals(
        prompts,
        other.image_size,
        prompt_index=np.concatenate([one.prompt_index, other.prompt_index]).tolist(),
        counts=(*one.counts, *other.counts),
        scores=np.concatenate([one.scores, other.scores]).tolist(),
        kinds=(*one.kinds, *other.kinds),
    )
