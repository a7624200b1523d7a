"""Data sets of the paper as COCO instances, and parts of COCO files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from sapnet.api.arguments import AnyPath, existing, refuse_unknown
from sapnet.api.process_state import in_python_words

_Split = Literal["train", "val", "trainval", "train_aug"]


def convert_voc(
    root: AnyPath, *, split: _Split, out: AnyPath, sbd: AnyPath | None = None, quiet: bool = False
) -> dict[str, Any]:
    """Write Pascal VOC 2012, with SBD if asked, as COCO instances (``sapnet convert voc``).

    Args:
        root: ``VOCdevkit/VOC2012``.
        split: Images to take; ``train_aug`` is SBD and VOC train without VOC val.
        out: COCO instances file to write.
        sbd: SBD's ``benchmark_RELEASE``, for ``train_aug``.
        quiet: Show no progress.

    Returns:
        Counts and the path.

    Raises:
        InputError: Something given is wrong; ``problems`` lists everything.
        JobError: ``out`` cannot be written.
    """
    from sapnet import pipeline

    with in_python_words():
        refuse_unknown(split=(split, get_args(_Split)))
        return pipeline.convert_voc(**existing(root=root, sbd=sbd), split=split, out=Path(out), quiet=quiet)


def convert_subset(
    source: AnyPath,
    *,
    out: AnyPath,
    classes: Sequence[str] | None = None,
    num_images: int | None = None,
    keep_empty: bool = False,
    seed: int = 0,
) -> dict[str, Any]:
    """Write some classes and images of a COCO file (``sapnet convert subset``).

    Args:
        source: Instances, points or labels.
        out: File to write.
        classes: Names of the classes to keep; all if None.
        num_images: How many images to draw; all if None.
        keep_empty: Keep images without an object of the classes.
        seed: Seed of the draw.

    Returns:
        Counts and the path.

    Raises:
        InputError: Something given is wrong; ``problems`` lists everything.
        JobError: ``out`` cannot be written.
    """
    from sapnet import pipeline

    with in_python_words():
        return pipeline.convert_subset(
            **existing(source=source),
            out=Path(out),
            classes=classes,
            num_images=num_images,
            keep_empty=keep_empty,
            seed=seed,
        )
