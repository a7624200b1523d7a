"""Small proposals, a quick proposer and small data sets for the tests of proposals."""

from __future__ import annotations

import os
import signal
import time

import numpy as np
from PIL import Image

from sapnet.data.annotations import points_from_json
from sapnet.data.instances import instances_from_json
from sapnet.data.rle import encode_mask
from sapnet.proposals.proposer import ImagePrompts, collect_proposals

SIZE = (48, 64)

# Not from data_builders: that imports torch, and every worker process of a test would too.


def box_mask(size, left, top, right, bottom):
    """A rectangle."""
    mask = np.zeros(size, dtype=bool)
    mask[top:bottom, left:right] = True
    return mask


def document(annotations, images=None):
    """A COCO-shaped object with two categories and, where none are given, one image."""
    return {
        "images": images or [{"id": 1, "file_name": "a.png", "width": SIZE[1], "height": SIZE[0]}],
        "categories": [{"id": 0, "name": "cat"}, {"id": 7, "name": "dog"}],
        "annotations": list(annotations),
    }


def prompts_at(xy, *, image_id=1, ids=None, labels=None, **more):
    """Prompts at the given points; further arguments as in ImagePrompts."""
    xy = np.asarray(xy, dtype=np.float64).reshape(-1, 2)
    ids = np.arange(1, len(xy) + 1) if ids is None else np.asarray(ids)
    labels = np.zeros(len(xy), dtype=np.int64) if labels is None else np.asarray(labels)
    return ImagePrompts(image_id=image_id, annotation_ids=ids, xy=xy, labels=labels, **more)


def random_proposals(image_id, seed=0, clicks=2, most=4):
    """Proposals of random boxes, a random number per click."""
    random = np.random.default_rng([seed, image_id])
    prompts = prompts_at(random.uniform(0, 40, (clicks, 2)), image_id=image_id)
    owner = np.repeat(np.arange(clicks), random.integers(0, most + 1, clicks))
    low = random.integers(0, 30, (len(owner), 2))
    masks = [box_mask(SIZE, x, y, x + 5 + i, y + 7) for i, (x, y) in enumerate(low.tolist())]
    return collect_proposals(
        prompts,
        SIZE,
        prompt_index=owner.tolist(),
        counts=[encode_mask(mask) for mask in masks],
        scores=random.uniform(size=len(owner)).tolist(),
        kinds=[("point", "box é")[i % 2] for i in range(len(owner))],
    )


class BoxProposer:
    """Proposes two squares per click; can be slow, fail, or kill its process at one image."""

    name = "boxes"

    def __init__(self, *, delay=0.0, fail_at=None, die_at=None, interrupt_at=None):
        self.settings = {"sides": [8, 16]}
        self.delay, self.fail_at, self.die_at, self.interrupt_at = delay, fail_at, die_at, interrupt_at

    def propose(self, image, prompts):
        time.sleep(self.delay)
        if prompts.image_id == self.fail_at:
            raise ValueError("no idea")
        if prompts.image_id == self.interrupt_at:
            raise KeyboardInterrupt
        if prompts.image_id == self.die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        size = image.shape[:2]
        index, counts, scores = [], [], []
        for i, (x, y) in enumerate(prompts.xy.astype(int).tolist()):
            for side in self.settings["sides"]:
                half = side // 2
                box = (max(x - half, 0), max(y - half, 0), x + half, y + half)
                index.append(i)
                counts.append(encode_mask(box_mask(size, *box)))
                scores.append(float(image[y, x].mean()) / side)
        kinds = ["point"] * len(index)
        return collect_proposals(prompts, size, prompt_index=index, counts=counts, scores=scores, kinds=kinds)


def small_points(num_images=6, clicks=2, shift=0.0, seed=0):
    """A point set of images 10, 9, 8, ... (not in rising order) with some clicks each."""
    random = np.random.default_rng(seed)
    images = [
        {"id": 10 * (num_images - i), "file_name": f"{i}.png", "width": SIZE[1], "height": SIZE[0]}
        for i in range(num_images)
    ]
    clicks = [
        {
            "id": 100 * image["id"] + j,
            "image_id": image["id"],
            "category_id": 0,
            "point": (random.uniform(4, 60, 2) * (1, 0.7) + shift).tolist(),
        }
        for image in images[:-1]
        for j in range(clicks)
    ]
    return points_from_json(document(clicks, images=images), "points.json")


def write_images(points, folder):
    """Write a random image for every entry of a point set."""
    for i, name in enumerate(points.images.file_names):
        pixels = np.random.default_rng(i).integers(0, 256, (*points.images.size(i), 3), dtype=np.uint8)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / name)
    return folder


def instance(annotation_id, mask, *, image_id=1, category_id=0, **more):
    """A COCO annotation of a mask."""
    segmentation = {"size": list(mask.shape), "counts": encode_mask(mask).decode()}
    return {
        "id": annotation_id,
        "image_id": image_id,
        "category_id": category_id,
        "segmentation": segmentation,
        **more,
    }


def instance_set(annotations, images=None):
    """An instance set of the annotations; one image of the default size where none are given."""
    return instances_from_json(document(annotations, images=images), "instances.json")


def same_proposals(a, b):
    """Whether two image's proposals are equal in every field."""
    return (
        (a.image_id, a.image_size, a.counts, a.kinds) == (b.image_id, b.image_size, b.counts, b.kinds)
        and np.array_equal(a.annotation_ids, b.annotation_ids)
        and np.array_equal(a.prompt_index, b.prompt_index)
        and np.array_equal(a.boxes, b.boxes)
        and np.array_equal(a.scores, b.scores)
        and np.array_equal(a.areas, b.areas)
        and (a.opinions is None) == (b.opinions is None)
        and (a.opinions is None or np.array_equal(a.opinions, b.opinions))
    )
