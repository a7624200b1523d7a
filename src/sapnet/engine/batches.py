"""Which images make up which batch, as a function of (seed, epoch) alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch


def epoch_batches(
    num_images: int,
    batch_size: int,
    *,
    seed: int,
    epoch: int,
    rank: int = 0,
    num_processes: int = 1,
    tall: Sequence[bool] | None = None,
) -> list[list[int]]:
    """Return the batches of one process in one epoch.

    The images are shuffled by (seed, epoch) and cut into global batches of
    ``batch_size * num_processes``; every process takes its share of each, so that n processes see
    the images of one process with an n times larger batch, in the same order. With several
    processes one global batch is filled up from the start of the epoch, so that all have equally
    many; with one it is left short. Tall images share batches with tall ones, since padding a tall
    and a wide image to a common size nearly doubles the work; the batches are shuffled after that.

    Args:
        num_images: Images of the data set.
        batch_size: Images per process and batch.
        seed: Seed of the run.
        epoch: 0-based epoch.
        rank: Which process.
        num_processes: How many processes.
        tall: Which images are taller than wide; None: no grouping.

    Returns:
        Lists of image rows.
    """
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    order = torch.randperm(num_images, generator=generator).tolist()
    if tall is not None:
        order.sort(key=lambda row: tall[row])  # stable, so shuffled within each group
    whole = batch_size * num_processes
    if num_processes > 1 and order:
        missing = -len(order) % whole
        order += (order * (missing // len(order) + 1))[:missing]
    starts = [
        start * whole for start in torch.randperm(-(-len(order) // whole), generator=generator).tolist()
    ]
    shares = (order[start + rank * batch_size : start + (rank + 1) * batch_size] for start in starts)
    return [share for share in shares if share]


def num_batches(num_images: int, batch_size: int, *, num_processes: int = 1) -> int:
    """Return how many batches every process has per epoch."""
    return -(-num_images // (batch_size * num_processes))
