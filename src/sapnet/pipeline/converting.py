"""The jobs that turn labels and data sets into other formats."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sapnet.convert.subset import subset_document
from sapnet.convert.voc import PAPER_IMAGES, Split, voc_document
from sapnet.data.atomic import write_json_atomic
from sapnet.data.coco_json import read_json
from sapnet.errors import DataError, InputError
from sapnet.exporters.export import ExportOptions, check_export, export_labels
from sapnet.labels.label_set import LabelSet, labels_from_json, load_labels


def convert_labels(
    source: Path,
    to: str,
    out: Path,
    *,
    images: Path | None = None,
    instances: Path | None = None,
    options: ExportOptions | None = None,
) -> dict[str, Any]:
    """Write labels, predictions or instances in another format (``sapnet convert``).

    Args:
        source: A file of ``sapnet label`` or ``sapnet predict``, COCO instances, or COCO results.
        to: ``coco``, ``yolo``, ``labelme``, ``voc``, ``label-studio`` or ``cvat``.
        out: File or folder to write.
        images: Folder of the images, for formats that refer to them.
        instances: For COCO results, which have neither: the file with images and categories.
        options: What can be chosen about the format.

    Returns:
        Counts, what the format could not hold, and the path.
    """
    check_export(to, out, options or ExportOptions())
    _refuse_overwriting(source, out)
    return export_labels(_load(Path(source), instances), out, to, options, images_dir=images)


def convert_voc(
    root: Path, split: Split, out: Path, *, sbd: Path | None = None, quiet: bool = False
) -> dict[str, Any]:
    """Write Pascal VOC 2012, with SBD if asked, as COCO instances (``sapnet convert voc``).

    Args:
        root: ``VOCdevkit/VOC2012``.
        split: ``train``, ``val``, ``trainval`` or ``train_aug``.
        out: COCO instances file to write.
        sbd: SBD's ``benchmark_RELEASE``.
        quiet: Show no progress.

    Returns:
        Counts, the number of images in the paper's split where there is one, and the path.
    """
    document = voc_document(Path(root), split, sbd=None if sbd is None else Path(sbd), quiet=quiet)
    write_json_atomic(out, document)
    counted = len(document["images"])
    figures = {"out": str(out), "split": split, "images": counted, "objects": len(document["annotations"])}
    expected = PAPER_IMAGES.get(split)
    if expected is not None:
        figures["paper_images"] = expected
    if expected not in (None, counted):
        figures["note"] = f"the paper's split has {expected:,} images; the folders are not the whole data set"
    return figures


def convert_subset(
    source: Path,
    out: Path,
    *,
    classes: Sequence[str] | None = None,
    num_images: int | None = None,
    keep_empty: bool = False,
    seed: int = 0,
) -> dict[str, Any]:
    """Write some classes and images of a COCO-shaped file (``sapnet convert subset``).

    Args:
        source: Instances, points or labels.
        out: File to write.
        classes: Names of the classes to keep; all if None.
        num_images: How many images to draw; all if None.
        keep_empty: Keep images without objects of the classes.
        seed: Seed of the draw.

    Returns:
        Counts and the path.
    """
    _refuse_overwriting(source, out)
    document = subset_document(
        read_json(source),
        str(source),
        classes=classes,
        num_images=num_images,
        keep_empty=keep_empty,
        seed=seed,
    )
    write_json_atomic(out, document)
    sections = ("images", "categories", "annotations")
    return {"out": str(out), "seed": seed, **{key: len(document[key]) for key in sections}}


def _refuse_overwriting(source: Path, out: Path) -> None:
    if Path(source).exists() and Path(out).exists() and Path(source).samefile(out):
        raise InputError("the command line", [f"--out {out}: would be written over the source"])


def _load(source: Path, instances: Path | None) -> LabelSet:
    results = _results(source)
    if results is None:
        return load_labels(source)
    if instances is None:
        problem = (
            "is a list of COCO results, without images and classes; --instances names the file that has them"
        )
        raise DataError(str(source), [problem])
    document = {key: read_json(instances).get(key, []) for key in ("images", "categories")}
    numbered = [{**entry, "id": number} for number, entry in enumerate(results, start=1)]
    return labels_from_json({**document, "annotations": numbered}, str(source))


def _results(source: Path) -> list[dict[str, Any]] | None:
    """Return the entries of a file of COCO results, or None if it is something else."""
    try:
        with source.open("rb") as stream:
            if not stream.read(64).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"["):
                return None
        entries = json.loads(source.read_bytes().decode("utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return None  # reading it as an object says what is wrong
    return [entry if isinstance(entry, dict) else {} for entry in entries]
