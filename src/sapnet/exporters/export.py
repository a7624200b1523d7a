"""Labels in any of the formats, written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal, get_args

from sapnet.data.atomic import write_bytes_atomic, write_json_atomic
from sapnet.errors import DataError, InputError, nearest
from sapnet.exporters.coco import coco_document
from sapnet.exporters.cvat import cvat_xml
from sapnet.exporters.folders import refuse_foreign_folder, write_folder
from sapnet.exporters.label_studio import LOCAL_FILES, label_studio_tasks
from sapnet.exporters.labelme import labelme_files
from sapnet.exporters.losses import Losses
from sapnet.exporters.names import relative_names
from sapnet.exporters.voc import voc_files
from sapnet.exporters.yolo import yolo_files
from sapnet.labels.label_set import LabelSet

Format = Literal["coco", "yolo", "labelme", "voc", "label-studio", "cvat"]
FORMATS: tuple[str, ...] = get_args(Format)
FOLDER_FORMATS = ("yolo", "labelme", "voc")
"""Formats of many files; the others are one file."""

_WITHOUT = {
    "yolo": ("scores", "clicks", "sources"),
    "labelme": ("clicks", "sources"),
    "voc": ("scores", "clicks", "sources", "annotation ids"),
    "label-studio": ("clicks", "sources"),
    "cvat": ("scores", "clicks", "sources"),
}


@dataclass(frozen=True)
class ExportOptions:
    """What can be chosen about a format; options that a format has no use for must stay None."""

    shapes: Literal["mask", "polygon"] | None = None
    """Exact masks, or polygons: coco, labelme, label-studio (default polygon), cvat."""
    parts: Literal["largest", "bridge", "split"] | None = None
    """yolo: what becomes of objects of several parts (default bridge)."""
    void_rim: int | None = None
    """voc: pixels on both sides of outlines that become void (default 0)."""
    sixteen_bit: bool | None = None
    """voc: object pictures with 16 bits."""
    image_url: str | None = None
    """label-studio: what comes before the file name in the address of an image."""


_OPTION_NAMES = {
    "shapes": "--segm",
    "parts": "--parts",
    "void_rim": "--void-rim",
    "sixteen_bit": "--sixteen-bit",
    "image_url": "--image-url",
}
_USED_BY = {
    "shapes": ("coco", "labelme", "label-studio", "cvat"),
    "parts": ("yolo",),
    "void_rim": ("voc",),
    "sixteen_bit": ("voc",),
    "image_url": ("label-studio",),
}


def check_export(name: str, out: str | os.PathLike[str], options: ExportOptions) -> None:
    """Refuse what cannot work before anything expensive is done.

    Raises:
        InputError: There is no such format, an option is not one of its own, or ``out`` is taken.
    """
    if name not in FORMATS:
        raise InputError(
            "the format", [f"there is no format {name!r}{nearest(name, FORMATS)}: {', '.join(FORMATS)}"]
        )
    problems = [
        f"{_OPTION_NAMES[option]} ({option}) is for {', '.join(used)}, not for {name}"
        for option, used in _USED_BY.items()
        if getattr(options, option) is not None and name not in used
    ]
    if name not in FOLDER_FORMATS and Path(out).is_dir():
        problems.append(f"--out {out}: is a folder, {name} is one file")
    if problems:
        raise InputError("the options of the format", problems)
    if name in FOLDER_FORMATS:
        refuse_foreign_folder(Path(out))


def export_labels(
    labels: LabelSet,
    out: str | os.PathLike[str],
    name: str,
    options: ExportOptions | None = None,
    *,
    images_dir: str | os.PathLike[str] | None = None,
) -> dict[str, Any]:
    """Write labels in a format.

    Args:
        labels: The objects.
        out: File to write, or folder for ``FOLDER_FORMATS``. A folder that another export wrote is
            replaced; one with other files is refused.
        name: One of ``FORMATS``.
        options: Choices; the defaults of the format where None.
        images_dir: Folder of the images. yolo puts them beside the labels (hard links, or copies on
            another disk); labelme writes their paths relative to its files.

    Returns:
        Counts, and under ``lost`` what the format could not hold.

    Raises:
        InputError: The format, an option or ``out`` cannot be used.
        DataError: Names collide, images are missing, or there are more objects than a format numbers.
        JobError: Writing failed; what was there before is intact.
    """
    options = options or ExportOptions()
    check_export(name, out, options)
    lost: Losses = Losses()
    target, images = Path(out), None if images_dir is None else Path(images_dir)
    figures: dict[str, Any] = {"out": str(out), "format": name}
    if name in FOLDER_FORMATS:
        links = list(_image_links(labels, images)) if name == "yolo" and images is not None else []
        about = {"format": name, "images": len(labels.images), "objects": len(labels)}
        files = _folder_files(labels, name, options, lost, target, images)
        figures["files"] = write_folder(target, files, lambda: {**about, "lost": dict(lost)}, links)
    elif name == "cvat":
        write_bytes_atomic(target, cvat_xml(labels, lost, shapes=options.shapes or "mask"))
    else:
        write_json_atomic(target, _json_document(labels, name, options, lost))
    figures |= {"images": len(labels.images), "objects": len(labels), "lost": dict(sorted(lost.items()))}
    if name in _WITHOUT:
        figures["not_written"] = list(_WITHOUT[name])
    return figures


def _json_document(labels: LabelSet, name: str, options: ExportOptions, lost: Losses) -> Any:
    if name == "coco":
        return coco_document(labels, lost, shapes=options.shapes or "mask")
    return label_studio_tasks(
        labels, lost, shapes=options.shapes or "polygon", image_url=options.image_url or LOCAL_FILES
    )


def _folder_files(
    labels: LabelSet, name: str, options: ExportOptions, lost: Losses, out: Path, images: Path | None
) -> Iterable[tuple[PurePosixPath, bytes]]:
    if name == "yolo":
        return yolo_files(labels, lost, parts=options.parts or "bridge")
    if name == "labelme":
        return labelme_files(labels, lost, shapes=options.shapes or "mask", images_dir=images, out=out)
    return voc_files(labels, lost, void_rim=options.void_rim or 0, sixteen_bit=bool(options.sixteen_bit))


def _image_links(labels: LabelSet, images: Path) -> Iterator[tuple[PurePosixPath, Path]]:
    """Yield where each image goes in a YOLO folder, and where it is."""
    missing = [name for name in labels.images.file_names if not (images / name).is_file()]
    if missing:
        raise DataError(str(images), [f"{images / name}: there is no such image" for name in missing])
    for index, name in enumerate(relative_names(labels, unique_stems=True)):
        yield PurePosixPath("images", "train", name), images / labels.images.file_names[index]
