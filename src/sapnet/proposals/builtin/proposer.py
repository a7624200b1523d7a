"""The built-in proposer: nested regions and the masks of a promptable head, scored together for every click.

The boundary network runs once per image. Its maps become two trees of nested regions, one of the
boundaries that people draw around regions, one of those with the borders of whole objects; its features
are what the promptable head looks at. Both answer the prompts that are asked for (points, negative points,
boxes), and a small scorer predicts the IoU of every answer with the clicked object.
Nothing here imports torch until the first image is proposed for.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray
from threadpoolctl import ThreadpoolController

from sapnet.data.rle import encode_mask
from sapnet.errors import CheckpointError, InputError, nearest
from sapnet.proposals.builtin import ADVICE
from sapnet.proposals.builtin.asking import CLICKS_AT_A_TIME, NEEDS_BOX, Asking
from sapnet.proposals.builtin.candidate_features import Click
from sapnet.proposals.builtin.click_bags import HEAD, HIERARCHY, SOURCES, ClickBag
from sapnet.proposals.builtin.sharing import in_threads
from sapnet.proposals.builtin.working_image import WorkingImage, reduce_image
from sapnet.proposals.candidates import novel_best
from sapnet.proposals.prompt_plan import (
    BOX_AND_POINT,
    POINT_AND_NEGATIVES,
    NegativeChoice,
    check_prompt_settings,
)
from sapnet.proposals.proposer import ImagePrompts, ImageProposals, collect_proposals
from sapnet.proposals.regions import enlarged_mask, square_around

if TYPE_CHECKING:
    from sapnet.proposals.builtin.weights import BuiltinWeights

BUNDLED_WEIGHTS = Path(__file__).parent / "boundaries.safetensors"
"""The weights that come with the package."""
FALLBACK_KIND = "square"
_FALLBACK_SCORE = 0.1
_UNCOVERED = 0.1
"""What is left of the score of a candidate that covers none of the object's further points."""


class BuiltinProposer:
    """Proposes regions of two contour trees and masks of a promptable head; implements ``Proposer``.

    A proposal's kind is that of the first prompt that gave it and its source, such as ``point/hierarchy``,
    ``point+negatives/head`` or ``box/head``; ``square`` where nothing is found at a click.
    Regions answer a point by containing it and a box by the overlap of their boxes; negative points change
    their scores alone. The other clicks are looked at only if ``kinds`` has ``point+negatives``, and then
    for the scores of all candidates.
    Prompts that need a box use that of the prompts (``ImagePrompts.boxes``), or else that of the mask with
    the highest first score (its source's own) among the answers to the other prompts.

    Args:
        sources: ``hierarchy``, ``head`` or both.
        kinds: Which kinds of prompt fill the bag (:data:`~sapnet.proposals.prompt_plan.PROMPT_KINDS`). A
            click for which none of them is planned is asked with its point.
        working_long_side: Images are brought to this long side first (enlarged at most twice).
        masks_per_point: Proposals kept per click.
        duplicate_iou: Two proposals of a click that overlap at least this much are one.
        likeness_discount: How much of its score a proposal loses for its overlap with a better one of the
            click: ``score * (1 - likeness_discount * IoU)``. From 0 to 1.
        max_negatives: The most clicks on other objects that are negative points of a prompt.
        negatives: Whether those are of the same class or of any.
        jitter_pixels: How far jittered points are moved, pixels of the original image.
        jitter_count: Number of jittered prompts per click.
        seed: Seed of the jitter.
        weights: Another weights file than the one that comes with the package.

    Raises:
        CheckpointError: The weights file cannot be read (its content is looked at with the first image).
        InputError: Settings are wrong; lists every problem.
    """

    name = "builtin"

    def __init__(
        self,
        *,
        sources: Sequence[str] = SOURCES,
        kinds: Sequence[str] = (POINT_AND_NEGATIVES, BOX_AND_POINT),
        working_long_side: int = 768,
        masks_per_point: int = 12,
        duplicate_iou: float = 0.8,
        likeness_discount: float = 0.7,
        max_negatives: int = 3,
        negatives: NegativeChoice = "same-class",
        jitter_pixels: float = 4.0,
        jitter_count: int = 2,
        seed: int = 0,
        weights: Path | str | None = None,
    ) -> None:
        self._plan: dict[str, Any] = {
            "max_negatives": max_negatives,
            "negatives": negatives,
            "jitter_pixels": jitter_pixels,
            "jitter_count": jitter_count,
        }
        _check_sources(sources)
        check_prompt_settings(kinds, **self._plan)
        self.settings: Mapping[str, Any] = {
            "sources": list(sources),
            "kinds": list(kinds),
            "working_long_side": working_long_side,
            "masks_per_point": masks_per_point,
            "duplicate_iou": duplicate_iou,
            "likeness_discount": likeness_discount,
            **self._plan,
            "seed": seed,
            "version": 3,
        }
        self._sources = tuple(source for source in SOURCES if source in sources)
        self._kinds = tuple(kinds)
        self._weights = Path(weights) if weights is not None else BUNDLED_WEIGHTS
        self.checkpoint_digest = file_digest(self._weights)
        self._loaded: BuiltinWeights | None = None

    @property
    def uses_boxes(self) -> bool:
        """Whether a kind of prompt asks with the box of the object."""
        return any(kind in NEEDS_BOX for kind in self._kinds)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the networks behind; every process loads them for itself."""
        return {**self.__dict__, "_loaded": None}

    def propose(self, image: UInt8[ndarray, "H W 3"], prompts: ImagePrompts) -> ImageProposals:
        """Propose 1 to ``masks_per_point`` masks per click.

        No candidate that covers a negative point of the object is kept while there is another; one that
        misses further points on the object is scored lower.

        Args:
            image: uint8 RGB, original frame.
            prompts: The clicks, original frame; clicks outside the image are moved to its rim.

        Returns:
            The proposals; scores are predicted IoUs, lowered by the likeness to better ones of the click.

        Raises:
            CheckpointError: The weights are damaged or have no such source.
        """
        size = (int(image.shape[0]), int(image.shape[1]))
        found: list[tuple[int, bytes, float, str]] = []
        if prompts.num_prompts:
            loaded = self.load()
            with one_thread():
                working = reduce_image(
                    image,
                    loaded.network,
                    loaded.head if HEAD in self._sources else None,
                    long_side=self.settings["working_long_side"],
                    with_trees=HIERARCHY in self._sources,
                )
                for bag in self._bags(working, prompts, size):
                    found += bag
        return collect_proposals(
            prompts,
            size,
            prompt_index=[item[0] for item in found],
            counts=[item[1] for item in found],
            scores=[item[2] for item in found],
            kinds=[item[3] for item in found],
        )

    def load(self) -> BuiltinWeights:
        """Read the weights where that is not done yet.

        Raises:
            CheckpointError: The file is damaged, holds something else, or lacks a source.
        """
        if self._loaded is None:
            from sapnet.proposals.builtin.folding import folded_weights
            from sapnet.proposals.builtin.weights import load_weights

            loaded = load_weights(self._weights)
            if HEAD in self._sources and loaded.head is None:
                raise CheckpointError(str(self._weights), ["It has no promptable head (source 'head')."])
            self._loaded = folded_weights(loaded)
        return self._loaded

    def _bags(
        self, working: WorkingImage, prompts: ImagePrompts, size: tuple[int, int]
    ) -> Iterator[list[tuple[int, bytes, float, str]]]:
        """Yield, click by click, the index of the click, counts, score and kind of every proposal."""
        asking = Asking(
            self.load(), self._sources, self._kinds, {**self._plan, "seed": self.settings["seed"]}
        )

        def proposed(candidates: tuple[int, Click, ClickBag]) -> list[tuple[int, bytes, float, str]]:
            index, click, bag = candidates
            scores = asking.scores(working, click, bag)
            chosen, scores = self._chosen(working, prompts, index, bag, scores)
            if not len(chosen):
                mask = enlarged_mask(square_around(working.size, click.xy)[0], size)
                return [(index, encode_mask(mask), _FALLBACK_SCORE, FALLBACK_KIND)]
            counts = [encode_mask(mask) for mask in bag.masks(chosen, working, size)]
            kinds = [bag.bag.kinds[i] for i in chosen]
            return list(zip([index] * len(counts), counts, scores.tolist(), kinds, strict=True))

        all_candidates = asking.candidates(working, prompts, size)
        while some := list(islice(all_candidates, CLICKS_AT_A_TIME)):
            yield from in_threads(proposed, some)

    def _chosen(
        self, working: WorkingImage, prompts: ImagePrompts, index: int, bag: ClickBag, scores: ndarray
    ) -> tuple[ndarray, ndarray]:
        """Return the candidates to propose and their scores, best first."""
        outside = prompts.negative_xy[prompts.negative_owner == index] * working.scale
        inside = prompts.extra_xy[prompts.extra_owner == index] * working.scale
        if len(inside):
            share = bag.covers(inside, working).mean(1)
            scores = scores * (_UNCOVERED + (1.0 - _UNCOVERED) * share)
        allowed = ~bag.covers(outside, working).any(1)
        usable = np.flatnonzero(allowed) if allowed.any() else np.arange(len(scores))
        picked, worth = novel_best(
            scores[usable],
            bag.bag.overlap[np.ix_(usable, usable)],
            discount=self.settings["likeness_discount"],
            duplicate_iou=self.settings["duplicate_iou"],
            most=self.settings["masks_per_point"],
        )
        return usable[picked], worth


def _check_sources(sources: Sequence[str]) -> None:
    problems = [
        f"Source {source!r} is unknown{nearest(source, SOURCES)}; expected {' or '.join(SOURCES)}."
        for source in dict.fromkeys(sources)
        if source not in SOURCES
    ]
    if not sources:
        problems.append(f"There is no source; expected some of {', '.join(SOURCES)}.")
    if problems:
        raise InputError("the built-in proposer's settings", problems)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Let torch and NumPy's linear algebra compute with one thread each.

    With another number of threads torch's maps differ in their last bits, and regions and masks with them:
    a store would depend on how many threads each process of a run had. Products of masks do not differ, but
    are small: threads of their own get in the way of the two that share an image
    (:mod:`sapnet.proposals.builtin.sharing`).
    """
    import torch  # here, as everywhere in this module: not before the first image

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with _thread_pools().limit(limits=1, user_api="blas"):
            yield
    finally:
        torch.set_num_threads(before)


@functools.cache
def _thread_pools() -> ThreadpoolController:
    return ThreadpoolController()


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal.

    Raises:
        CheckpointError: The file cannot be read.
    """
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        problem = f"cannot be read ({error.strerror or error}); {ADVICE}"
        raise CheckpointError(str(path), [problem]) from error
