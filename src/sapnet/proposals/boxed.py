"""A proposer that is given a box for every click, and refusing a store of other origin early."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from sapnet.errors import StoreError
from sapnet.proposals.proposer import ImagePrompts, ImageProposals, Proposer
from sapnet.proposals.store import MANIFEST_NAME, read_manifest
from sapnet.proposals.store_origin import settings_problems

BOXES_SETTING = "boxes"
"""Key of a proposer's settings that says what made the boxes of its prompts."""


class BoxedProposer:
    """Adds a box to every prompt of another proposer.

    Implements :class:`~sapnet.proposals.proposer.Proposer` with that proposer's name and settings, in which
    ``boxes`` says where the boxes come from; so the store's manifest does too.

    Args:
        proposer: What makes the masks.
        boxes: ``xyxy`` by annotation id, original frame; clicks may be missing.
        origin: What made the boxes, JSON-compatible.
    """

    def __init__(
        self,
        proposer: Proposer,
        boxes: Mapping[int, tuple[float, float, float, float]],
        *,
        origin: Mapping[str, Any],
    ) -> None:
        self.proposer = proposer
        self.boxes = dict(boxes)
        self.name = proposer.name
        self.settings: Mapping[str, Any] = {**proposer.settings, BOXES_SETTING: dict(origin)}

    @property
    def checkpoint_digest(self) -> str | None:
        """Digest of the other proposer's weights; None where it has none."""
        return getattr(self.proposer, "checkpoint_digest", None)

    def propose(self, image: UInt8[ndarray, "H W 3"], prompts: ImagePrompts) -> ImageProposals:
        """Let the other proposer propose for the prompts with their boxes."""
        return self.proposer.propose(image, replace(prompts, boxes=self._boxes_of(prompts)))

    def _boxes_of(self, prompts: ImagePrompts) -> Float[ndarray, "A 4"]:
        missing = (np.nan,) * 4
        rows = [self.boxes.get(int(key), missing) for key in prompts.annotation_ids]
        return np.array(rows, dtype=np.float64).reshape(-1, 4)


def refuse_other_store(
    out: Path, proposer: Proposer, *, points_digest: str, origin: Mapping[str, Any]
) -> None:
    """Refuse a folder with another store, before the time for making boxes is spent.

    What the store's writer says once the boxes are known is said here as far as it can be without them.

    Args:
        out: Folder of the store; may be absent.
        proposer: What would fill it, without boxes; with its second opinion if it asks for one.
        points_digest: Digest of the clicks.
        origin: What would make the boxes, but for their digest.

    Raises:
        StoreError: The store was made by another proposer, of other points or with other boxes.
    """
    if not (out / MANIFEST_NAME).exists():
        return
    old = read_manifest(out)
    problems = []
    made_by, settings = old["proposer"]["name"], dict(old["proposer"]["settings"])
    boxes = settings.pop(BOXES_SETTING, None)
    if made_by != proposer.name:
        problems.append(f"Its proposer is {made_by}, this run's is {proposer.name}.")
    else:
        now = _as_json(proposer.settings)
        now.pop(BOXES_SETTING, None)
        problems += settings_problems(settings, now)
    if old["points_digest"] != points_digest:
        problems.append("It was made from other points.")
    before = {key: value for key, value in (boxes or {}).items() if key != "digest"}
    if before != _as_json(origin):
        problems.append("The boxes of its prompts were made in another way.")
    if problems:
        problems.append("Give another --out, or delete the folder to start over.")
        raise StoreError(str(out), problems)


def _as_json(value: Mapping[str, Any]) -> dict[str, Any]:
    decoded: dict[str, Any] = json.loads(json.dumps(dict(value)))
    return decoded
