"""The training loader: batches in worker processes, unreadable images reported or left out."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch.utils.data import DataLoader, Dataset

from sapnet.data.collate import collate
from sapnet.data.dataset import Sample, TrainingDataset
from sapnet.data.views import ImageViews
from sapnet.errors import DataError, InputError
from sapnet.progress import Progress
from sapnet.structures import Batch, PointPrompts, ProposalBags


@dataclass(frozen=True)
class LoadedBatch:
    """A batch, and what could not be loaded for it."""

    batch: Batch | None
    """None if no image of the batch could be loaded."""
    problems: tuple[str, ...]


class _Tolerant(Dataset[Sample | InputError]):
    """Returns an input error instead of raising it in a worker, where its message would be buried."""

    def __init__(self, dataset: TrainingDataset | ImageViews) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Sample | InputError:
        try:
            return self.dataset[index]
        except InputError as error:
            return error


def _collate(items: Sequence[Sample | InputError], *, size_divisor: int, mask_stride: int) -> LoadedBatch:
    samples = [item for item in items if isinstance(item, Sample)]
    problems = [problem for item in items if isinstance(item, InputError) for problem in item.problems]
    batch = collate(samples, size_divisor=size_divisor, mask_stride=mask_stride) if samples else None
    return LoadedBatch(batch=batch, problems=tuple(problems))


def _start_worker(_number: int) -> None:
    # Ctrl-C reaches the whole process group; the loop alone decides what to do with it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def batch_loader(
    dataset: TrainingDataset | ImageViews,
    batches: Sequence[Sequence[int]],
    *,
    size_divisor: int,
    mask_stride: int,
    num_workers: int,
) -> DataLoader[LoadedBatch]:
    """Load given batches in order.

    Args:
        dataset: Samples by image row.
        batches: Image rows of every batch.
        size_divisor: Padded sizes are multiples of this.
        mask_stride: Input pixels per mask cell.
        num_workers: Loader processes.

    Returns:
        An iterable of ``LoadedBatch``.
    """
    loader: DataLoader = DataLoader(
        _Tolerant(dataset),
        batch_sampler=[list(batch) for batch in batches],
        num_workers=num_workers,
        collate_fn=partial(_collate, size_divisor=size_divisor, mask_stride=mask_stride),
        worker_init_fn=_start_worker,
    )
    return loader


def clicked_images(
    dataset: TrainingDataset | ImageViews,
    *,
    title: str,
    size_divisor: int,
    mask_stride: int,
    num_workers: int,
    skip_bad: bool,
    quiet: bool,
    rows: Sequence[int] | None = None,
) -> Iterator[Batch]:
    """Yield a batch for every image with clicks (or every view of it), one at a time, and show progress.

    A result for an image so does not depend on what else would be in its batch.

    Args:
        dataset: Samples by image row.
        title: What the progress line is called.
        size_divisor: Padded sizes are multiples of this.
        mask_stride: Input pixels per mask cell.
        num_workers: Loader processes.
        skip_bad: Leave out images that cannot be read instead of failing.
        quiet: Show no progress.
        rows: Which samples of the dataset, the others having been done earlier; None: all.

    Raises:
        DataError: At the end, if images cannot be read and ``skip_bad`` is off.
    """
    problems: list[str] = []
    chosen = range(len(dataset)) if rows is None else rows
    loader = batch_loader(
        dataset,
        [[row] for row in chosen],
        size_divisor=size_divisor,
        mask_stride=mask_stride,
        num_workers=num_workers,
    )
    with Progress(len(dataset), title, done=len(dataset) - len(chosen), quiet=quiet) as progress:
        for loaded in loader:
            new = [problem for problem in loaded.problems if problem not in problems]
            problems += new  # every view of an image meets the same problem
            for problem in new if skip_bad else ():
                progress.message(f"left out: {problem}")
            if loaded.batch is not None and len(loaded.batch.prompts.xy):
                yield loaded.batch
            progress.advance(1)
    if problems and not skip_bad:
        raise DataError(str(dataset.images_dir), [*problems, "--skip-bad leaves such images out"])


def blank_batch(*, size_divisor: int, mask_stride: int) -> Batch:
    """Return a small batch: one blank picture without clicks.

    Args:
        size_divisor: The picture's sides are multiples of this, in input pixels.
        mask_stride: Input pixels per mask cell.

    Returns:
        A batch for a process whose images cannot be read while the others go on.
    """
    # Two cells per side on a pyramid level of stride 64: normalisation needs more than one value.
    side = -(-128 // size_divisor) * size_divisor
    cells = side // mask_stride
    none, whole = torch.zeros(0), torch.zeros(0, dtype=torch.int64)
    return Batch(
        images=torch.zeros(1, 3, side, side),
        image_sizes=torch.tensor([[side, side]]),
        prompts=PointPrompts(xy=none.reshape(0, 2), labels=whole, image_index=whole, annotation_ids=whole),
        bags=ProposalBags(
            boxes=none.reshape(0, 1, 4),
            masks=torch.zeros(0, 1, cells, cells, dtype=torch.bool),
            scores=none.reshape(0, 1),
            valid=torch.zeros(0, 1, dtype=torch.bool),
            covered_points=torch.zeros(0, 1, dtype=torch.bool),
            covered_distance=none.reshape(0, 1),
            area=none.reshape(0, 1),
            opinions=none.reshape(0, 1),
        ),
        background_draws=torch.zeros(1, 0, 4),
        part_draws=torch.zeros(0, 0, 4),
        image_ids=(-1,),
        file_names=("blank",),
        size_divisor=size_divisor,
    )
