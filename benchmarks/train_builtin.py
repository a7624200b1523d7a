"""Train the built-in proposer: first the boundary network, then the ranking of its regions.

    python benchmarks/train_builtin.py boundaries DATA OUT [--steps 2600] [--batch-size 6] [--side 288]

DATA holds ``bsds500``, ``objects``, ``images``, and the sets for measuring (``street4``, ``voc20``), whose
photographs are left out by their file names. A quarter of the object photographs is kept for the ranking.
Started again with the same OUT, the training continues where it was killed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sapnet.data.annotations import InstanceSet, load_instances
from sapnet.data.coco_json import parse_extras, read_json
from sapnet.errors import SapnetError
from sapnet.proposals.builtin.boundary_data import (
    BoundaryCrops,
    ObjectPhotograph,
    object_photographs,
    region_photographs,
)
from sapnet.proposals.builtin.boundary_training import TrainingSettings, train_boundaries

MEASURING_SETS = ("street4", "voc20")
RANKING_SHARE = 4
"""Every so many-th image id is kept for the ranking."""
POOL_SHARES = (0.45, 0.2, 0.35)
"""Crops from BSDS500, from completely labelled photographs, from those with one labelled person."""


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


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    boundaries = commands.add_parser("boundaries", help="train the boundary network")
    boundaries.add_argument("data", type=Path)
    boundaries.add_argument("out", type=Path)
    boundaries.add_argument("--steps", type=int, default=2600)
    boundaries.add_argument("--batch-size", type=int, default=6)
    boundaries.add_argument("--side", type=int, default=288)
    boundaries.add_argument("--held-out", type=int, default=48, help="crops to measure losses on")
    boundaries.add_argument("--seed", type=int, default=0)
    boundaries.set_defaults(run=train_boundary_network)
    options = parser.parse_args()
    torch.set_num_threads(1)
    try:
        options.run(options)
    except SapnetError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
