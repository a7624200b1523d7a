"""Small annotation files, images and stand-ins for proposal stores, used by the data tests."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from sapnet.data.annotations import points_from_json
from sapnet.data.dataset import TrainingDataset
from sapnet.data.rle import encode_mask, mask_area, mask_box
from sapnet.proposals.proposer import ImageProposals


def image_entry(image_id=1, name="a.png", size=(48, 64), **more):
    return {"id": image_id, "file_name": name, "width": size[1], "height": size[0], **more}


def click(annotation_id, point, image_id=1, category_id=0, **more):
    return {
        "id": annotation_id,
        "image_id": image_id,
        "category_id": category_id,
        "point": list(point),
        **more,
    }


def document(annotations=(), images=None, categories=((0, "cat"), (7, "dog")), **more):
    return {
        "images": [image_entry()] if images is None else images,
        "categories": [{"id": number, "name": name} for number, name in categories],
        "annotations": list(annotations),
        **more,
    }


def point_set(annotations=(), **more):
    return points_from_json(document(annotations, **more), "points.json")


def write_json(path, obj):
    path.write_text(json.dumps(obj), encoding="utf-8")
    return path


def write_image(path, size=(48, 64), seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return pixels


def proposals(image_id, size, bags):
    """Build proposals from {annotation id: [(mask, score), ...]}, as a store would give them."""
    ids = list(bags)
    rows = [(index, mask, score) for index, key in enumerate(ids) for mask, score in bags[key]]
    counts = tuple(encode_mask(mask) for _, mask, _ in rows)
    return ImageProposals(
        image_id=image_id,
        image_size=size,
        annotation_ids=np.array(ids, dtype=np.int64),
        prompt_index=np.array([row[0] for row in rows], dtype=np.int64),
        counts=counts,
        boxes=mask_box(counts, size).astype(np.float32),
        scores=np.array([row[2] for row in rows], dtype=np.float32),
        areas=mask_area(counts, size).astype(np.float32),
        kinds=("point",) * len(rows),
    )


@dataclass
class FakeStore:
    """A store in memory that remembers which images were asked for."""

    content: dict
    asked: list = field(default_factory=list)

    def of_image(self, image_id):
        self.asked.append(image_id)
        return self.content[image_id]


def box_mask(size, left, top, right, bottom):
    mask = np.zeros(size, dtype=bool)
    mask[top:bottom, left:right] = True
    return mask


def training_dataset(points, folder, store, **changes):
    settings = {
        "short_sides": (24, 32, 40),
        "max_long_side": 64,
        "flip_probability": 0.5,
        "mask_stride": 4,
        "max_proposals": 3,
        "num_background": 5,
        "num_parts": 2,
        "mean": (0.5, 0.5, 0.5),
        "std": (0.25, 0.25, 0.25),
        "seed": 0,
        "training": True,
    }
    return TrainingDataset(points, folder, store, **{**settings, **changes})
