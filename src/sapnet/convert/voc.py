"""Pascal VOC 2012 and SBD (Semantic Boundaries) as COCO instances, in the split of the literature.

``train_aug`` is what weakly supervised instance segmentation trains on (method.md, section 5): the
images of SBD (train and val) and of VOC's segmentation train list, without those of VOC's
segmentation val list: 10,582. Evaluation is on VOC's 1,449 val images. Where an image has masks in
both, VOC's are taken.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Int
from numpy import ndarray
from PIL import Image
from scipy.io import loadmat

from sapnet.data.rle import encode_mask, mask_area, mask_box
from sapnet.errors import DataError, nearest
from sapnet.progress import Progress

Split = Literal["train", "val", "trainval", "train_aug"]
VOC_CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train",
    "tvmonitor",
)  # fmt: skip
PAPER_IMAGES = {"train_aug": 10_582, "val": 1_449}
"""How many images the splits of the paper have."""

_VOID = 255
_VOC_NAME = re.compile(r"(\d{4})_(\d{6})")


@dataclass(frozen=True)
class ObjectMasks:
    """The objects of one image as pictures."""

    objects: Int[ndarray, "H W"]
    """Number of the object from 1; 0 where there is none, also where void is."""
    classes: tuple[tuple[int, int], ...]
    """(number of the object, class 1..20), by number."""
    void: Bool[ndarray, "H W"]


def voc_document(root: Path, split: Split, *, sbd: Path | None = None, quiet: bool = False) -> dict[str, Any]:
    """Build a COCO instances object from the folders as they are unpacked.

    Args:
        root: ``VOCdevkit/VOC2012`` or a folder around it.
        split: A list of VOC's segmentation task, or ``train_aug``, which needs SBD.
        sbd: ``benchmark_RELEASE/dataset`` or a folder around it.
        quiet: Show no progress.

    Returns:
        Images by name; ``id`` is the name's digits (2007_000032: 2007000032) and an object's id is
        ``image id * 1000 + number``, so that ids stay the same in every split. Objects are run
        lengths with ``iscrowd`` 0 and their number in the picture under ``object``. Void pixels are
        in no object; they are under ``void`` of the image. Names of another form are
        numbered from 1.

    Raises:
        DataError: Folders, lists or pictures are missing or unusable; all are listed.
    """
    voc = _folder(
        root, ("SegmentationObject", "SegmentationClass", "ImageSets/Segmentation"), "VOC2012", "--root"
    )
    boundaries = None
    if split == "train_aug":
        if sbd is None:
            raise DataError("the command line", ["the split train_aug needs --sbd (SBD's benchmark_RELEASE)"])
        boundaries = _folder(sbd, ("inst", "train.txt", "val.txt"), "dataset", "--sbd")
    from_voc, from_sbd = _lists(voc, boundaries, split)
    names = sorted(from_voc | from_sbd)
    ids = _image_ids(names)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    problems: list[str] = []
    with Progress(len(names), "convert", quiet=quiet) as progress:
        for name in names:
            try:
                found = read_voc(voc, name) if name in from_voc else read_sbd(boundaries or voc, name)
            except DataError as error:
                problems += error.problems
            else:
                images.append(_image_entry(found, ids[name], name))
                annotations += _annotations(found, ids[name])
            progress.advance(1)
    if problems:
        raise DataError(f"{root}, split {split}", problems)
    source = "VOC 2012" if boundaries is None else "VOC 2012 and SBD"
    return {
        "info": {"description": f"{source} segmentation objects, split {split}"},
        "images": images,
        "categories": [{"id": number, "name": name} for number, name in enumerate(VOC_CLASSES, start=1)],
        "annotations": annotations,
    }


def read_voc(root: Path, name: str) -> ObjectMasks:
    """Read the object and class pictures of a VOC image.

    Raises:
        DataError: A picture is missing or unreadable, sizes differ, or an object has no single class.
    """
    by_object = _read_indices(root / "SegmentationObject" / f"{name}.png")
    by_class = _read_indices(root / "SegmentationClass" / f"{name}.png")
    if by_object.shape != by_class.shape:
        sizes = f"{by_object.shape[::-1]} and {by_class.shape[::-1]}"
        raise DataError(name, [f"{name}: object and class picture differ in size: {sizes} (width, height)"])
    void = by_object == _VOID
    objects = np.where(void, 0, by_object)
    return ObjectMasks(objects, _classes(objects, by_class, name), void)


def read_sbd(root: Path, name: str) -> ObjectMasks:
    """Read the objects of an SBD image (``inst/NAME.mat``; the class picture where that has no list).

    Raises:
        DataError: A file is missing, unreadable or has another structure.
    """
    found = _read_struct(root / "inst" / f"{name}.mat", "GTinst")
    objects = np.asarray(found["Segmentation"].item(), dtype=np.int64)
    names = found.dtype.names or ()
    if "Categories" in names:
        listed = np.atleast_1d(np.asarray(found["Categories"].item(), dtype=np.int64)).ravel()
        numbers = np.unique(objects[objects > 0])
        if len(numbers) and (numbers[-1] > len(listed) or not np.isin(listed, range(1, 21)).all()):
            where = root / "inst" / f"{name}.mat"
            problem = f"{where}: the classes {listed.tolist()} do not fit the objects {numbers.tolist()}"
            raise DataError(name, [problem])
        classes = tuple((int(number), int(listed[number - 1])) for number in numbers)
    else:
        by_class = _read_struct(root / "cls" / f"{name}.mat", "GTcls")
        classes = _classes(objects, np.asarray(by_class["Segmentation"].item(), dtype=np.int64), name)
    return ObjectMasks(objects, classes, np.zeros(objects.shape, dtype=bool))


def _folder(given: Path, contents: tuple[str, ...], name: str, option: str) -> Path:
    """Find the folder with the expected contents at or a few levels below the one given."""
    for candidate in (given, *sorted(given.glob(name)), *sorted(given.glob(f"*/{name}"))):
        if all((candidate / item).exists() for item in contents):
            return candidate
    missing = [item for item in contents if not (given / item).exists()]
    raise DataError(
        "the command line", [f"{option} {given}: no {', '.join(missing)} there or in a folder {name} below"]
    )


def _lists(voc: Path, sbd: Path | None, split: Split) -> tuple[set[str], set[str]]:
    """Return the names whose masks come from VOC, and those whose masks come from SBD."""
    lists = voc / "ImageSets" / "Segmentation"
    if sbd is None:
        return _read_list(lists / f"{split}.txt"), set()
    validation, training = _read_list(lists / "val.txt"), _read_list(lists / "train.txt")
    boundaries = _read_list(sbd / "train.txt") | _read_list(sbd / "val.txt")
    return training - validation, boundaries - training - validation


def _read_list(path: Path) -> set[str]:
    try:
        return set(path.read_text(encoding="utf-8").split())
    except (OSError, UnicodeDecodeError) as error:
        present = [item.name for item in path.parent.glob("*.txt")]
        raise DataError(
            str(path), [f"{path}: cannot be read as a list{nearest(path.name, present)}"]
        ) from error


def _image_ids(names: list[str]) -> dict[str, int]:
    matches = [_VOC_NAME.fullmatch(name) for name in names]
    if all(matches):
        return {
            name: int("".join(match.groups())) for name, match in zip(names, matches, strict=True) if match
        }
    return {name: number for number, name in enumerate(names, start=1)}


def _read_indices(path: Path) -> Int[ndarray, "H W"]:
    """Read the values of a palette picture (not its colours)."""
    try:
        with Image.open(path) as picture:
            if picture.mode not in ("P", "L"):
                raise DataError(str(path), [f"{path}: expected a palette picture, got mode {picture.mode}"])
            return np.asarray(picture, dtype=np.int64)
    except FileNotFoundError as error:
        raise DataError(str(path), [f"{path}: there is no such file"]) from error
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(str(path), [f"{path}: cannot be read as a picture ({error})"]) from error


def _read_struct(path: Path, key: str) -> ndarray:
    try:
        struct = loadmat(path, squeeze_me=True)[key]
        if "Segmentation" not in (struct.dtype.names or ()) or np.ndim(struct["Segmentation"].item()) != 2:
            raise KeyError("Segmentation")
    except FileNotFoundError as error:
        raise DataError(str(path), [f"{path}: there is no such file"]) from error
    except KeyError as error:
        raise DataError(str(path), [f"{path}: has no {key} with a Segmentation"]) from error
    except Exception as error:  # scipy raises anything on damaged files
        problem = f"{path}: cannot be read as a MATLAB file ({str(error) or type(error).__name__})"
        raise DataError(str(path), [problem]) from error
    return np.asarray(struct)


def _classes(objects: ndarray, by_class: ndarray, name: str) -> tuple[tuple[int, int], ...]:
    """Return the class of every object: the one most of its pixels have."""
    if objects.shape != by_class.shape:
        raise DataError(name, [f"{name}: object and class picture differ in size"])
    numbers = np.unique(objects[objects > 0])
    usable = (objects > 0) & (by_class > 0) & (by_class <= len(VOC_CLASSES))
    votes = np.zeros((int(numbers.max(initial=0)) + 1, len(VOC_CLASSES) + 1), dtype=np.int64)
    np.add.at(votes, (objects[usable], by_class[usable]), 1)
    problems = [
        f"{name}: object {number} has no class in the class picture"
        for number in numbers
        if not votes[number].any()
    ]
    if problems:
        raise DataError(name, problems)
    return tuple((int(number), int(votes[number].argmax())) for number in numbers)


def _image_entry(found: ObjectMasks, image_id: int, name: str) -> dict[str, Any]:
    height, width = found.objects.shape
    entry: dict[str, Any] = {"id": image_id, "file_name": f"{name}.jpg", "width": width, "height": height}
    if found.void.any():
        entry["void"] = _segmentation(encode_mask(found.void), (height, width))
    return entry


def _annotations(found: ObjectMasks, image_id: int) -> Iterator[dict[str, Any]]:
    height, width = found.objects.shape
    for number, category_id in found.classes:
        counts = encode_mask(found.objects == number)
        left, top, right, bottom = mask_box([counts], (height, width))[0].tolist()
        yield {
            "id": image_id * 1000 + number,
            "image_id": image_id,
            "category_id": category_id,
            "segmentation": _segmentation(counts, (height, width)),
            "bbox": [left, top, right - left, bottom - top],
            "area": int(mask_area([counts], (height, width))[0]),
            "iscrowd": 0,
            "object": number,
        }


def _segmentation(counts: bytes, size: tuple[int, int]) -> dict[str, Any]:
    return {"size": list(size), "counts": counts.decode("ascii")}
