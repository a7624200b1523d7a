"""The data set of a benchmark and the proposal stores made for it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sapnet.bench.kept import NotMeasured
from sapnet.bench.rows import Source
from sapnet.build_proposer import build_proposer, second_proposer
from sapnet.config import Config
from sapnet.config_proposals import ProposalConfig
from sapnet.data.annotations import PointSet, load_instances, load_points
from sapnet.data.appending import lock
from sapnet.data.instances import InstanceSet
from sapnet.engine.enhancing import BOXES_NAME, enhance, origin_of_boxes
from sapnet.engine.session import SessionOptions, TrainingData
from sapnet.errors import DataError
from sapnet.progress import Progress
from sapnet.proposals.boxed import BoxedProposer
from sapnet.proposals.generate import generate_proposals
from sapnet.proposals.ground_truth import GroundTruthProposer
from sapnet.proposals.proposer import Proposer
from sapnet.proposals.second_opinion import SecondOpinion, StoredProposals
from sapnet.proposals.simulated import SimulatedProposer
from sapnet.proposals.store import MANIFEST_NAME, ProposalStore, read_manifest

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
    data: BenchData,
    points: PointSet,
    source: Source,
    out: Path,
    config: Config,
    *,
    quiet: bool,
    kept_only: bool = False,
) -> ProposalStore:
    """Make the store of some clicks and a source, or find it finished.

    Args:
        data: The data set.
        points: The clicks.
        source: Where the proposals come from.
        out: Folder of all stores of the benchmark; stores are named after what made them.
        config: Settings of the proposer; its seed is the simulation's.
        quiet: Show no progress.
        kept_only: Make nothing.

    Returns:
        The finished store.

    Raises:
        NotMeasured: It is absent or not finished, where nothing is to be made.
        StoreError: It is damaged, or holds something else.
    """
    make = partial(proposals_of, data, points, out=out, quiet=quiet, kept_only=kept_only)
    second = None if source == "ground-truth" else second_proposer(_named(config, source))
    proposer: Proposer
    if second is not None and source != "simulated":
        # Rows that propose without a second opinion share this store.
        proposer = StoredProposals(make(source, config=_unasked(config)))
    else:
        proposer = proposer_of(source, data.instances, config.seed, config)
        if config.proposals.boxes == "enhancer" and getattr(proposer, "uses_boxes", False):
            proposer = _with_learned_boxes(
                proposer, data, points, out, config, quiet=quiet, kept_only=kept_only
            )
    if second is not None:
        # So do rows that propose with the second one.
        asked = make(second, config=_of_the_second(config))
        proposer = SecondOpinion(proposer, StoredProposals(asked))
    folder = out / store_name(source, proposer, points)
    if kept_only:
        return _finished_store(folder, points)
    drawn = source in ("simulated", "ground-truth")
    with (
        alone(folder),
        Progress(len(points.images), f"propose {source}", quiet=quiet) as progress,
    ):
        return generate_proposals(
            points,
            data.images,
            proposer,
            folder,
            progress=lambda done, _total, _proposals: progress.reach(done),
            workers=1 if drawn else config.data.num_workers + 1,
        )


def _named(config: Config, source: Source) -> ProposalConfig:
    """The section with the name of a source's proposer; others are asked about simulated SAM like SAM."""
    name = "sam" if source == "simulated" else source
    return config.proposals.model_copy(update={"name": name})


def _unasked(config: Config) -> Config:
    proposals = config.proposals.model_copy(update={"second_opinion": "none"})
    return config.model_copy(update={"proposals": proposals})


def _of_the_second(config: Config) -> Config:
    """The settings of a second proposer: with no boxes that were made for the first."""
    proposals = config.proposals
    plain = ProposalConfig(builtin=proposals.builtin, regions=proposals.regions, second_opinion="none")
    return config.model_copy(update={"proposals": plain})


def _finished_store(folder: Path, points: PointSet) -> ProposalStore:
    """A store, which a damaged one is too: that is told, not taken for one still to be made."""
    if not (folder / MANIFEST_NAME).exists() or not read_manifest(folder)["finished"]:
        raise NotMeasured(str(folder))
    return ProposalStore.open(folder, points)


def _with_learned_boxes(
    proposer: Proposer,
    data: BenchData,
    points: PointSet,
    out: Path,
    config: Config,
    *,
    quiet: bool,
    kept_only: bool,
) -> Proposer:
    """Learn a box for every click, or find them learned, and let the proposer ask with them."""
    origin = origin_of_boxes(config)
    folder = out / f"boxes-{digest_of({'origin': origin, 'points': points.digest})}"
    options = SessionOptions(resume=True, quiet=quiet)
    if kept_only and not (folder / BOXES_NAME).exists():
        raise NotMeasured(str(folder))
    with alone(folder):
        boxes = enhance(points, data.images, folder, config, inputs={"images": data.images}, options=options)
    return BoxedProposer(proposer, boxes.boxes, origin={**origin, "digest": boxes.digest})


def store_name(source: Source, proposer: Proposer, points: PointSet, *, every: int = 1) -> str:
    """Return the name of a store: the same for the same proposer and clicks, whatever the row.

    Args:
        source: Where the proposals come from.
        proposer: What makes them.
        points: The clicks.
        every: Which share of the images they are of, for people; the digest says it anyway.
    """
    made_from = {
        "settings": {"proposer": {"name": proposer.name, **proposer.settings}},
        "points": points.digest,
        "checkpoint": getattr(proposer, "checkpoint_digest", None),
    }
    part = f"-every-{every}" if every > 1 else ""
    return f"{source}{part}-{digest_of(made_from)}"


def digest_of(content: Mapping[str, Any]) -> str:
    """Return twelve hexadecimal digits that stand for a JSON-able object.

    Args:
        content: What to name.
    """
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Wait until no other benchmark with the same ``--out`` works on a folder, then keep it.

    Two benchmarks, one core each, share what their rows have in common. The lock is the operating
    system's, so that a killed process leaves none behind; where there are no such locks nothing waits.

    Args:
        folder: May be absent; the lock lies beside it.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f".{folder.name}.lock").open("w") as file:
        lock(file, wait=True)
        yield


def training_data(data: BenchData, points: PointSet, store: ProposalStore) -> TrainingData:
    """Return what a session learns from.

    Args:
        data: The data set.
        points: The clicks, maybe fewer than the store was made from.
        store: Their proposals.
    """
    digests = {"points": points.digest, "proposals": store.manifest["data_sha256"]}
    return TrainingData(points=points, images_dir=data.images, store=store, digests=digests)
