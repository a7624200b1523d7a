"""The embedded data set: scenes drawn by this package, so that a demonstration needs no download.

The objects have what makes point supervision hard in photographs: parts of clearly different
colours (a part is a tempting proposal), touching neighbours of one class (a group is tempting),
clutter made of the same parts, occlusion, and sizes that vary threefold.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray
from PIL import Image

from sapnet.data.annotations import save_points
from sapnet.data.atomic import write_bytes_atomic, write_json_atomic
from sapnet.data.instances import instances_from_json
from sapnet.data.point_sampling import sample_points
from sapnet.data.rle import encode_mask, mask_area, mask_box
from sapnet.data.scene_layout import SUPERSAMPLING, draw_layout
from sapnet.data.scene_painting import paint
from sapnet.data.scene_shapes import CLASSES

_SIZES = ((192, 256), (192, 256), (200, 240), (184, 272), (256, 192))


def write_scenes(
    folder: str | os.PathLike[str], *, num_train: int = 60, num_val: int = 30, seed: int = 0
) -> None:
    """Draw the embedded data set.

    Writes ``images/`` (PNG), ``instances_train.json``, ``instances_val.json`` (masks of the visible
    pixels, and under the key ``parts`` of every annotation the run lengths of its visible parts)
    and ``points_train.json`` (quasi-centre clicks).

    Args:
        folder: Made if missing; files of the same names are replaced.
        num_train: Number of training scenes.
        num_val: Number of validation scenes.
        seed: Equal seeds give equal files.

    Raises:
        JobError: A file cannot be written.
    """
    folder = Path(folder)
    next_image, next_annotation = 1, 1
    for split, count in (("train", num_train), ("val", num_val)):
        document: dict[str, Any] = {
            "info": {"description": f"sapnet scenes ({split})", "seed": seed},
            "images": [],
            "categories": [{"id": i + 1, "name": name} for i, name in enumerate(CLASSES)],
            "annotations": [],
        }
        for _ in range(count):
            image, annotations = draw_scene(seed, next_image)
            name = f"{split}_{next_image:04d}.png"
            write_bytes_atomic(folder / "images" / name, _png(image))
            height, width = image.shape[:2]
            document["images"].append({"id": next_image, "file_name": name, "width": width, "height": height})
            for annotation in annotations:
                document["annotations"].append({"id": next_annotation, "image_id": next_image, **annotation})
                next_annotation += 1
            next_image += 1
        path = folder / f"instances_{split}.json"
        write_json_atomic(path, document)
        if split == "train":
            instances = instances_from_json(document, str(path))
            save_points(sample_points(instances, "quasi-center", seed), folder / "points_train.json")


def draw_scene(seed: int, number: int) -> tuple[UInt8[ndarray, "H W 3"], list[dict[str, Any]]]:
    """Draw one scene.

    Args:
        seed: Seed of the data set.
        number: Which scene of it; scenes do not depend on each other.

    Returns:
        The RGB image, and COCO annotations without ``id`` and ``image_id``.
    """
    rng = np.random.default_rng([seed % 2**64, number])
    size = _SIZES[int(rng.integers(len(_SIZES)))]
    layout = draw_layout(size, rng)
    image = paint(layout, rng)
    # The canvas pixel in the middle of every image pixel decides whose it is.
    middle = SUPERSAMPLING // 2
    part_map = layout.part_map()[middle::SUPERSAMPLING, middle::SUPERSAMPLING]
    owner = layout.part_owner()
    annotations = []
    for index, item in enumerate(layout.objects):
        values = np.flatnonzero(owner == index)
        counts = encode_mask(owner[part_map] == index)
        parts = [encode_mask(part_map == value) for value in values if (part_map == value).any()]
        left, top, right, bottom = mask_box([counts], size)[0].tolist()
        annotations.append(
            {
                "category_id": item.label + 1,
                "segmentation": _segmentation(counts, size),
                "area": int(mask_area([counts], size)[0]),
                "bbox": [left, top, right - left, bottom - top],
                "iscrowd": 0,
                "parts": [_segmentation(part, size) for part in parts],
            }
        )
    return image, annotations


def _segmentation(counts: bytes, size: tuple[int, int]) -> dict[str, Any]:
    return {"size": list(size), "counts": counts.decode("ascii")}


def _png(image: ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, format="PNG")
    return stream.getvalue()
