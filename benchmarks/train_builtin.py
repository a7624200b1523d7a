"""Train the built-in proposer: first the boundary network, then the ranking of its regions.

    python benchmarks/train_builtin.py boundaries DATA OUT [--steps 4000] [--batch-size 4] [--side 224]
    python benchmarks/train_builtin.py head DATA OUT [--steps 2400]
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
from builtin_photographs import MEASURING_SETS, Pools, photograph_pools, ranking_photographs

from sapnet.data.annotations import InstanceSet, PointSet, load_instances, load_points
from sapnet.data.images import read_image
from sapnet.data.point_sampling import Mode, sample_points
from sapnet.data.rle import decode_masks
from sapnet.errors import SapnetError
from sapnet.proposals.builtin.boundary_data import BoundaryCrops
from sapnet.proposals.builtin.boundary_network import BoundaryNetwork
from sapnet.proposals.builtin.boundary_training import train_boundaries
from sapnet.proposals.builtin.candidate_features import Candidates
from sapnet.proposals.builtin.head_data import HeadCrops
from sapnet.proposals.builtin.head_training import train_head
from sapnet.proposals.builtin.proposer import BuiltinProposer, WorkingImage, reduce_image
from sapnet.proposals.builtin.ranking import Ranking
from sapnet.proposals.builtin.ranking_training import click_examples, fit_ranking, join_examples
from sapnet.proposals.builtin.training_loop import TrainingSettings
from sapnet.proposals.builtin.weights import save_weights
from sapnet.proposals.proposer import Proposer, prompts_of_image
from sapnet.proposals.quality import bag_quality
from sapnet.proposals.regions import RegionProposer

POOL_SHARES = (0.45, 0.2, 0.35)
"""Crops from BSDS500, from completely labelled photographs, from those with one labelled person."""
HEAD_SHARES = (0.3, 0.3, 0.4)
"""The same for the promptable head."""
HEAD_FOLDER = "head"

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


def training_pools(data: Path) -> tuple[Pools, Pools]:
    """Return the photographs to train on and the others, and say how many they are."""
    train, other = photograph_pools(data)
    say({"photographs": [len(pool) for pool in train], "held_out": [len(pool) for pool in other]})
    return train, other


def train_boundary_network(options: argparse.Namespace) -> None:
    """Run the training of the boundary network."""
    train, other = training_pools(options.data)
    held_out = BoundaryCrops(other, POOL_SHARES, side=options.side, seed=options.seed + 1)
    settings = TrainingSettings(steps=options.steps, batch_size=options.batch_size, seed=options.seed)
    train_boundaries(
        BoundaryCrops(train, POOL_SHARES, side=options.side, seed=options.seed),
        options.out,
        settings,
        held_out=[held_out[number] for number in range(options.held_out)],
        report=say,
    )


def train_prompt_head(options: argparse.Namespace) -> None:
    """Run the training of the promptable head on a trained boundary network."""
    train, other = training_pools(options.data)
    shape = {"side": options.side, "queries": options.queries}
    held_out = HeadCrops(other, HEAD_SHARES, seed=options.seed + 1, **shape)
    settings = TrainingSettings(
        steps=options.steps, batch_size=options.batch_size, seed=options.seed, checkpoint_steps=200
    )
    train_head(
        load_trained(options.out),
        HeadCrops(train, HEAD_SHARES, seed=options.seed, **shape),
        options.out / HEAD_FOLDER,
        settings,
        held_out=[held_out[number] for number in range(options.held_out)],
        report=say,
    )


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


def add_training_commands(commands: argparse._SubParsersAction) -> None:
    """Add the commands that train a network."""
    boundaries = commands.add_parser("boundaries", help="train the boundary network")
    boundaries.add_argument("data", type=Path)
    boundaries.add_argument("out", type=Path)
    boundaries.add_argument("--steps", type=int, default=4000)
    boundaries.add_argument("--batch-size", type=int, default=4)
    boundaries.add_argument("--side", type=int, default=224)
    boundaries.add_argument("--held-out", type=int, default=24, help="crops to measure losses on")
    boundaries.add_argument("--seed", type=int, default=0)
    boundaries.set_defaults(run=train_boundary_network)
    head = commands.add_parser("head", help="train the promptable head")
    head.add_argument("data", type=Path)
    head.add_argument("out", type=Path)
    head.add_argument("--steps", type=int, default=2400)
    head.add_argument("--batch-size", type=int, default=2)
    head.add_argument("--side", type=int, default=320)
    head.add_argument("--queries", type=int, default=20, help="queries per crop")
    head.add_argument("--held-out", type=int, default=24, help="crops to measure on")
    head.add_argument("--seed", type=int, default=0)
    head.set_defaults(run=train_prompt_head)


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    add_training_commands(commands)
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
