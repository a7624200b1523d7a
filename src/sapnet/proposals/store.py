"""The proposal store: a folder with a manifest and the proposals of every image.

Files of a finished store:

- ``manifest.json``: format version, proposer and its settings, checkpoint digest, points digest,
  counts, skipped images, size and SHA-256 of the data, and whether it is finished;
- ``proposals.bin``: one record per image (:mod:`sapnet.proposals.store_records`), by image id;
- ``index.npy``: where each image's record lies (32 bytes per image).

Why files of records and not SQLite: opening reads only the index (under 4 MB for 118,000 images),
one image is one seek and one read, readers need no locks and work on read-only and network file
systems and in forked or spawned loader processes, and the finished bytes depend on the content alone,
so that stores made with other interruptions or worker counts compare equal with ``cmp``.
While a store is written the records go to append-only journals
(:mod:`sapnet.proposals.store_writer`).
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy import ndarray

from sapnet.errors import StoreError
from sapnet.proposals.proposer import ImageProposals
from sapnet.proposals.store_records import BadRecord, RecordPlace, decode_record, scan_records

if TYPE_CHECKING:
    from sapnet.data.annotations import PointSet

FORMAT = "sapnet-proposals"
FORMAT_VERSION = 2
"""2 added the opinions of a second proposer."""
_READABLE_VERSIONS = (1, 2)
MANIFEST_NAME, DATA_NAME, INDEX_NAME = "manifest.json", "proposals.bin", "index.npy"
JOURNAL_PATTERN = "journal-*.bin"
INDEX_DTYPE = np.dtype(
    {
        "names": ["image_id", "offset", "length", "prompts", "proposals", "file"],
        "formats": ["<i8", "<i8", "<u4", "<u4", "<u4", "<u4"],
    }
)
_SHOWN = 10
"""How many ids a message lists before it says how many more there are."""


class ProposalStore:
    """Read access to a proposal store. Open it with :meth:`open`.

    Picklable and safe in forked processes: it holds the index and no open file.

    Attributes:
        folder: The store's folder.
        manifest: The content of ``manifest.json``.
        image_ids: (I,) int64 ids of the images in the store, rising.
    """

    def __init__(self, folder: Path, manifest: dict[str, Any], files: Sequence[Path], index: ndarray) -> None:
        self.folder = folder
        self.manifest = manifest
        self.image_ids: ndarray = np.ascontiguousarray(index["image_id"])
        self._files = tuple(files)
        self._index = index

    @classmethod
    def open(
        cls, folder: Path | str, points: PointSet | None = None, *, allow_unfinished: bool = False
    ) -> ProposalStore:
        """Open a store.

        Args:
            folder: The store's folder.
            points: The clicks it must have been made from; None skips that check.
            allow_unfinished: Also open an unfinished store, with the images that it holds so far.

        Returns:
            The store; only its manifest and index have been read.

        Raises:
            StoreError: It is missing, of another format, unfinished, damaged, or was made from other
                points. All reasons found are listed.
        """
        folder = Path(folder)
        manifest = read_manifest(folder)
        if not manifest["finished"]:
            if not allow_unfinished:
                raise StoreError(str(folder), [_unfinished_reason(folder)])
            files, index = _scan_unfinished(folder)
        else:
            files, index = [folder / DATA_NAME], _read_index(folder, manifest)
        store = cls(folder, manifest, files, index)
        if points is not None and manifest["points_digest"] != points.digest:
            raise StoreError(str(folder), store._differences(points))
        return store

    def __len__(self) -> int:
        """Number of images in the store."""
        return len(self.image_ids)

    def __contains__(self, image_id: int) -> bool:
        """Whether the store has a record (maybe an empty one) of an image."""
        return self._row(image_id) is not None

    def __iter__(self) -> Iterator[ImageProposals]:
        """Yield the proposals of every image, by rising image id."""
        for image_id in self.image_ids.tolist():
            yield self.of_image(image_id)

    @property
    def skipped(self) -> dict[int, str]:
        """Why each skipped image has no record, by image id."""
        return {item["image_id"]: item["reason"] for item in self.manifest["skipped"]}

    def of_image(self, image_id: int) -> ImageProposals:
        """Read the proposals of one image; no other image's are read.

        Args:
            image_id: The image's id in the points file.

        Returns:
            Its proposals, in the original frame; none where the image has no clicks.

        Raises:
            StoreError: The store has no such image, or its record is damaged.
        """
        row = self._row(image_id)
        if row is None:
            reason = self.skipped.get(int(image_id))
            detail = f"it was skipped: {reason}" if reason else f"it holds {len(self)} other images"
            raise StoreError(str(self.folder), [f"Image {image_id} is not in the store; {detail}."])
        entry = self._index[row]
        path = self._files[int(entry["file"])]
        try:
            with path.open("rb") as file:
                file.seek(int(entry["offset"]))
                return decode_record(file.read(int(entry["length"])))
        except (OSError, BadRecord) as error:
            problem = (
                f"The record of image {image_id} in {path.name} cannot be read: {error}. "
                "Delete the folder and run `sapnet propose` again."
            )
            raise StoreError(str(self.folder), [problem]) from error

    def _row(self, image_id: int) -> int | None:
        row = int(np.searchsorted(self.image_ids, image_id))
        return row if row < len(self.image_ids) and self.image_ids[row] == image_id else None

    def _differences(self, points: PointSet) -> list[str]:
        """Say in which way the store's points differ from the given ones, nearest explanation first."""
        problems = ["It was made from other points (their digests differ)."]
        wanted = np.asarray(points.images.ids)
        known = np.union1d(self.image_ids, np.array(list(self.skipped), dtype=np.int64))
        absent, surplus = np.setdiff1d(wanted, known), np.setdiff1d(known, wanted)
        if len(absent):
            problems.append(f"{len(absent)} images of the points are not in the store: {_listed(absent)}.")
        if len(surplus):
            problems.append(f"{len(surplus)} images of the store are not in the points: {_listed(surplus)}.")
        order = np.argsort(wanted)
        clicks = np.bincount(np.asarray(points.annotation_image_index), minlength=len(wanted))[order]
        rows = np.isin(self.image_ids, wanted)
        here = clicks[np.searchsorted(wanted[order], self.image_ids[rows])]
        changed = self.image_ids[rows][here != self._index["prompts"][rows]]
        if len(changed):
            problems.append(f"{len(changed)} images have another number of clicks: {_listed(changed)}.")
        if len(problems) == 1:
            problems.append("Images and numbers of clicks agree; ids, positions or classes of clicks differ.")
        problems.append("Run `sapnet propose` with these points and another --out.")
        return problems


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read and check a store's manifest.

    Args:
        folder: The store's folder.

    Returns:
        The manifest of this format version.

    Raises:
        StoreError: There is no such folder or manifest, it is no JSON, or it is of another format.
    """
    path = folder / MANIFEST_NAME
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        what = "It has no manifest.json" if folder.is_dir() else "There is no such folder"
        raise StoreError(str(folder), [f"{what}; `sapnet propose --out {folder}` makes a store."]) from error
    except (OSError, ValueError) as error:
        raise StoreError(str(path), [f"It cannot be read as JSON: {error}."]) from error
    found = manifest.get("format") if isinstance(manifest, dict) else None
    if found != FORMAT:
        raise StoreError(str(path), [f"Its format is {found!r}, expected {FORMAT!r}: not a proposal store."])
    version = manifest.get("format_version")
    if version not in _READABLE_VERSIONS:
        readable = " and ".join(map(str, _READABLE_VERSIONS))
        raise StoreError(str(path), [f"Its format version is {version!r}, this program reads {readable}."])
    return manifest


def build_index(places: Sequence[tuple[int, RecordPlace]]) -> ndarray:
    """Return the index of records, by image id; of doubles the first counts.

    Args:
        places: (file number, place) of every record.

    Returns:
        (I,) array of ``INDEX_DTYPE``.
    """
    index = np.array(
        [(p.image_id, p.offset, p.length, p.num_prompts, p.num_proposals, file) for file, p in places],
        dtype=INDEX_DTYPE,
    )
    _, first = np.unique(index["image_id"], return_index=True)
    return index[first]


def _read_index(folder: Path, manifest: dict[str, Any]) -> ndarray:
    problems = []
    data, index_path = folder / DATA_NAME, folder / INDEX_NAME
    size = data.stat().st_size if data.is_file() else None
    if size != manifest["data_bytes"]:
        found = "is missing" if size is None else f"has {size} bytes"
        problems.append(f"{DATA_NAME} {found}, expected {manifest['data_bytes']} bytes.")
    if not index_path.is_file():
        problems.append(f"{INDEX_NAME} is missing.")
    elif zlib.crc32(index_path.read_bytes()) != manifest["index_crc32"]:
        problems.append(f"{INDEX_NAME} is damaged (its checksum differs from the manifest's).")
    if problems:
        problems.append("Copy the folder again, or delete it and run `sapnet propose` again.")
        raise StoreError(str(folder), problems)
    return np.load(index_path, allow_pickle=False)


def _scan_unfinished(folder: Path) -> tuple[list[Path], ndarray]:
    files = [*sorted(folder.glob(JOURNAL_PATTERN)), *folder.glob(DATA_NAME)]
    return files, build_index([(i, place) for i, path in enumerate(files) for place in scan_records(path)])


def _unfinished_reason(folder: Path) -> str:
    files, index = _scan_unfinished(folder)
    held = f"{len(index)} images are done" if files else "no image is done"
    return f"It is unfinished ({held}); run the same `sapnet propose` command again to continue it."


def _listed(ids: ndarray) -> str:
    text = ", ".join(str(item) for item in ids[:_SHOWN].tolist())
    return text if len(ids) <= _SHOWN else f"{text} and {len(ids) - _SHOWN} more"
