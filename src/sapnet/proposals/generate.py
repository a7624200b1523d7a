"""Runs a proposer over a whole point set into a store: resumable, with workers, reporting every image."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2

from sapnet.data.images import read_image
from sapnet.errors import DataError, JobError
from sapnet.proposals.proposer import ImagePrompts, Proposer, prompts_of_image
from sapnet.proposals.store import ProposalStore
from sapnet.proposals.store_records import encode_record
from sapnet.proposals.store_writer import StoreWriter

if TYPE_CHECKING:
    from sapnet.data.annotations import PointSet

Progress = Callable[[int, int, int], None]
"""Called after every image with (images done, images in all, proposals of this run)."""

_QUEUED_PER_WORKER = 3
_LISTED = 50
"""Bad images that one message lists before it says how many more there are."""


@dataclass(frozen=True)
class _Task:
    """One image to propose for."""

    path: Path
    file_name: str
    size: tuple[int, int]
    prompts: ImagePrompts


@dataclass(frozen=True)
class _Outcome:
    """What became of one image: a packed record, or why it is bad."""

    task: _Task
    record: bytes = b""
    num_proposals: int = 0
    problem: str = ""


def generate_proposals(
    points: PointSet,
    images_dir: Path | str,
    proposer: Proposer,
    out: Path | str,
    *,
    skip_bad: bool = False,
    progress: Progress | None = None,
    workers: int = 0,
) -> ProposalStore:
    """Propose masks for every click of a point set and write a store.

    Continues an unfinished store of the same origin; the finished store is the same, byte for byte,
    however often it was interrupted and with any number of workers. Every image is one task and one
    record, and at most a few per worker are in memory.

    Args:
        points: The clicks.
        images_dir: Folder that the file names of the points are relative to.
        proposer: What makes the masks; with ``workers`` > 1 it must be picklable.
        out: The store's folder.
        skip_bad: Leave out images that cannot be read, or whose size is not the one in the points
            file, and list them in the manifest, instead of failing.
        progress: Called after every image.
        workers: Processes that propose; 0 or 1 uses this one.

    Returns:
        The finished store.

    Raises:
        DataError: Bad images without ``skip_bad``; all of them are listed, all others are kept in the
            unfinished store. Missing files are found before anything is computed or written.
        StoreError: ``out`` holds something else or a store of other origin.
        JobError: The disk is full, a worker died or the proposer failed; the message says what is kept.
        KeyboardInterrupt: Passed on; what was finished is kept.
    """
    images_dir = Path(images_dir)
    if not skip_bad:
        _refuse_missing(points, images_dir)
    checkpoint = getattr(proposer, "checkpoint_digest", None)
    with StoreWriter(
        out,
        proposer_name=proposer.name,
        proposer_settings=proposer.settings,
        points_digest=points.digest,
        checkpoint_digest=checkpoint,
    ) as writer:
        if writer.finished:
            return writer.finish()
        bad = _run(points, images_dir, proposer, writer, progress=progress, workers=workers)
        if bad and not skip_bad:
            kept = f"{len(writer.done)} images are kept in {out}; --skip-bad leaves the bad ones out."
            raise DataError(str(images_dir), [*_shortened([outcome.problem for outcome in bad]), kept])
        skipped = [
            {"image_id": item.task.prompts.image_id, "file_name": item.task.file_name, "reason": item.problem}
            for item in bad
        ]
        return writer.finish(skipped)


def _run(
    points: PointSet,
    images_dir: Path,
    proposer: Proposer,
    writer: StoreWriter,
    *,
    progress: Progress | None,
    workers: int,
) -> list[_Outcome]:
    """Append every missing image to the store; return the bad ones."""
    total = len(points.images.ids)
    done, proposals = len(writer.done), 0
    tasks = _tasks(points, images_dir, writer.done)
    outcomes = _in_processes(proposer, tasks, workers) if workers > 1 else _in_this_process(proposer, tasks)
    bad = []
    try:
        for outcome in outcomes:
            if outcome.problem:
                bad.append(outcome)
            else:
                writer.append_record(outcome.record)
                proposals += outcome.num_proposals
            done += 1
            if progress is not None:
                progress(done, total, proposals)
    except BrokenProcessPool as error:
        raise JobError(
            f"A worker process died (killed, or out of memory). {len(writer.done)} of {total} images are "
            f"kept in {writer.folder}; run the same command again to continue, maybe with fewer workers."
        ) from error
    except _ProposerFailure as error:
        raise JobError(
            f"{error} {len(writer.done)} of {total} images are kept in {writer.folder}."
        ) from error.__cause__
    return bad


class _ProposerFailure(Exception):
    """The proposer raised on an image; the text names both."""


def _tasks(points: PointSet, images_dir: Path, done: frozenset[int]) -> Iterator[_Task]:
    for index in range(len(points.images.ids)):
        if int(points.images.ids[index]) not in done:
            name = points.images.file_names[index]
            size = (int(points.images.heights[index]), int(points.images.widths[index]))
            yield _Task(images_dir / name, name, size, prompts_of_image(points, index))


def _propose_one(proposer: Proposer, task: _Task) -> _Outcome:
    try:
        image = read_image(task.path)
    except DataError as error:
        return _Outcome(task, problem=f"{_named(task)}: {' '.join(error.problems)}")
    if image.shape[:2] != task.size:
        found = f"{image.shape[1]} x {image.shape[0]}"
        expected = f"{task.size[1]} x {task.size[0]} (width x height in the points file)"
        problem = f"{_named(task)} is {found} pixels after EXIF rotation, expected {expected}."
        return _Outcome(task, problem=problem)
    try:
        proposals = proposer.propose(image, task.prompts)
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
        message = (
            f"Proposer {proposer.name!r} failed on {task.file_name} (image {task.prompts.image_id}): {what}."
        )
        raise _ProposerFailure(message) from error
    return _Outcome(task, record=encode_record(proposals), num_proposals=proposals.num_proposals)


def _named(task: _Task) -> str:
    return f"{task.file_name} (image {task.prompts.image_id})"


def _in_this_process(proposer: Proposer, tasks: Iterator[_Task]) -> Iterator[_Outcome]:
    return (_propose_one(proposer, task) for task in tasks)


_worker_proposer: Proposer | None = None


def _start_worker(proposer: Proposer) -> None:
    global _worker_proposer
    # Ctrl-C reaches the whole process group; the parent alone decides what to do with it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)
    _worker_proposer = proposer


def _work(task: _Task) -> _Outcome:
    assert _worker_proposer is not None
    return _propose_one(_worker_proposer, task)


def _in_processes(proposer: Proposer, tasks: Iterator[_Task], workers: int) -> Iterator[_Outcome]:
    """Yield outcomes as they come, with a bounded number of tasks under way."""
    # Spawn, not fork: the parent may hold threads (torch, cv2) that do not survive a fork.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker, initargs=(proposer,))
    running: set[Future[_Outcome]] = set()
    try:
        for task in tasks:
            running.add(pool.submit(_work, task))
            if len(running) >= workers * _QUEUED_PER_WORKER:
                finished, running = wait(running, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in finished)
        while running:
            finished, running = wait(running, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in finished)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _refuse_missing(points: PointSet, images_dir: Path) -> None:
    if not images_dir.is_dir():
        raise DataError(str(images_dir), ["There is no such image folder."])
    missing = [
        f"{name} (image {int(image_id)}) is missing."
        for image_id, name in zip(points.images.ids, points.images.file_names, strict=True)
        if not (images_dir / name).is_file()
    ]
    if missing:
        raise DataError(str(images_dir), _shortened(missing))


def _shortened(problems: Sequence[str]) -> list[str]:
    shown = list(problems[:_LISTED])
    if len(problems) > _LISTED:
        shown.append(f"... and {len(problems) - _LISTED} more.")
    return shown
