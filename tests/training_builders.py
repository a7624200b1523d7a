"""A data set of 64 x 64 pixels with a proposal store, and settings of a network that trains in a blink."""

from __future__ import annotations

import copy
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from data_builders import box_mask, proposals, write_json
from sapnet.build import build_model
from sapnet.config import Config
from sapnet.data.annotations import load_points
from sapnet.data.rle import encode_mask
from sapnet.proposals.store_writer import StoreWriter

SIZE = (64, 64)
CATEGORIES = ((3, "cat"), (7, "dog"))
TINY = {
    "data": {
        "train_short_sides": [64],
        "test_short_side": 64,
        "max_long_side": 64,
        "num_workers": 0,
        "max_proposals": 4,
    },
    "model": {
        "backbone": {"name": "test_efficientnet", "weights": "none", "frozen_stages": 0},
        "pyramid": {"channels": 24},
        "mil_head": {"projection_channels": 8, "roi_size": 3, "hidden_channels": 16},
        "regions": {"background_per_image": 6, "part_min_area": 16.0},
        "solov2": {
            "head_channels": 24,
            "head_convs": 1,
            "mask_channels": 16,
            "kernel_channels": 16,
            "num_grids": [8, 6, 4, 3, 2],
            "scale_ranges": [[1, 16], [8, 24], [16, 32], [24, 48], [40, 64]],
        },
    },
    "optim": {"warmup_steps": 0},
    "training": {"epochs": 2, "selection_warmup_epochs": 1, "evaluate_epochs": 0, "log_steps": 1},
    "device": "cpu",
}


def tiny_config(**changes):
    """The tiny settings with changes given as nested dicts."""
    values = json.loads(Config().model_dump_json())
    for layer in (copy.deepcopy(TINY), changes):
        _merge(values, layer)
    return Config.model_validate_json(json.dumps(values))


def network_that_tells_apart(config):
    """A network of two classes in evaluation mode, always with the same random weights."""
    torch.manual_seed(0)
    network = build_model(config.model, num_classes=2, mask_stride=4, pretrained=False)
    # Fresh class outputs are so close to each other that no pick would depend on them.
    with torch.no_grad():
        for parameter in network.selection.head.parameters():
            if parameter.ndim > 1:
                parameter.copy_(torch.randn(parameter.shape) * 0.15)
    return network.eval()


def _merge(values, changes):
    for key, value in changes.items():
        if isinstance(value, dict):
            _merge(values[key], value)
        else:
            values[key] = value


@dataclass
class TinyData:
    """Paths of a data set on disk."""

    folder: Path
    points: Path
    images: Path
    store: Path
    instances: Path


def write_tiny_data(
    folder,
    *,
    num_images=4,
    clicks_per_image=2,
    seed=0,
    categories=CATEGORIES,
    empty=(),
    crowded=False,
    proposer="regions",
):
    """Write images, clicks, a finished store and ground truth.

    ``empty`` holds annotation ids whose bags have no proposal. Annotation ids count from 1. With
    ``crowded`` every bag has a proposal a little larger than the object, which box mining can merge,
    and one that covers every click of the image.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    images, annotations, truth, bags = [], [], [], {}
    for image_id in range(1, num_images + 1):
        name = f"{image_id}.png"
        pixels = rng.integers(0, 90, (*SIZE, 3), dtype=np.uint8)
        bags[image_id] = {}
        for _ in range(clicks_per_image):
            number = len(annotations) + 1
            left, top = (int(value) for value in rng.integers(2, 36, 2))
            label = number % len(categories)
            whole = box_mask(SIZE, left, top, left + 22, top + 20)
            pixels[whole] = (220, 60, 60) if label else (60, 60, 220)
            part = box_mask(SIZE, left + 6, top + 5, left + 15, top + 14)
            group = box_mask(SIZE, max(left - 8, 0), max(top - 8, 0), left + 27, top + 25)
            masks = [(part, 0.9), (whole, 0.7), (group, 0.5)]
            if crowded:
                wider = box_mask(SIZE, left - 1, top - 1, left + 24, top + 22)
                masks = [(part, 0.9), (whole, 0.7), (wider, 0.6), (box_mask(SIZE, 1, 1, 63, 63), 0.5)]
            common = {"id": number, "image_id": image_id, "category_id": categories[label][0]}
            annotations.append({**common, "point": [left + 11.0, top + 10.0]})
            counts = {"size": list(SIZE), "counts": encode_mask(whole).decode()}
            box = [left, top, 22, 20]
            truth.append({**common, "segmentation": counts, "area": 440, "bbox": box, "iscrowd": 0})
            bags[image_id][number] = [] if number in empty else masks
        (folder / "images").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(folder / "images" / name)
        images.append({"id": image_id, "file_name": name, "width": SIZE[1], "height": SIZE[0]})
    shared = {"images": images, "categories": [{"id": key, "name": name} for key, name in categories]}
    points = write_json(folder / "points.json", {**shared, "annotations": annotations})
    instances = write_json(folder / "instances.json", {**shared, "annotations": truth})
    write_store(folder / "store", points, bags, proposer=proposer)
    return TinyData(folder, points, folder / "images", folder / "store", instances)


def write_store(folder, points, bags, *, proposer="regions"):
    digest = load_points(points).digest
    with StoreWriter(folder, proposer_name=proposer, proposer_settings={}, points_digest=digest) as writer:
        for image_id, content in bags.items():
            writer.append(proposals(image_id, SIZE, content))
        writer.finish()
    return folder


def train_arguments(data, out):
    """The arguments of ``sapnet.train`` as keywords."""
    return {"points": data.points, "images": data.images, "proposals": data.store, "out": out}


def train_options(data, out):
    """The same as words of the command line."""
    words = {"--points": data.points, "--images": data.images, "--proposals": data.store, "--out": out}
    return [word for pair in words.items() for word in pair]


def write_bench_data(folder):
    """The tiny data under the names that a benchmark looks for; the validation images are the training's."""
    tiny = write_tiny_data(folder)
    shutil.copy(tiny.points, folder / "points_train.json")
    for name in ("instances_train.json", "instances_val.json"):
        shutil.copy(tiny.instances, folder / name)
    return folder
