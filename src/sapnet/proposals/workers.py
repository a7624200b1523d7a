"""Proposing for single images, in this process or in a bounded pool of others."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import spawn
from multiprocessing.connection import wait as wait_for_any
from pathlib import Path
from typing import Any

import cv2
from jaxtyping import UInt8
from numpy import ndarray

from sapnet.data.images import read_image
from sapnet.errors import DataError
from sapnet.proposals.proposer import ImagePrompts, Proposer
from sapnet.proposals.store_records import encode_record

_QUEUED_PER_WORKER = 3


@dataclass(frozen=True)
class Task:
    """One image to propose for."""

    path: Path
    file_name: str
    size: tuple[int, int]
    prompts: ImagePrompts


@dataclass(frozen=True)
class Outcome:
    """What became of one image: a packed record, or why it is bad."""

    task: Task
    record: bytes = b""
    num_proposals: int = 0
    problem: str = ""


class ProposerFailure(Exception):
    """The proposer raised on an image; the text names both."""


def image_of(task: Task) -> UInt8[ndarray, "H W 3"] | str:
    """Read the image of a task.

    Args:
        task: The image.

    Returns:
        Its pixels, or why it is bad: it cannot be read, or has another size than the points file says.
    """
    try:
        image = read_image(task.path)
    except DataError as error:
        return f"{_named(task)}: {' '.join(error.problems)}"
    if image.shape[:2] != task.size:
        found = f"{image.shape[1]} x {image.shape[0]}"
        expected = f"{task.size[1]} x {task.size[0]} (width x height in the points file)"
        return f"{_named(task)} is {found} pixels after EXIF rotation, expected {expected}."
    return image


def _propose_one(proposer: Proposer, task: Task) -> Outcome:
    image = image_of(task)
    if isinstance(image, str):
        return Outcome(task, problem=image)
    try:
        proposals = proposer.propose(image, task.prompts)
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
        message = (
            f"Proposer {proposer.name!r} failed on {task.file_name} (image {task.prompts.image_id}): {what}."
        )
        raise ProposerFailure(message) from error
    return Outcome(task, record=encode_record(proposals), num_proposals=proposals.num_proposals)


def _named(task: Task) -> str:
    return f"{task.file_name} (image {task.prompts.image_id})"


def outcomes_of(proposer: Proposer, tasks: Iterable[Task], *, workers: int) -> Iterator[Outcome]:
    """Propose for every task, in this process or in others, yielding outcomes as they come.

    Args:
        proposer: What makes the masks; with ``workers`` > 1 it must be picklable.
        tasks: The images.
        workers: Processes; 0 or 1 uses this one.

    Raises:
        ProposerFailure: The proposer raised.
        BrokenProcessPool: A worker died.
    """
    if workers > 1:
        return _in_processes(proposer, tasks, workers)
    return (_propose_one(proposer, task) for task in tasks)


_worker_proposer: Proposer | None = None


def _start_worker(proposer: Proposer) -> None:
    global _worker_proposer
    # Ctrl-C reaches the whole process group; the parent alone decides what to do with it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    cv2.setNumThreads(1)
    _worker_proposer = proposer


def _end_with_parent() -> None:
    """End this process as soon as its parent has: one that was killed cannot tell its workers to stop."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait_for_any([parent.sentinel])
        os._exit(1)


def _work(task: Task) -> Outcome:
    assert _worker_proposer is not None
    return _propose_one(_worker_proposer, task)


def _in_processes(proposer: Proposer, tasks: Iterable[Task], workers: int) -> Iterator[Outcome]:
    """Yield outcomes as they come, with a bounded number of tasks under way."""
    # Spawn, not fork: the parent may hold threads (torch, cv2) that do not survive a fork.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker, initargs=(proposer,))
    running: set[Future[Outcome]] = set()
    try:
        for task in tasks:
            with _without_main_script(proposer):
                running.add(pool.submit(_work, task))
            if len(running) >= workers * _QUEUED_PER_WORKER:
                finished, running = wait(running, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in finished)
        while running:
            finished, running = wait(running, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in finished)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_starting = threading.Lock()


@contextmanager
def _without_main_script(proposer: Proposer) -> Iterator[None]:
    """Start processes that do not import the program's main script.

    They need nothing of it, and a script without ``if __name__ == "__main__"`` would begin its work
    anew in each of them. A proposer that is defined in the script is the exception.
    """
    if type(proposer).__module__ == "__main__":
        yield
        return
    own = threading.get_ident()
    with _starting:
        original = spawn.get_preparation_data

        def without_script(name: str) -> dict[str, Any]:
            data: dict[str, Any] = original(name)
            if threading.get_ident() == own:
                data.pop("init_main_from_name", None)
                data.pop("init_main_from_path", None)
            return data

        spawn.get_preparation_data = without_script
        try:
            yield
        finally:
            spawn.get_preparation_data = original
