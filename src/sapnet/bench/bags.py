"""The experiment ``bags``: how good the bags of several proposers are on one data set.

Nothing is trained. A row is a proposer with some settings; every row is measured for the quasi-centre
and the random points of the data set. Stores are kept under a name that holds what made them, so rows
with the same proposer share one; figures are kept like those of the other experiments.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sapnet._version import __version__
from sapnet.bench.changes import with_changes
from sapnet.bench.data import images_of, proposer_of, store_name
from sapnet.bench.kept import instances_digest, read_kept, write_kept
from sapnet.bench.rows import Source
from sapnet.config import Config
from sapnet.config_loader import differences, setting_of
from sapnet.data.annotations import InstanceSet, PointSet, load_instances, load_points
from sapnet.data.atomic import write_json_atomic, write_text_atomic
from sapnet.data.image_subset import every_nth_image
from sapnet.data.images import read_image
from sapnet.errors import DataError
from sapnet.evaluation.bag_tables import as_markdown, bag_tables
from sapnet.progress import Progress
from sapnet.proposals.generate import generate_proposals
from sapnet.proposals.proposer import Proposer, prompts_of_image
from sapnet.proposals.quality import bag_quality
from sapnet.proposals.store import ProposalStore

BAGS_NAME = "bags"
POINTS = {"quasi-centre": "points_train.json", "random": "points_train_random.json"}
"""The file of each kind of points."""
_INSTANCES = "instances_train.json"
_TIMED = 12
"""Images whose proposals are timed."""


@dataclass(frozen=True)
class BagRow:
    """One row of the tables."""

    label: str
    source: Source
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Settings that differ from the benchmark's, nested like a config file."""


def _builtin(label: str, sources: Sequence[str], *prompts: str) -> BagRow:
    settings: dict[str, Any] = {"sources": list(sources)}
    if prompts:
        settings["prompts"] = list(prompts)
    return BagRow(f"builtin: {label}", "builtin", {"proposals": {"builtin": settings}})


_TREE, _HEAD, _BOTH = ("hierarchy",), ("head",), ("hierarchy", "head")
ROWS: tuple[BagRow, ...] = (
    BagRow("regions", "regions"),
    BagRow("region merging alone", "regions", {"proposals": {"regions": {"grabcut": False}}}),
    BagRow("simulated SAM", "simulated"),
    _builtin("hierarchy", _TREE),
    _builtin("head", _HEAD),
    _builtin("both", _BOTH),
    _builtin("both, click alone", _BOTH, "point"),
    _builtin("both, click and negatives", _BOTH, "point+negatives"),
)
"""The rows of ``bags``."""


@dataclass(frozen=True)
class _BagData:
    """What all rows share: ground truth, images, and the points of each kind."""

    folder: Path
    images: Path
    instances: InstanceSet
    points: Mapping[str, PointSet]
    every: int

    @classmethod
    def load(cls, folder: Path, every: int) -> _BagData:
        files = [_INSTANCES, *POINTS.values()]
        problems = [f"{folder / name}: not found" for name in files if not (folder / name).is_file()]
        images = images_of(folder, problems)
        if problems:
            raise DataError(str(folder), problems)
        points = {kind: every_nth_image(load_points(folder / name), every) for kind, name in POINTS.items()}
        return cls(folder, images, load_instances(folder / _INSTANCES), points, every)


def run_bags(
    folder: Path,
    out: Path,
    config: Config,
    *,
    quiet: bool,
    rows: tuple[BagRow, ...] = ROWS,
    every: int = 1,
) -> dict[str, Any]:
    """Measure the bags of every row and write ``bench.json`` and ``bags.md``.

    Args:
        folder: Data set: ``points_train.json``, ``points_train_random.json``, ``instances_train.json``,
            and the images in ``images`` in it or beside it.
        out: Stores go to ``proposals``, figures of rows to ``rows``, results to ``bags``.
        config: Settings that rows change.
        quiet: Show no progress.
        rows: What to measure.
        every: Measure on every so manieth image only; 1: on all.

    Returns:
        The content of ``bench.json``: ``every``, ``rows`` (``label``, ``points``, ``simulated``, ``store``,
        ``quality`` and, of the clicks with another of their class in the image, ``neighbours``, both as
        :func:`~sapnet.proposals.quality.bag_quality` gives them, ``seconds_per_image`` or None) and the
        ``tables`` made of them.

    Raises:
        InputError: The data are wrong, or kept figures are of other data or settings.
        JobError: A proposer failed or the disk is full; what is done is kept.
    """
    data = _BagData.load(folder, every)
    measured: list[dict[str, Any]] = []
    for row in rows:
        for kind in data.points:
            found = _measure(row, data, kind, out, with_changes(config, row.changes), quiet=quiet)
            measured.append({"label": row.label, "points": kind, "every": every} | found)
            content = _content(data, measured, out, config)
            write_json_atomic(out / BAGS_NAME / "bench.json", content, indent=1)
            write_text_atomic(out / BAGS_NAME / "bags.md", as_markdown(content["tables"]))
    return content


def _content(data: _BagData, measured: list[dict[str, Any]], out: Path, config: Config) -> dict[str, Any]:
    return {
        "name": BAGS_NAME,
        "data": data.folder.resolve().name,
        "version": __version__,
        "every": data.every,
        "settings": {key: setting_of(config, key) for key in differences(config, Config())},
        "inputs": {
            "images": str(data.images.resolve()),
            "instances": str((data.folder / _INSTANCES).resolve()),
            "points": {kind: str((data.folder / name).resolve()) for kind, name in POINTS.items()},
            "stores": str((out / "proposals").resolve()),
        },
        "rows": measured,
        "tables": bag_tables(measured),
    }


def _measure(
    row: BagRow, data: _BagData, kind: str, out: Path, config: Config, *, quiet: bool
) -> dict[str, Any]:
    """Figures of one row with the points of one kind, from its folder if it has been measured."""
    points = data.points[kind]
    proposer = proposer_of(row.source, data.instances, config.seed, config)
    origin = _origin(proposer, points, data)
    part = f" every {data.every}" if data.every > 1 else ""
    folder = out / "rows" / _file_name(f"bags {row.label} {kind}{part}")
    found = read_kept(folder, origin)
    if found is None:
        name = store_name(row.source, proposer, points, every=data.every)
        workers = 1 if row.source == "simulated" else config.data.num_workers + 1
        with Progress(len(points.images), f"{row.label}, {kind} points", quiet=quiet) as progress:
            store = generate_proposals(
                points,
                data.images,
                proposer,
                out / "proposals" / name,
                progress=lambda done, _total, _proposals: progress.reach(done),
                workers=workers,
            )
        found = {
            "simulated": row.source == "simulated",
            "store": name,
            "quality": bag_quality(store, data.instances),
            "neighbours": _among_neighbours(store, points, data.instances),
            "seconds_per_image": None
            if row.source == "simulated"
            else _seconds_per_image(proposer, points, data.images),
        }
        write_kept(folder, found, origin)
    return {key: value for key, value in found.items() if key != "measured_with"}


def _among_neighbours(store: ProposalStore, points: PointSet, instances: InstanceSet) -> dict[str, Any]:
    """Quality of the clicks alone whose image holds another click of their class."""
    place = np.stack([np.asarray(points.annotation_image_index), np.asarray(points.annotation_labels)])
    _, group, count = np.unique(place, axis=1, return_inverse=True, return_counts=True)
    rows = np.flatnonzero(count[group.reshape(-1)] > 1)
    chosen = set(np.asarray(points.annotation_ids)[rows].tolist())
    return bag_quality(store, instances, only=chosen)


def _seconds_per_image(proposer: Proposer, points: PointSet, images: Path) -> float | None:
    """Mean time of a proposer in this process for some images spread over the data set, after one more."""
    rows = np.unique(np.linspace(0, len(points.images) - 1, _TIMED).astype(int)).tolist()
    if not len(points.images):
        return None
    spent = []
    for row in [rows[0], *rows]:  # the first call loads weights
        image, prompts = read_image(images / points.images.file_names[row]), prompts_of_image(points, row)
        start = time.perf_counter()
        proposer.propose(image, prompts)
        spent.append(time.perf_counter() - start)
    return sum(spent[1:]) / len(rows)


def _origin(proposer: Proposer, points: PointSet, data: _BagData) -> dict[str, Any]:
    digests = {
        "points": points.digest,
        "instances": instances_digest(data.instances),
        "checkpoint": getattr(proposer, "checkpoint_digest", None),
    }
    # The digest of the points says which images, ``every`` says it to people.
    settings = {"proposer": {"name": proposer.name, **proposer.settings}, "every": data.every}
    return {"settings": settings, "digests": digests}


def _file_name(label: str) -> str:
    return "-".join("".join(c if c.isalnum() else " " for c in label.lower()).split())
