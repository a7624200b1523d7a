"""Labels as Pascal VOC class and object pictures."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from jaxtyping import Bool, Int, UInt8
from numpy import ndarray
from PIL import Image
from scipy import ndimage

from sapnet.data.coco_json import parse_extras
from sapnet.data.rle import decode_masks, segmentation_to_counts
from sapnet.errors import DataError
from sapnet.exporters.losses import Losses, add, rows_to_write
from sapnet.exporters.names import relative_names
from sapnet.labels.label_set import LabelSet

VOID = 255
"""The value of pixels that count for nothing."""
MAX_OBJECTS = 254
"""How many objects fit into 8 bits beside background and void."""


def voc_files(
    labels: LabelSet, lost: Losses, *, void_rim: int = 0, sixteen_bit: bool = False
) -> Iterator[tuple[PurePosixPath, bytes]]:
    """Build ``SegmentationClass``, ``SegmentationObject``, a list of images and one of classes.

    Objects are numbered from 1 in file order; a class has its rank among the categories, from 1.
    A pixel has one value: where masks overlap, the higher score wins, among equal scores the
    smaller mask, among equal ones the later in the file. Crowd regions, ``void``
    and ``ignore_regions`` of an image become void wherever no object is.

    Args:
        labels: The objects.
        lost: Counts the pixels and objects hidden by others.
        void_rim: Pixels on both sides of every outline that become void, as around VOC's own
            objects (about 5 there).
        sixteen_bit: Write object pictures with 16 bits and no palette, which hold 65,534 objects;
            void is 65,535 in them.

    Yields:
        Path and content.

    Raises:
        DataError: More classes or objects than the pictures can number; all such images are listed.
    """
    _refuse_too_many(labels, 65_534 if sixteen_bit else MAX_OBJECTS)
    names = relative_names(labels, unique_stems=True)
    listing = "".join(f"{name.with_suffix('')}\n" for name in names)
    yield PurePosixPath("ImageSets", "Segmentation", "labels.txt"), listing.encode("utf-8", "surrogatepass")
    classes = "".join(f"{item.name}\n" for item in labels.categories)
    yield PurePosixPath("classes.txt"), classes.encode("utf-8", "surrogatepass")
    for index, name in enumerate(names):
        rows = rows_to_write(labels, index, lost)
        lost.pop("crowd_regions_left_out", None)  # they are written, as void
        owners = _owners(labels, index, rows, lost)
        void = _void(labels, index) & (owners == 0)
        if void_rim:
            void |= _rim(owners, void_rim)
        classes_of = np.concatenate([[0], labels.annotation_labels[rows] + 1])
        by_class = np.where(void, VOID, classes_of[owners]).astype(np.uint8)
        top = 65_535 if sixteen_bit else VOID
        by_object = np.where(void, top, owners).astype(np.uint16 if sixteen_bit else np.uint8)
        yield PurePosixPath("SegmentationClass", name).with_suffix(".png"), _png(by_class)
        yield PurePosixPath("SegmentationObject", name).with_suffix(".png"), _png(by_object)


def voc_palette() -> UInt8[ndarray, "256 3"]:
    """Return VOC's colours: bit 3 k + c of the value is bit 7 - k of channel c."""
    values = np.arange(256)
    colours = np.zeros((256, 3), dtype=np.uint8)
    for bit in range(8):
        for channel in range(3):
            if 3 * bit + channel < 8:
                colours[:, channel] |= (((values >> (3 * bit + channel)) & 1) << (7 - bit)).astype(np.uint8)
    return colours


def _owners(labels: LabelSet, index: int, rows: ndarray, lost: Losses) -> Int[ndarray, "H W"]:
    """Return for every pixel the number of the object on top, 0 for background."""
    owners = np.zeros(labels.images.size(index), dtype=np.int64)
    areas = labels.areas_of(rows)
    scores = np.nan_to_num(labels.scores[rows], nan=0.0)
    for place in np.lexsort((np.arange(len(rows)), -areas, scores)).tolist():
        owners[labels.mask_of(int(rows[place]))] = place + 1
    visible = np.bincount(owners.ravel(), minlength=len(rows) + 1)[1:]
    add(lost, "hidden_pixels", int((areas - visible).sum()))
    add(lost, "hidden_objects", int((visible == 0).sum()))
    return owners


def _void(labels: LabelSet, index: int) -> Bool[ndarray, "H W"]:
    size = labels.images.size(index)
    rows = labels.rows_of(index)
    regions = labels.counts.take(rows[labels.iscrowd[rows]])
    extras = parse_extras(labels.images.extras[index])
    try:
        regions += [segmentation_to_counts(item, size) for item in _ignored(extras)]
    except (ValueError, TypeError, OverflowError) as error:
        where = labels.images.file_names[index]
        raise DataError("the labels", [f"image {where}: void or ignore_regions: {error}"]) from error
    return np.asarray(decode_masks(regions, size).any(axis=0)) if regions else np.zeros(size, dtype=bool)


def _ignored(extras: dict[str, Any]) -> Iterator[Any]:
    """Yield the segmentations of what an image asks to leave out of account.

    ``void`` is a segmentation (``sapnet convert voc``); ``ignore_regions`` are objects with ``bbox``
    or ``polygon`` (``sapnet points import``).
    """
    if "void" in extras:
        yield extras["void"]
    for region in extras.get("ignore_regions", []):
        if "polygon" in region:
            yield [[value for vertex in region["polygon"] for value in vertex]]
        elif "bbox" in region:
            left, top, width, height = region["bbox"]
            right, bottom = left + width, top + height
            yield [[left, top, right, top, right, bottom, left, bottom]]


def _rim(owners: ndarray, width: int) -> Bool[ndarray, "H W"]:
    """Return the pixels whose centre is within ``width`` of a pixel of another owner."""
    edge = np.zeros(owners.shape, dtype=bool)
    for axis in (0, 1):
        differs = np.diff(owners, axis=axis) != 0
        edge |= np.pad(differs, [(0, 1) if side == axis else (0, 0) for side in (0, 1)])
        edge |= np.pad(differs, [(1, 0) if side == axis else (0, 0) for side in (0, 1)])
    if not edge.any():
        return edge
    return ndimage.distance_transform_edt(~edge) <= width - 1


def _refuse_too_many(labels: LabelSet, most: int) -> None:
    problems = []
    if len(labels.categories) > MAX_OBJECTS:
        problems.append(f"{len(labels.categories)} classes, but class pictures can number {MAX_OBJECTS}")
    counts = np.bincount(labels.annotation_image_index[~labels.iscrowd], minlength=len(labels.images))
    way_out = "" if most > MAX_OBJECTS else " (--sixteen-bit holds 65,534)"
    problems += [
        f"image {labels.images.file_names[index]}: {counts[index]} objects, but object pictures can number "
        f"{most}{way_out}"
        for index in np.flatnonzero(counts > most).tolist()
    ]
    if problems:
        raise DataError("the labels", problems)


def _png(values: ndarray) -> bytes:
    if values.dtype == np.uint16:
        picture = Image.fromarray(values)
    else:
        picture = Image.fromarray(values, "L")
        picture.putpalette(voc_palette().tobytes())
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()
