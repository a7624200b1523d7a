"""Writes a proposal store so that a killed process, a full disk or a power cut lose nothing finished.

Images are appended as checksummed records to a journal in the store's folder. Continuing scans the
journals, cuts off a torn tail, and goes on with the images that are missing. :meth:`StoreWriter.finish`
copies the records by image id into the data file, writes the index and at last the manifest (each
atomically), so the finished bytes do not depend on the order in which images came.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from sapnet.data.appending import lock, write_all
from sapnet.data.atomic import write_bytes_atomic, write_json_atomic
from sapnet.errors import JobError, StoreError
from sapnet.proposals import store_records as records
from sapnet.proposals.proposer import ImageProposals
from sapnet.proposals.store import (
    DATA_NAME,
    FORMAT,
    FORMAT_VERSION,
    INDEX_NAME,
    JOURNAL_PATTERN,
    MANIFEST_NAME,
    ProposalStore,
    build_index,
    read_manifest,
)
from sapnet.proposals.store_origin import origin_problems

_SYNC_EVERY = 64
"""Records between two fsyncs: a power cut costs at most these; a killed process costs none."""


class StoreWriter:
    """Appends the proposals of images to a store; continues an unfinished one.

    Use it as a context manager, or call :meth:`close`. A finished store of the same origin is left
    as it is (``finished`` is True) unless it lists skipped images: then it is taken up again so that
    these can be retried.

    Args:
        folder: The store's folder; made where absent.
        proposer_name: Name of the proposer.
        proposer_settings: Its settings, JSON-compatible.
        points_digest: Digest of the points.
        checkpoint_digest: Digest of the proposer's weights, None where it has none.

    Raises:
        StoreError: The folder holds something else, a store of other origin, or is being written.
        JobError: The folder cannot be written.
    """

    def __init__(
        self,
        folder: Path | str,
        *,
        proposer_name: str,
        proposer_settings: Mapping[str, Any],
        points_digest: str,
        checkpoint_digest: str | None = None,
    ) -> None:
        self.folder = Path(folder)
        self.manifest: dict[str, Any] = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "proposer": {"name": proposer_name, "settings": json.loads(json.dumps(dict(proposer_settings)))},
            "checkpoint_digest": checkpoint_digest,
            "points_digest": points_digest,
            "finished": False,
            "skipped": [],
        }
        self.finished = False
        self._journal: io.FileIO | None = None
        self._lock: io.FileIO | None = None
        self._unsynced = 0
        try:
            self._take_folder()
        except OSError as error:
            self.close()
            raise JobError(f"The proposal store {folder} cannot be written: {error}.") from error
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        """Return the writer itself."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close the journal; what was appended stays."""
        self.close()

    @property
    def done(self) -> frozenset[int]:
        """Ids of the images that are already in the store."""
        return frozenset(self._done)

    def append(self, proposals: ImageProposals) -> None:
        """Add the proposals of one image (see :meth:`append_record`)."""
        self.append_record(records.encode_record(proposals))

    def append_record(self, record: bytes) -> None:
        """Add one packed record; images that are already there are ignored.

        Args:
            record: What :func:`~sapnet.proposals.store_records.encode_record` gave.

        Raises:
            JobError: The disk is full or failing; everything appended before is kept.
        """
        assert self._journal is not None, "the store is finished or closed"
        place = records.record_place(record, 0)
        if place.image_id in self._done:
            return
        start = self._journal.tell()
        try:
            write_all(self._journal, record)
            self._unsynced += 1
            if self._unsynced >= _SYNC_EVERY:
                self._sync()
        except OSError as error:
            with contextlib.suppress(OSError):
                self._journal.truncate(start)
                self._journal.seek(start)
            raise JobError(self._kept(f"writing image {place.image_id} failed ({error})")) from error
        self._done.add(place.image_id)

    def finish(self, skipped: Sequence[Mapping[str, Any]] = ()) -> ProposalStore:
        """Turn the journals into a finished store.

        Killed at any moment, it can be repeated: the journals go last.

        Args:
            skipped: ``{"image_id", "file_name", "reason"}`` of the images that have no record.

        Returns:
            The finished store.

        Raises:
            JobError: The disk is full or failing; the journals are kept.
        """
        if self.finished:
            return ProposalStore.open(self.folder)
        try:
            self._sync()
            journals = sorted(self.folder.glob(JOURNAL_PATTERN))
            places = [(i, place) for i, path in enumerate(journals) for place in records.scan_records(path)]
            index = build_index(places)
            self.manifest |= _write_data(self.folder, journals, index)
            self.manifest["counts"] = {
                "images": len(index),
                "annotations": int(index["prompts"].sum(dtype=np.int64)),
                "proposals": int(index["proposals"].sum(dtype=np.int64)),
                "skipped_images": len(skipped),
            }
            self.manifest["skipped"] = sorted((dict(item) for item in skipped), key=lambda s: s["image_id"])
            self.manifest["finished"] = True
            write_json_atomic(self.folder / MANIFEST_NAME, self.manifest)
        except (OSError, JobError) as error:
            self.manifest["finished"] = False
            raise JobError(self._kept(f"finishing failed ({error})")) from error
        self.finished = True
        self.close()
        _remove_leftovers(self.folder)
        return ProposalStore.open(self.folder)

    def close(self) -> None:
        """Sync and close the journal and let go of the folder; may be called twice."""
        if self._journal is not None:
            with contextlib.suppress(OSError):
                self._sync()
            self._journal.close()
            self._journal = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _sync(self) -> None:
        if self._journal is not None:
            os.fsync(self._journal.fileno())
        self._unsynced = 0

    def _kept(self, what: str) -> str:
        return (
            f"{self.folder}: {what}. {len(self._done)} images are kept; "
            "run the same command again to continue from there."
        )

    def _take_folder(self) -> None:
        """Check what the folder holds, lock it, and collect the images that are done."""
        self._done: set[int] = set()
        # Refusals come before anything is written, so a mistyped --out leaves no trace.
        fresh = self._is_fresh()
        if not fresh:
            self._refuse_other_origin(read_manifest(self.folder))
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock_folder()
        if fresh:
            write_json_atomic(self.folder / MANIFEST_NAME, self.manifest)
        else:
            old = read_manifest(self.folder)
            if old["finished"] and not old["skipped"]:
                self.finished = True
                self._done = set(ProposalStore.open(self.folder).image_ids.tolist())
                _remove_leftovers(self.folder)
                return
            if old["finished"]:
                ProposalStore.open(self.folder)
                write_json_atomic(self.folder / MANIFEST_NAME, self.manifest)
            self._continue()
        path = self.folder / JOURNAL_PATTERN.replace("*", "new")
        self._journal = io.FileIO(path, "a")
        self._journal.seek(0, os.SEEK_END)

    def _is_fresh(self) -> bool:
        """Tell whether the folder is absent or empty but for what a run killed at its start leaves."""
        if self.folder.exists() and not self.folder.is_dir():
            raise StoreError(str(self.folder), ["It is a file, expected a folder."])
        if not self.folder.is_dir() or all(item.name.startswith(".") for item in self.folder.iterdir()):
            return True
        if not (self.folder / MANIFEST_NAME).exists():
            problem = "It is not empty and holds no proposal store; give an empty or new folder."
            raise StoreError(str(self.folder), [problem])
        return False

    def _continue(self) -> None:
        """Collect finished records; cut torn tails; keep the data file of a half-done finish."""
        records.take_over_shares(self.folder, JOURNAL_PATTERN)
        data = self.folder / DATA_NAME
        if data.exists():
            data.replace(self.folder / JOURNAL_PATTERN.replace("*", "data"))
        for path in sorted(self.folder.glob(JOURNAL_PATTERN)):
            end = 0
            for place in records.scan_records(path):
                self._done.add(place.image_id)
                end = place.offset + place.length
            if end < path.stat().st_size:
                os.truncate(path, end)

    def _refuse_other_origin(self, old: Mapping[str, Any]) -> None:
        problems = origin_problems(old, self.manifest)
        if problems:
            problems.append("Give another --out, or delete the folder to start over.")
            raise StoreError(str(self.folder), problems)

    def _lock_folder(self) -> None:
        # The system drops the lock when the process dies, so kill -9 leaves no stale lock.
        self._lock = io.FileIO(self.folder / ".lock", "w")
        if not lock(self._lock):
            raise StoreError(str(self.folder), ["Another process is writing it; wait or stop it."])


def _write_data(folder: Path, journals: Sequence[Path], index: np.ndarray) -> dict[str, Any]:
    """Copy the records by image id into the data file, write the index, and return their digests."""
    final = index.copy()
    final["offset"] = np.cumsum(index["length"], dtype=np.int64) - index["length"]
    final["file"] = 0
    temporary = folder / f".{DATA_NAME}.part"
    places = zip(index["file"].tolist(), index["offset"].tolist(), index["length"].tolist(), strict=True)
    digest = records.copy_records(journals, places, temporary)
    temporary.replace(folder / DATA_NAME)
    buffer = io.BytesIO()
    np.save(buffer, final, allow_pickle=False)
    write_bytes_atomic(folder / INDEX_NAME, buffer.getvalue())
    return {
        "data_bytes": int(index["length"].sum(dtype=np.int64)),
        "data_sha256": digest,
        "index_crc32": zlib.crc32(buffer.getvalue()),
    }


def _remove_leftovers(folder: Path) -> None:
    """Leave nothing but the files of the store, whatever was killed in between (``data/atomic.py``)."""
    for pattern in (JOURNAL_PATTERN, ".*.tmp", f".{DATA_NAME}.part", ".lock"):
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)
