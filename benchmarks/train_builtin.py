"""Train the built-in proposer: first the boundary network, then the ranking of its regions.

    python benchmarks/train_builtin.py boundaries DATA OUT [--steps 4000] [--batch-size 4] [--side 224]
    python benchmarks/train_builtin.py ranking DATA OUT [--photographs 120]
    python benchmarks/train_builtin.py measure DATA [--weights FILE] [--set street4] [--every 3]

DATA holds ``bsds500``, ``objects``, ``images``, and the sets for measuring (``street4``, ``voc20``), whose
photographs are left out by their file names. A quarter of the object photographs is kept for the ranking.
Started again with the same OUT, the training continues where it was killed. ``ranking`` reads OUT's
checkpoint and writes OUT/boundaries.safetensors, the one file that the package ships. ``measure`` prints
the quality of the bags (`sapnet.proposals.quality`) as one JSON object.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from sapnet.data.annotations import InstanceSet, PointSet, load_instances, load_points
from sapnet.data.coco_json import parse_extras, read_json
from sapnet.data.images import read_image
from sapnet.data.point_sampling import Mode, sample_points
from sapnet.data.rle import decode_masks
from sapnet.errors import SapnetError
from sapnet.proposals.builtin.boundary_data import (
    BoundaryCrops,
    ObjectPhotograph,
    object_photographs,
    region_photographs,
)
from sapnet.proposals.builtin.boundary_network import BoundaryNetwork
from sapnet.proposals.builtin.boundary_training import TrainingSettings, train_boundaries
from sapnet.proposals.builtin.candidate_features import Candidates
from sapnet.proposals.builtin.proposer import BuiltinProposer, WorkingImage, reduce_image
from sapnet.proposals.builtin.ranking import Ranking
from sapnet.proposals.builtin.ranking_training import click_examples, fit_ranking, join_examples
from sapnet.proposals.builtin.weights import save_weights
from sapnet.proposals.proposer import Proposer, prompts_of_image
from sapnet.proposals.quality import bag_quality
from sapnet.proposals.regions import RegionProposer

MEASURING_SETS = ("street4", "voc20")
RANKING_SHARE = 4
"""Every so many-th image id is kept for the ranking."""
POOL_SHARES = (0.45, 0.2, 0.35)
"""Crops from BSDS500, from completely labelled photographs, from those with one labelled person."""

CLICKS: tuple[tuple[Mode, int], ...] = (
    ("quasi-center", 11),
    ("quasi-center", 12),
    ("quasi-center", 13),
    ("random", 11),
    ("random", 12),
)
"""Clicks that the ranking is fitted on: how they are drawn, and the seed."""


def say(line: Mapping[str, Any]) -> None:
    """Print one JSON line at once."""
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def measuring_names(data: Path) -> set[str]:
    """Return the file names of all photographs that proposers are measured on."""
    return {
        image["file_name"]
        for name in MEASURING_SETS
        for part in ("train", "val")
        for image in read_json(data / name / f"instances_{part}.json")["images"]
    }


def usable_objects(data: Path) -> tuple[InstanceSet, np.ndarray, np.ndarray]:
    """Return the objects, which images may be used (I,), and which are completely labelled (I,)."""
    instances = load_instances(data / "objects" / "instances_all.json")
    names = measuring_names(data)
    images = instances.images
    allowed = np.array([images.file_names[i] not in names for i in range(len(images))])
    complete = np.array(["ann_kind" in parse_extras(images.extras[i]) for i in range(len(images))])
    return instances, allowed, complete


def kept_for_ranking(instances: InstanceSet) -> np.ndarray:
    """Return which images (I,) the boundary network does not see."""
    return instances.images.ids % RANKING_SHARE == 0


def training_crops(data: Path, side: int, seed: int) -> tuple[BoundaryCrops, BoundaryCrops]:
    """Return crops to train on, and crops of photographs that are not trained on."""
    instances, allowed, complete = usable_objects(data)
    photographs = object_photographs(instances, data / "images", complete)
    held_out = kept_for_ranking(instances)

    def pools(ours: np.ndarray, regions: list) -> list:
        chosen: list[ObjectPhotograph] = [photographs[i] for i in np.flatnonzero(allowed & ours)]
        whole = [item for item in chosen if item.complete]
        return [regions, whole, [item for item in chosen if not item.complete]]

    bsds = data / "bsds500"
    train = pools(~held_out, region_photographs([bsds / "train", bsds / "val"]))
    other = pools(held_out, region_photographs([bsds / "test"]))
    say({"photographs": [len(pool) for pool in train], "held_out": [len(pool) for pool in other]})
    return (
        BoundaryCrops(train, POOL_SHARES, side=side, seed=seed),
        BoundaryCrops(other, POOL_SHARES, side=side, seed=seed + 1),
    )


def train_boundary_network(options: argparse.Namespace) -> None:
    """Run the training of the boundary network."""
    train, other = training_crops(options.data, options.side, options.seed)
    settings = TrainingSettings(steps=options.steps, batch_size=options.batch_size, seed=options.seed)
    train_boundaries(
        train,
        options.out,
        settings,
        held_out=[other[number] for number in range(options.held_out)],
        report=say,
    )


def ranking_photographs(data: Path, most: int) -> tuple[InstanceSet, np.ndarray]:
    """Return the objects, and the images (rows) for the ranking: complete ones first, then the others."""
    instances, allowed, complete = usable_objects(data)
    rows = np.flatnonzero(allowed & kept_for_ranking(instances))
    return instances, rows[np.argsort(~complete[rows], kind="stable")][:most]


def examples_of(
    instances: InstanceSet, clicks: Sequence[PointSet], index: int, working: WorkingImage
) -> list[tuple[Candidates, np.ndarray]]:
    """Return the candidates of all clicks on one image with their overlaps."""
    height, width = working.maps.inside.shape
    size = instances.images.size(index)
    rows_of_ids = {int(instances.annotation_ids[row]): row for row in instances.rows_of(index)}
    found = []
    for points in clicks:
        prompts = prompts_of_image(points, index)
        rows = [rows_of_ids[int(identifier)] for identifier in prompts.annotation_ids]
        masks = decode_masks(instances.counts.take(rows), size)
        if masks.shape[1:] != (height, width):
            masks = np.stack([cv2.resize(m.astype(np.float32), (width, height)) > 0.5 for m in masks])
        found += click_examples(working, prompts, masks)
    return found


def train_ranking(options: argparse.Namespace) -> None:
    """Fit the ranking, say how it ranks photographs it was not fitted on, and write the weights."""
    network = load_trained(options.out)
    instances, chosen = ranking_photographs(options.data, options.photographs)
    clicks = [sample_points(instances, mode, seed) for mode, seed in CLICKS]
    parts: list[list[tuple[Candidates, np.ndarray]]] = []
    tables = []
    for index in chosen.tolist():
        image = read_image(options.data / "images" / instances.images.file_names[index])
        working = reduce_image(image, network, long_side=options.long_side)
        parts.append([item for item in examples_of(instances, clicks, index, working) if len(item[1])])
        tables.append(len(working.tables[0].area))
    judged = [part for number, part in enumerate(parts) if number % 5 == 0]
    fitted = [part for number, part in enumerate(parts) if number % 5]
    trial = fit_ranking(join_examples([item for part in fitted for item in part]), seed=options.seed)
    say({"photographs": len(parts), "leaves": float(np.mean(tables)), "fitted": ranked(trial, fitted)})
    say({"held_out": ranked(trial, judged)})
    ranking = fit_ranking(join_examples([item for part in parts for item in part]), seed=options.seed)
    save_weights(options.out / "boundaries.safetensors", network, ranking)


def ranked(ranking: Ranking, parts: Sequence[Sequence[tuple[Candidates, np.ndarray]]]) -> dict[str, float]:
    """Return the mean overlap of the best-scored candidate, and of the best there is."""
    items = [item for part in parts for item in part]
    top = [overlaps[ranking.predict(candidates.features).argmax()] for candidates, overlaps in items]
    best = [overlaps.max() for _, overlaps in items]
    return {"clicks": len(items), "top1": float(np.mean(top)), "oracle": float(np.mean(best))}


def measure(options: argparse.Namespace) -> None:
    """Print the quality of the bags on a set for measuring."""
    folder = options.data / options.set
    instances = load_instances(folder / "instances_train.json")
    points = load_points(folder / f"{options.points}.json")
    proposer: Proposer = (
        RegionProposer() if options.proposer == "regions" else BuiltinProposer(weights=options.weights)
    )
    bags, seconds = [], 0.0
    for index in range(options.first, len(points.images), options.every):
        image = read_image(options.data / "images" / points.images.file_names[index])
        started = time.process_time()
        bags.append(proposer.propose(image, prompts_of_image(points, index)))
        seconds += time.process_time() - started
    clicks = sum(len(bag.annotation_ids) for bag in bags)
    what = {"set": options.set, "points": options.points, "every": options.every, "first": options.first}
    times = {
        "cpu_seconds_per_image": seconds / max(len(bags), 1),
        "clicks_per_image": clicks / max(len(bags), 1),
    }
    say({"proposer": proposer.name, **what, **times, **bag_quality(bags, instances)})


def load_trained(folder: Path) -> BoundaryNetwork:
    """Return the network of a training folder's checkpoint."""
    network = BoundaryNetwork()
    state = torch.load(folder / "checkpoint.pt", map_location="cpu", weights_only=True)
    network.load_state_dict(state["network"])
    return network.eval()


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    boundaries = commands.add_parser("boundaries", help="train the boundary network")
    boundaries.add_argument("data", type=Path)
    boundaries.add_argument("out", type=Path)
    boundaries.add_argument("--steps", type=int, default=4000)
    boundaries.add_argument("--batch-size", type=int, default=4)
    boundaries.add_argument("--side", type=int, default=224)
    boundaries.add_argument("--held-out", type=int, default=24, help="crops to measure losses on")
    boundaries.add_argument("--seed", type=int, default=0)
    boundaries.set_defaults(run=train_boundary_network)
    ranking = commands.add_parser("ranking", help="fit the ranking and write the weights")
    ranking.add_argument("data", type=Path)
    ranking.add_argument("out", type=Path)
    ranking.add_argument("--photographs", type=int, default=120)
    ranking.add_argument("--long-side", type=int, default=512)
    ranking.add_argument("--seed", type=int, default=0)
    ranking.set_defaults(run=train_ranking)
    measuring = commands.add_parser("measure", help="print the quality of the bags")
    measuring.add_argument("data", type=Path)
    measuring.add_argument("--weights", type=Path)
    measuring.add_argument("--set", choices=MEASURING_SETS, default="street4")
    measuring.add_argument(
        "--points", choices=("points_train", "points_train_random"), default="points_train"
    )
    measuring.add_argument("--proposer", choices=("builtin", "regions"), default="builtin")
    measuring.add_argument("--every", type=int, default=3, help="every so many-th image")
    measuring.add_argument("--first", type=int, default=0, help="the first image")
    measuring.set_defaults(run=measure)
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        options.run(options)
    except SapnetError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
