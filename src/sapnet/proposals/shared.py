"""Several processes fill one proposal store: every image once, and the bytes of a single process.

Every process writes its share of the images into a store of its own inside the common folder. Opening the
common store takes the shares' journals over: before the work those of an interrupted run, with any number
of processes, and after it all. The processes must see the same folder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sapnet.proposals.generate import (
    Progress,
    fill_store,
    open_writer,
    refuse_missing_images,
    refuse_still_bad,
)
from sapnet.proposals.proposer import Proposer
from sapnet.proposals.store import JOURNAL_PATTERN, ProposalStore
from sapnet.proposals.store_records import SHARE_PATTERN, scan_records

if TYPE_CHECKING:
    from sapnet.data.annotations import PointSet


def begin_shared_store(
    points: PointSet, images_dir: Path | str, proposer: Proposer, out: Path | str, *, skip_bad: bool = False
) -> ProposalStore | None:
    """Open the common store in the first process, before any other touches it.

    Args:
        points: The clicks.
        images_dir: Folder of the images.
        proposer: What makes the masks.
        out: Folder of the common store.
        skip_bad: Do not refuse missing images.

    Returns:
        The store if it is finished already; None if there is work to share.

    Raises:
        DataError: Images are missing, or those that a finished store has left out are bad still, and
            ``skip_bad`` is off; nothing is written.
        StoreError: The folder holds something else, or a store of other origin.
        JobError: The folder cannot be written.
    """
    if not skip_bad:
        refuse_missing_images(points, Path(images_dir))
        refuse_still_bad(points, Path(images_dir), out)
    with open_writer(points, proposer, out) as writer:
        if writer.finished:
            return writer.finish()
    return None


def propose_share(
    points: PointSet,
    images_dir: Path | str,
    proposer: Proposer,
    out: Path | str,
    *,
    rank: int,
    num_processes: int,
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """Propose for one process's share of the missing images.

    Args:
        points: The clicks.
        images_dir: Folder of the images.
        proposer: What makes the masks.
        out: Folder of the common store, begun by the first process.
        rank: Which process this is.
        num_processes: How many there are.
        progress: Called after every image of the share with (images done, images of the share, proposals).

    Returns:
        ``{"image_id", "file_name", "reason"}`` of the images that cannot be read.

    Raises:
        JobError: The disk is full or the proposer failed; what is done is kept.
    """
    out = Path(out)
    done = {place.image_id for path in sorted(out.glob(JOURNAL_PATTERN)) for place in scan_records(path)}
    missing = [row for row, image_id in enumerate(points.images.ids.tolist()) if image_id not in done]
    with open_writer(points, proposer, out / SHARE_PATTERN.replace("*", str(rank))) as writer:
        return fill_store(
            points, images_dir, proposer, writer, rows=missing[rank::num_processes], progress=progress
        )


def end_shared_store(
    points: PointSet, proposer: Proposer, out: Path | str, skipped: Sequence[Mapping[str, Any]]
) -> ProposalStore:
    """Join the shares in the first process, after all processes are done.

    Args:
        points: The clicks.
        proposer: What made the masks.
        out: Folder of the common store.
        skipped: What :func:`propose_share` returned, of all processes.

    Returns:
        The finished store.

    Raises:
        JobError: The disk is full; what is done is kept.
    """
    with open_writer(points, proposer, out) as writer:
        return writer.finish(skipped)
