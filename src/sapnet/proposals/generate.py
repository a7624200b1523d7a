"""Runs a proposer over a whole point set into a store: resumable, with workers, reporting every image."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sapnet.errors import DataError, JobError
from sapnet.proposals.proposer import Proposer, prompts_of_image
from sapnet.proposals.store import MANIFEST_NAME, ProposalStore, read_manifest
from sapnet.proposals.store_writer import StoreWriter
from sapnet.proposals.workers import ProposerFailure, Task, image_of, outcomes_of

if TYPE_CHECKING:
    from sapnet.data.annotations import PointSet

Progress = Callable[[int, int, int], None]
"""Called after every image with (images done, images in all, proposals of this run)."""

_LISTED = 50
"""Bad images that one message lists before it says how many more there are."""


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
        refuse_missing_images(points, images_dir)
        refuse_still_bad(points, images_dir, out)
    with open_writer(points, proposer, out) as writer:
        if writer.finished:
            return writer.finish()
        rows = range(len(points.images.ids))
        skipped = fill_store(
            points, images_dir, proposer, writer, rows=rows, progress=progress, workers=workers
        )
        if not skip_bad:
            refuse_bad(skipped, images_dir, kept=len(writer.done), out=out)
        return writer.finish(skipped)


def open_writer(points: PointSet, proposer: Proposer, out: Path | str) -> StoreWriter:
    """Open the writer of a store of these clicks and this proposer.

    Args:
        points: The clicks.
        proposer: What makes the masks.
        out: The store's folder.

    Raises:
        StoreError: ``out`` holds something else or a store of other origin.
        JobError: It cannot be written.
    """
    return StoreWriter(
        out,
        proposer_name=proposer.name,
        proposer_settings=proposer.settings,
        points_digest=points.digest,
        checkpoint_digest=getattr(proposer, "checkpoint_digest", None),
    )


def refuse_bad(
    skipped: Sequence[Mapping[str, Any]], images_dir: Path | str, *, kept: int, out: Path | str
) -> None:
    """Refuse images that cannot be read, all at once.

    Args:
        skipped: What :func:`fill_store` returned.
        images_dir: Their folder.
        kept: How many images are in the store.
        out: The store's folder.

    Raises:
        DataError: There are such images.
    """
    if skipped:
        advice = f"{kept} images are kept in {out}; --skip-bad leaves the bad ones out."
        raise DataError(str(images_dir), [*_shortened([item["reason"] for item in skipped]), advice])


def fill_store(
    points: PointSet,
    images_dir: Path | str,
    proposer: Proposer,
    writer: StoreWriter,
    *,
    rows: Sequence[int],
    progress: Progress | None = None,
    workers: int = 0,
) -> list[dict[str, Any]]:
    """Append every missing image of some rows to a store.

    Args:
        points: The clicks.
        images_dir: Folder of the images.
        proposer: What makes the masks.
        writer: The open store.
        rows: Which images, as rows of the points' image table.
        progress: Called after every image with (images done, images in all, proposals of this run).
        workers: Processes that propose; 0 or 1 uses this one.

    Returns:
        ``{"image_id", "file_name", "reason"}`` of the images that cannot be read.

    Raises:
        JobError: The disk is full, a worker died or the proposer failed; the message says what is kept.
    """
    ids = points.images.ids
    wanted = [row for row in rows if int(ids[row]) not in writer.done]
    total, done, proposals = len(rows), len(rows) - len(wanted), 0
    tasks = _tasks(points, Path(images_dir), wanted)
    outcomes = outcomes_of(proposer, tasks, workers=workers)
    bad: list[dict[str, Any]] = []
    try:
        for outcome in outcomes:
            if outcome.problem:
                task = outcome.task
                bad.append(
                    {
                        "image_id": task.prompts.image_id,
                        "file_name": task.file_name,
                        "reason": outcome.problem,
                    }
                )
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
    except ProposerFailure as error:
        raise JobError(
            f"{error} {len(writer.done)} of {total} images are kept in {writer.folder}."
        ) from error.__cause__
    return bad


def _tasks(points: PointSet, images_dir: Path, rows: Sequence[int]) -> Iterator[Task]:
    for index in rows:
        name = points.images.file_names[index]
        size = (int(points.images.heights[index]), int(points.images.widths[index]))
        yield Task(images_dir / name, name, size, prompts_of_image(points, index))


def refuse_missing_images(points: PointSet, images_dir: Path) -> None:
    """Refuse images that are not there, all at once.

    Args:
        points: The clicks.
        images_dir: Folder of the images.

    Raises:
        DataError: The folder or images are missing.
    """
    if not images_dir.is_dir():
        raise DataError(str(images_dir), ["There is no such image folder."])
    missing = [
        f"{name} (image {int(image_id)}) is missing."
        for image_id, name in zip(points.images.ids, points.images.file_names, strict=True)
        if not (images_dir / name).is_file()
    ]
    if missing:
        raise DataError(str(images_dir), _shortened(missing))


def refuse_still_bad(points: PointSet, images_dir: Path, out: Path | str) -> None:
    """Refuse images that a finished store has left out and that are bad still, before it is taken up again.

    Args:
        points: The clicks.
        images_dir: Folder of the images.
        out: The store's folder; it stays finished.

    Raises:
        DataError: There are such images; all of them are listed.
        StoreError: The folder's manifest cannot be read.
    """
    if not (Path(out) / MANIFEST_NAME).exists():
        return
    manifest = read_manifest(Path(out))
    if not manifest["finished"] or manifest["points_digest"] != points.digest:
        return
    left_out = {item["image_id"] for item in manifest["skipped"]}
    rows = [row for row, image_id in enumerate(points.images.ids.tolist()) if image_id in left_out]
    problems = [
        found for task in _tasks(points, images_dir, rows) if isinstance(found := image_of(task), str)
    ]
    if problems:
        advice = (
            f"the finished store {out} has no proposals of these images; --skip-bad goes on without them."
        )
        raise DataError(str(images_dir), [*_shortened(problems), advice])


def _shortened(problems: Sequence[str]) -> list[str]:
    shown = list(problems[:_LISTED])
    if len(problems) > _LISTED:
        shown.append(f"... and {len(problems) - _LISTED} more.")
    return shown
