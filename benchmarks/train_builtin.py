"""Train what ships with the package: the built-in proposer, and the segmenter's class-agnostic start.

    python benchmarks/train_builtin.py boundaries DATA OUT [--steps 4000] [--batch-size 4] [--side 224]
    python benchmarks/train_builtin.py head DATA OUT [--steps 1900] [--batch-size 2] [--side 320]
    python benchmarks/train_builtin.py ranking DATA OUT
    python benchmarks/train_builtin.py scores DATA OUT
    python benchmarks/train_builtin.py segmenter DATA OUT [--steps 2400] [--batch-size 4] [--side 320]
    python benchmarks/train_builtin.py measure DATA [--weights FILE] [--set street4] [--every 3]

DATA holds ``bsds500``, ``objects``, ``images``, and the sets for measuring (``street4``, ``voc20``), whose
photographs are left out by their file names. The proposer keeps a quarter of the object photographs for the
scores. Started again with the same OUT, a training continues where it was killed. ``scores`` reads what the
other trainings of the proposer left in OUT and writes OUT/boundaries.safetensors, which holds all of it.
``segmenter`` trains pyramid and SOLOv2 branch without classes on all object photographs, in a folder of its
own, and writes OUT/class_agnostic.safetensors. ``measure`` prints the quality of the bags
(`sapnet.proposals.quality`) as one JSON object.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import cv2
import torch
from builtin_photographs import MEASURING_SETS, Pools, photograph_pools
from builtin_scores import HEAD_FOLDER, fit_rankings, fit_scores, load_trained, say

from sapnet.build import build_model
from sapnet.config import Config
from sapnet.data.annotations import load_instances, load_points
from sapnet.data.images import read_image
from sapnet.errors import SapnetError
from sapnet.pretraining.crops import ObjectCrops
from sapnet.pretraining.start_file import save_start
from sapnet.pretraining.training import train_segmenter
from sapnet.proposals.builtin.boundary_data import BoundaryCrops, ObjectPhotograph
from sapnet.proposals.builtin.boundary_training import train_boundaries
from sapnet.proposals.builtin.click_bags import SOURCES
from sapnet.proposals.builtin.head_data import HeadCrops
from sapnet.proposals.builtin.head_training import train_head
from sapnet.proposals.builtin.proposer import BuiltinProposer
from sapnet.proposals.builtin.training_loop import TrainingSettings
from sapnet.proposals.prompt_plan import PROMPT_KINDS
from sapnet.proposals.proposer import Proposer, prompts_of_image
from sapnet.proposals.quality import bag_quality
from sapnet.proposals.regions import RegionProposer

POOL_SHARES = (0.45, 0.2, 0.35)
"""Crops from BSDS500, from completely labelled photographs, from those with one labelled person."""
HEAD_SHARES = (0.3, 0.3, 0.4)
"""The same for the promptable head."""
START_SHARES = (0.5, 0.5)
"""Crops for the segmenter's start: completely labelled photographs, those with one labelled person."""
START_CROPS_SEED = 7
"""Added to the seed of the network, so that each has draws of its own."""
START_NAME = "class_agnostic.safetensors"


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


def train_segmenter_start(options: argparse.Namespace) -> None:
    """Run the class-agnostic training of the segmenter and write what networks start from."""
    train, other = photograph_pools(options.data)
    pools = [
        [item for item in (*first, *second) if isinstance(item, ObjectPhotograph)]
        for first, second in zip(train[1:], other[1:], strict=True)
    ]
    say({"photographs": [len(pool) for pool in pools]})
    model = Config().model
    frozen = model.backbone.model_copy(update={"frozen_stages": 4})
    random = model.solov2.model_copy(update={"weights": "none"})
    model = model.model_copy(update={"backbone": frozen, "solov2": random})
    torch.manual_seed(options.seed)
    network = build_model(model, num_classes=1, mask_stride=4)
    settings = TrainingSettings(
        steps=options.steps, batch_size=options.batch_size, learning_rate=1.5e-3, seed=options.seed
    )
    crops = ObjectCrops(pools, START_SHARES, side=options.side, seed=options.seed + START_CROPS_SEED)
    train_segmenter(network, crops, options.out, settings, report=say)
    save_start(options.out / START_NAME, network)


def measure(options: argparse.Namespace) -> None:
    """Print the quality of the bags on a set for measuring."""
    folder = options.data / options.set
    instances = load_instances(folder / "instances_train.json")
    points = load_points(folder / f"{options.points}.json")
    chosen = {"sources": options.sources, "kinds": options.kinds}
    given = {name: values for name, values in chosen.items() if values}
    proposer: Proposer = (
        RegionProposer()
        if options.proposer == "regions"
        else BuiltinProposer(weights=options.weights, working_long_side=options.long_side, **given)
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
    say({"proposer": proposer.name, **given, **what, **times, **bag_quality(bags, instances)})


def add_training_commands(commands: argparse._SubParsersAction) -> None:
    """Add the commands that train a network."""
    trainings = (
        ("boundaries", "train the boundary network", train_boundary_network, (4000, 4, 224)),
        ("head", "train the promptable head", train_prompt_head, (1900, 2, 320)),
        ("segmenter", "train the segmenter's class-agnostic start", train_segmenter_start, (2400, 4, 320)),
    )
    added = {}
    for name, text, run, (steps, batch_size, side) in trainings:
        added[name] = training = commands.add_parser(name, help=text)
        training.add_argument("data", type=Path)
        training.add_argument("out", type=Path)
        training.add_argument("--steps", type=int, default=steps)
        training.add_argument("--batch-size", type=int, default=batch_size)
        training.add_argument("--side", type=int, default=side)
        training.add_argument("--seed", type=int, default=0)
        training.set_defaults(run=run)
    added["head"].add_argument("--queries", type=int, default=20, help="queries per crop")
    for name in ("boundaries", "head"):
        added[name].add_argument("--held-out", type=int, default=24, help="crops to measure on")


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    add_training_commands(commands)
    for name, run, text in (
        ("ranking", fit_rankings, "fit the ranking of regions"),
        ("scores", fit_scores, "fit the scores of all candidates and write the weights"),
    ):
        fitting = commands.add_parser(name, help=text)
        fitting.add_argument("data", type=Path)
        fitting.add_argument("out", type=Path)
        fitting.add_argument("--photographs", type=int, default=290)
        fitting.add_argument("--long-side", type=int, default=512)
        fitting.add_argument("--seed", type=int, default=0)
        fitting.set_defaults(run=run)
    measuring = commands.add_parser("measure", help="print the quality of the bags")
    measuring.add_argument("data", type=Path)
    measuring.add_argument("--weights", type=Path)
    measuring.add_argument("--set", choices=MEASURING_SETS, default="street4")
    measuring.add_argument(
        "--points", choices=("points_train", "points_train_random"), default="points_train"
    )
    measuring.add_argument("--proposer", choices=("builtin", "regions"), default="builtin")
    measuring.add_argument("--sources", nargs="+", choices=SOURCES)
    measuring.add_argument("--kinds", nargs="+", choices=PROMPT_KINDS)
    measuring.add_argument("--long-side", type=int, default=768)
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
