"""A small but complete run folder, as ``sapnet run`` leaves it, for tests of the report."""

from __future__ import annotations

import json

import numpy as np
from PIL import Image

from sapnet.evaluation import evaluate_coco, evaluate_labels
from sapnet.proposals.store import ProposalStore
from sapnet.proposals.store_writer import StoreWriter
from scene_builders import FakeStore, document, rectangle, rle

SIZE = (60, 80)
NASTY = "<script>alert('x')</script>"


def build_run(folder, *, proposer="simulated", truth=True):
    """Write a run folder of two training images and one validation image; returns the folder."""
    images = folder / "images"
    images.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in (1, 2, 3):
        pixels = rng.integers(0, 255, (*SIZE, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(images / f"{number}.jpg")
    objects = [
        {"id": 10 + k, "image_id": 1 + k % 2, "category_id": 3 * (k % 2), "mask": _square(8 + 12 * k, 10)}
        for k in range(5)
    ]
    categories = ((3, NASTY), (0, "dog"))
    ground_truth = document(SIZE, [1, 2], objects, categories)
    bags = {1: {}, 2: {}}
    picked = []
    for k, item in enumerate(objects):
        part, group = _square(8 + 12 * k, 10, 4), rectangle(SIZE, 2, 5, 78, 40)
        bags[item["image_id"]][item["id"]] = [(0.9, part), (0.6, item["mask"]), (0.3, group)]
        mask = (part, item["mask"], group)[k % 3]
        extra = {"point": [11.0 + 12 * k, 13.0], "score": 0.2 + 0.1 * k, "proposal": k % 3}
        picked.append({**item, "mask": mask, **extra, "proposer_score": 0.5, "prompt_kind": "point"})
    run = folder / "run"
    run.mkdir()
    _write_store(run / "proposals", FakeStore(bags, SIZE), proposer)
    labels = document(SIZE, [1, 2], picked, categories)
    validation = document(SIZE, [3], [{**objects[0], "image_id": 3}], categories)
    predictions = [{"image_id": 3, "category_id": 0, "score": 0.8, "segmentation": rle(_square(9, 11))}]
    for name, content in (("truth", ground_truth), ("validation", validation)):
        (folder / f"{name}.json").write_text(json.dumps(content))
    (run / "labels.json").write_text(json.dumps(labels))
    (run / "predictions.json").write_text(json.dumps(predictions))
    inputs = {"points": None, "images": str(images), "proposals": None, "instances": None}
    inputs |= {"val_instances": None, "val_images": None}
    if truth:
        store = ProposalStore.open(run / "proposals")
        figures = {
            "labels": evaluate_labels(run / "labels.json", folder / "truth.json", store),
            "validation": evaluate_coco(run / "predictions.json", folder / "validation.json"),
        }
        (run / "evaluation.json").write_text(json.dumps(figures))
        inputs |= {"instances": str(folder / "truth.json"), "val_images": str(images)}
        inputs |= {"val_instances": str(folder / "validation.json")}
    environment = {"seed": 4, "versions": {"torch": "2"}, "digests": {"points": "abc"}, "inputs": inputs}
    (run / "environment.json").write_text(json.dumps(environment))
    (run / "config.yaml").write_text("seed: 4\ntraining:\n  epochs: 3\n  mode: end-to-end\n")
    _write_metrics(run / "metrics.jsonl")
    return run


def _square(x, y, side=10):
    return rectangle(SIZE, x, y, x + side, y + side)


def _write_store(folder, bags, proposer):
    settings = {"proposer_name": proposer, "proposer_settings": {}, "points_digest": "abc"}
    with StoreWriter(folder, **settings) as writer:
        for image_id in bags.bags:
            writer.append(bags.of_image(image_id))
        writer.finish()


def _write_metrics(path):
    rows = [
        {"kind": "step", "step": step, "epoch": 0, "loss/total": 3.0 / step, "loss/mask": float("nan")}
        for step in range(1, 30)
    ]
    rows += [{"kind": "evaluation", "step": 15, "epoch": 1, "AP": 0.25, "AP50": 0.5, "AP75": None}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + "{cut off")
