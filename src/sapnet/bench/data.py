"""The data set of a benchmark and the proposal stores made for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sapnet.build_proposer import build_proposer
from sapnet.config import Config
from sapnet.data.annotations import PointSet, load_instances, load_points
from sapnet.data.instances import InstanceSet
from sapnet.engine.session import TrainingData
from sapnet.errors import DataError
from sapnet.progress import Progress
from sapnet.proposals.generate import generate_proposals
from sapnet.proposals.ground_truth import GroundTruthProposer
from sapnet.proposals.proposer import Proposer
from sapnet.proposals.simulated import SimulatedProposer
from sapnet.proposals.store import ProposalStore

Source = Literal["simulated", "regions", "builtin", "ground-truth"]
"""Where the proposals of a row come from; simulated ones are drawn from ground truth."""

_FILES = ("points_train.json", "instances_train.json", "instances_val.json")


@dataclass(frozen=True)
class BenchData:
    """Clicks, ground truth for measuring, and images."""

    points: PointSet
    instances: InstanceSet
    validation: InstanceSet
    images: Path
    folder: Path

    @classmethod
    def load(cls, folder: Path) -> BenchData:
        """Load ``points_train.json``, ``instances_train.json`` and ``instances_val.json``.

        Args:
            folder: Holds the files; images are in its ``images`` folder or its parent's.

        Raises:
            DataError: Something is missing or wrong.
        """
        problems = [f"{folder / name}: not found" for name in _FILES if not (folder / name).is_file()]
        images = images_of(folder, problems)
        if problems:
            raise DataError(str(folder), problems)
        return cls(
            points=load_points(folder / _FILES[0]),
            instances=load_instances(folder / _FILES[1]),
            validation=load_instances(folder / _FILES[2]),
            images=images,
            folder=folder,
        )


def images_of(folder: Path, problems: list[str]) -> Path:
    """Find the images of a data set: in its ``images`` folder or the one beside it.

    Args:
        folder: Of the data set.
        problems: Told if there is neither.
    """
    places = (folder / "images", folder.resolve().parent / "images")
    if not any(place.is_dir() for place in places):
        problems.append(f"{places[0]}: no such folder, nor one beside {folder}")
    return next((place for place in places if place.is_dir()), places[0])


def proposer_of(source: Source, instances: InstanceSet, seed: int, config: Config) -> Proposer:
    """Make the proposer of a source.

    Args:
        source: Where the proposals come from.
        instances: Ground truth, for those that are drawn from it.
        seed: Seed of the simulation; the other sources have none.
        config: Settings of the proposer.
    """
    makers: dict[Source, Callable[[], Proposer]] = {
        "simulated": lambda: SimulatedProposer(instances, seed=seed),
        "regions": lambda: build_proposer(config.proposals.model_copy(update={"name": "regions"})),
        "builtin": lambda: build_proposer(config.proposals.model_copy(update={"name": "builtin"})),
        "ground-truth": lambda: GroundTruthProposer(instances),
    }
    return makers[source]()


def proposals_of(
    data: BenchData, source: Source, seed: int, out: Path, config: Config, *, quiet: bool
) -> Path:
    """Make the store of a source, or find it finished.

    Args:
        data: The data set.
        source: Where the proposals come from.
        seed: Seed of the simulation; the other sources have none.
        out: Folder of all stores of the benchmark.
        config: Settings of the proposer.
        quiet: Show no progress.

    Returns:
        The store's folder.
    """
    folder = out / (f"{source}-{seed}" if source == "simulated" else source)
    with Progress(len(data.points.images), f"propose {source}", quiet=quiet) as progress:
        generate_proposals(
            data.points,
            data.images,
            proposer_of(source, data.instances, seed, config),
            folder,
            progress=lambda done, _total, _proposals: progress.reach(done),
        )
    return folder


def training_data(data: BenchData, store: Path) -> TrainingData:
    """Return what a session learns from: the clicks and a store of this benchmark.

    Args:
        data: The data set.
        store: Folder of the store.
    """
    return TrainingData.of(data.points, data.images, ProposalStore.open(store, data.points))
