"""Shares the work on one image between two threads of this process.

What is computed for an item never depends on which thread computes it or on how many there are.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

_MOST_THREADS = 2
"""More do not pay: half of the work on an image is one step after the other."""


def usable_threads() -> int:
    """Return how many threads may share an image: 1 or 2.

    Just one where other processes of the run have the other cores: in workers, and in launched runs.
    """
    launched = os.environ.get("WORLD_SIZE", "1") != "1"
    if launched or multiprocessing.parent_process() is not None:
        return 1
    known = hasattr(os, "sched_getaffinity")  # not everywhere
    cores = len(os.sched_getaffinity(0)) if known else os.cpu_count() or 1
    return min(cores, _MOST_THREADS)


def in_threads(work: Callable[[_Item], _Result], items: Sequence[_Item]) -> list[_Result]:
    """Return the result for every item, in order, with torch at one thread in each thread.

    The threads end with the call: nothing is left over that a fork or a pickle could trip on.

    Args:
        work: May not touch what the work on another item touches. Raises what it wants.
        items: Longest work first, or alike.
    """
    threads = min(usable_threads(), len(items))
    if threads < 2:
        return [work(item) for item in items]
    with ThreadPoolExecutor(threads, "sapnet-proposer", initializer=_one_torch_thread) as pool:
        return list(pool.map(work, items))


def _one_torch_thread() -> None:
    import torch  # this module is imported where torch is not

    torch.set_num_threads(1)
