"""Boxes for a proposer's prompts: learned from the clicks before anything is proposed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sapnet.config import Config
from sapnet.data.annotations import InstanceSet, PointSet
from sapnet.engine.enhancing import BOXES_NAME, enhance, origin_of_boxes
from sapnet.engine.session import SessionOptions
from sapnet.enhancer.box_file import BoxFile
from sapnet.errors import InputError
from sapnet.evaluation.box_quality import box_quality
from sapnet.proposals.boxed import BoxedProposer, refuse_other_store
from sapnet.proposals.generate import refuse_missing_images
from sapnet.proposals.proposer import Proposer
from sapnet.proposals.second_opinion import SecondOpinion

FOLDER_SUFFIX = "-boxes"
"""The enhancer's run folder is the store's with this behind its name."""


@dataclass(frozen=True)
class PromptBoxes:
    """Boxes that were made, and the proposer that asks with them."""

    proposer: Proposer
    """As it was where it asks with no boxes."""
    path: Path
    file: BoxFile
    used: bool

    def figures(self, clicks: PointSet, truth: InstanceSet | None) -> dict[str, Any]:
        """Say what came out.

        Args:
            clicks: The clicks.
            truth: Ground truth to measure the boxes against, if there is any.

        Returns:
            JSON-compatible figures.
        """
        found: dict[str, Any] = {
            "file": str(self.path),
            "clicks": len(clicks),
            "boxes": len(self.file.boxes),
            "used_by_the_proposer": self.used,
        }
        return found if truth is None else found | {"quality": box_quality(clicks, self.file.boxes, truth)}


def with_boxes(
    maker: Proposer,
    clicks: PointSet,
    images: Path,
    out: Path,
    config: Config,
    *,
    options: SessionOptions,
    second: Proposer | None = None,
) -> PromptBoxes:
    """Learn a box for every click, and let a proposer ask with them.

    Args:
        maker: The proposer.
        clicks: The clicks.
        images: Image folder.
        out: Folder of the store; the enhancer works in one beside it.
        config: All settings.
        options: Skip and quiet.
        second: Whose opinion of the proposals will be asked, which the store must have been made with too.

    Returns:
        The proposer with the boxes where it uses boxes, and the boxes.

    Raises:
        InputError: No kind of prompt would use the boxes, or as ``engine.enhancing.enhance``.
        StoreError: The store was made in another way; nothing is learned then.
        JobError: Training failed.
    """
    used = getattr(maker, "uses_boxes", None)
    # A proposer that knows no boxes at all says nothing; the boxes may be wanted by themselves.
    if used is False:
        reason = "proposals.boxes: 'enhancer' makes boxes that no prompt uses"
        section = "builtin" if maker.name == "builtin" else "sam"
        remedy = f"add 'box' or 'box+point' to proposals.{section}.prompts"
        raise InputError("the settings", [f"{reason}; {remedy}"])
    origin = origin_of_boxes(config)
    if used:
        judged = maker if second is None else SecondOpinion(maker, second)
        refuse_other_store(out, judged, points_digest=clicks.digest, origin=origin)
    if not options.skip_bad:
        refuse_missing_images(clicks, images)
    for proposer in (maker, second):
        unload = getattr(proposer, "unload", None)
        if unload is not None:
            unload()  # learning needs the memory first
    folder = out.with_name(out.name + FOLDER_SUFFIX)
    boxes = enhance(clicks, images, folder, config, inputs={"images": images}, options=options)
    if used:
        maker = BoxedProposer(maker, boxes.boxes, origin={**origin, "digest": boxes.digest})
    return PromptBoxes(maker, folder / BOXES_NAME, boxes, bool(used))
