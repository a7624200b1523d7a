"""The job that fills a proposal store, and the check of a store before it is used."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object

from sapnet.build_proposer import build_proposer, build_second_opinion
from sapnet.config import Config, ProposalConfig
from sapnet.config_proposals import ProposerName
from sapnet.data.annotations import PointSet, load_instances, load_points
from sapnet.engine.devices import join_processes, refuse_absent_device
from sapnet.engine.session import SessionOptions, TrainingData
from sapnet.errors import DataError, InputError, StoreError, nearest
from sapnet.pipeline.boxes import PromptBoxes, with_boxes
from sapnet.pipeline.refusals import load_clicks, refuse_clicks_outside
from sapnet.progress import Progress
from sapnet.proposals.authors_json import export_authors_json, import_authors_json
from sapnet.proposals.generate import generate_proposals, refuse_bad
from sapnet.proposals.ground_truth import GroundTruthProposer
from sapnet.proposals.proposer import Proposer
from sapnet.proposals.quality import bag_quality
from sapnet.proposals.second_opinion import OPINION_SETTING, SecondOpinion
from sapnet.proposals.shared import begin_shared_store, end_shared_store, propose_share
from sapnet.proposals.simulated import SimulatedProposer
from sapnet.proposals.store import ProposalStore


def propose(
    points: Path,
    images: Path | None,
    out: Path,
    config: Config,
    *,
    proposer: str | None = None,
    skip_bad: bool = False,
    instances: Path | None = None,
    import_json: Path | None = None,
    export_json: Path | None = None,
    quiet: bool = False,
) -> dict[str, Any]:
    """Fill a proposal store (``sapnet propose``).

    Args:
        points: Points file.
        images: Image folder; not needed where proposals are imported.
        out: Folder of the store.
        config: All settings.
        proposer: Name of the proposer; None: that of the settings.
        skip_bad: Leave out unreadable images, and what does not fit when importing.
        instances: Ground truth to measure the bags against.
        import_json: Take the proposals from a file in the form of SAPNet's authors.
        export_json: Also write them to such a file.
        quiet: Show no progress.

    Returns:
        Counts, ``boxes`` if boxes were learned, and the quality of either if ground truth is given.

    Raises:
        InputError: Bad arguments, settings, images or files.
        JobError: The disk is full, a worker died or the proposer failed.
    """
    refuse_absent_device(config)
    section = _with_name(config.proposals, proposer or config.proposals.name)
    clicks = load_clicks(points, images, skip_bad=skip_bad)
    refuse_clicks_outside(clicks, points)
    truth = None if instances is None else load_instances(instances)
    figures: dict[str, Any] = {"out": str(out)}
    boxes: PromptBoxes | None = None
    processes = join_processes(config)
    if import_json is not None:
        if processes.num_processes > 1:
            raise InputError("the command line", ["--import-json works in one process; no launcher"])
        store, figures["imported"] = _imported(import_json, clicks, out, skip_bad=skip_bad, quiet=quiet)
    elif images is None:
        raise InputError("the command line", ["images are needed unless proposals are imported"])
    else:
        store, boxes = _proposed(
            processes, clicks, Path(images), Path(out), config, section, skip_bad=skip_bad, quiet=quiet
        )
    figures |= _counts_of(store, quiet=quiet or not processes.is_main_process)
    if boxes is not None:
        figures["boxes"] = boxes.figures(clicks, truth)
    if export_json is not None and processes.is_main_process:
        figures["exported"] = export_authors_json(store, clicks, export_json)._asdict()
    if truth is not None and processes.is_main_process:
        figures["quality"] = bag_quality(store, truth)
    return figures


def _counts_of(store: ProposalStore, *, quiet: bool) -> dict[str, Any]:
    """Count what is in a store, and name the images that are not."""
    for reason in store.skipped.values():
        Progress(0, "notice", quiet=quiet).message(f"left out: {reason}")
    return {
        "proposer": store.manifest["proposer"]["name"],
        "images": len(store),
        "skipped": len(store.skipped),
        "proposals": store.manifest["counts"]["proposals"],
    }


def _proposed(
    processes: PartialState,
    clicks: PointSet,
    images: Path,
    out: Path,
    config: Config,
    section: ProposalConfig,
    *,
    skip_bad: bool,
    quiet: bool,
) -> tuple[ProposalStore, PromptBoxes | None]:
    """Fill the store with a proposer, in as many processes as were launched; also the boxes it asked with."""
    maker = build_proposer(section, device=str(processes.device))
    second = build_second_opinion(section) if config.model.picking.opinion_exponent > 0 else None
    for proposer in (maker, second):
        load = getattr(proposer, "load", None)
        if load is not None:
            load()  # a corrupt file is bad input, which shows before a store is begun
    boxes = None
    if section.boxes == "enhancer":
        options = SessionOptions(resume=True, skip_bad=skip_bad, quiet=quiet)
        boxes = with_boxes(maker, clicks, images, out, config, options=options, second=second)
        maker = boxes.proposer
    if second is not None:
        maker = SecondOpinion(maker, second)
    if processes.num_processes > 1:
        store = _proposed_together(processes, clicks, images, out, maker, skip_bad=skip_bad, quiet=quiet)
        return store, boxes
    # Members of the SAM family compute with all cores, or on a device of their own.
    workers = config.data.num_workers + 1 if section.name in ("regions", "builtin") else 1
    with Progress(len(clicks.images), "propose", quiet=quiet) as progress:
        store = generate_proposals(
            clicks,
            images,
            maker,
            out,
            skip_bad=skip_bad,
            progress=lambda done, _total, _proposals: progress.reach(done),
            workers=workers,
        )
    return store, boxes


def _proposed_together(
    processes: PartialState,
    clicks: PointSet,
    images: Path,
    out: Path,
    maker: Proposer,
    *,
    skip_bad: bool,
    quiet: bool,
) -> ProposalStore:
    """Fill the store with the launched processes, each its share of the images."""
    begun: list[Any] = [None]
    if processes.is_main_process:
        try:
            begun[0] = begin_shared_store(clicks, images, maker, out, skip_bad=skip_bad) is not None
        except InputError as error:
            begun[0] = error  # for all: processes that wait for one that has gone wait for ever
    broadcast_object_list(begun)
    if isinstance(begun[0], InputError):
        raise begun[0]
    if begun[0]:
        return ProposalStore.open(out, clicks)
    rank, count = processes.process_index, processes.num_processes
    share = -(-len(clicks.images) // count)
    with Progress(share, f"propose (share of 1 in {count})", quiet=quiet) as progress:
        bad = propose_share(
            clicks,
            images,
            maker,
            out,
            rank=rank,
            num_processes=count,
            progress=lambda done, _total, _proposals: progress.reach(done),
        )
    bad = sorted(gather_object(bad), key=lambda item: item["image_id"])
    if not skip_bad:
        refuse_bad(bad, images, kept=len(clicks.images) - len(bad), out=out)
    if processes.is_main_process:
        end_shared_store(clicks, maker, out, bad)
    processes.wait_for_everyone()
    return ProposalStore.open(out, clicks)


def _imported(
    path: Path, clicks: PointSet, out: Path, *, skip_bad: bool, quiet: bool
) -> tuple[ProposalStore, dict[str, Any]]:
    """Fill the store from the authors' file; also what became of its annotations."""
    with Progress(len(clicks.images), "import", quiet=quiet) as progress:
        imported = import_authors_json(
            path,
            clicks,
            out,
            skip_bad=skip_bad,
            progress=lambda done, _total, _proposals: progress.reach(done),
        )
    counts = {name: count for name, count in imported._asdict().items() if name != "store"}
    return imported.store, {"file": str(path), **counts}


def _with_name(section: ProposalConfig, name: str) -> ProposalConfig:
    """The section with a proposer's name, checked."""
    known = get_args(ProposerName)
    if name not in known:
        reason = f"proposer {name!r} is unknown{nearest(name, known)}; expected one of {', '.join(known)}"
        raise InputError("the command line", [reason])
    if name == "regions" and section.checkpoint is not None:
        reason = f"regions has no weights: leave out {section.checkpoint}, or choose another proposer"
        raise InputError("proposals.checkpoint (--checkpoint)", [reason])
    return section.model_copy(update={"name": name})


def load_training_data(points: Path, images: Path, proposals: Path) -> TrainingData:
    """Load clicks and their proposal store.

    Args:
        points: Points file.
        images: Image folder.
        proposals: Store.

    Returns:
        What a training session learns from.

    Raises:
        DataError, StoreError: Something is wrong with them, the proposals come from ground truth, or
            there is no click to learn from.
    """
    clicks = load_points(points)
    store = ProposalStore.open(proposals, clicks)
    made_by = store.manifest["proposer"]["name"]
    if made_by in (SimulatedProposer.name, GroundTruthProposer.name):
        reason = f"holds {made_by} proposals, which come from ground truth; only bench uses them"
        raise StoreError(str(proposals), [f"{reason}. Make a store with: sapnet propose"])
    if len(clicks) == 0:
        raise DataError(str(points), ["has no clicks, so there is nothing to learn from"])
    return TrainingData.of(clicks, Path(images), store)


def tell_missing_opinion(data: TrainingData, config: Config, *, quiet: bool) -> None:
    """Print a notice where picks should weigh a second opinion that the proposals do not have.

    Stores of the first format, imported proposals and those that were made with other settings have none.

    Args:
        data: What is trained on or labelled.
        config: Settings of the network that picks.
        quiet: Print nothing.
    """
    exponent = config.model.picking.opinion_exponent
    if exponent == 0 or config.training.mode == "top-score" or not isinstance(data.store, ProposalStore):
        return
    if OPINION_SETTING in data.store.manifest["proposer"]["settings"]:
        return
    notice = (
        f"the proposals carry no second opinion: model.picking.opinion_exponent={exponent:g} does nothing; "
        "run `sapnet propose` again to get it, or set model.picking.opinion_exponent=0"
    )
    Progress(0, "notice", quiet=quiet).message(notice)
