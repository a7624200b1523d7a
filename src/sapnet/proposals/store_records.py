"""The record of one image in a proposal store: packing, unpacking, and scanning a file of records.

A record is a fixed head (magic, body length, checksum, image id, image size, numbers of prompts and
proposals) and a zlib-compressed body. Records simply follow each other in a file, so a file can be
appended to, and a tail torn by a killed process or a full disk is found by its checksum.
All numbers are little-endian; the packing of equal proposals is equal bytes.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import shutil
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sapnet.proposals.proposer import ImageProposals

_MAGIC = b"SAPr"
_MAGIC_WITH_OPINIONS = b"SAPo"
"""Records with the opinions of a second proposer have one more array."""
_MAGICS = (_MAGIC, _MAGIC_WITH_OPINIONS)
_HEAD = struct.Struct("<4sIIqIIII")
"""Magic, body length, CRC-32 of the rest of the record, image id, height, width, prompts, proposals."""
_CHECKED = struct.Struct("<qIIII")
_KINDS_LENGTH = struct.Struct("<I")
_COMPRESSION = 3
SHARE_PATTERN = ".share-*"
"""Folders inside a store's folder to which other processes write (``proposals/shared.py``)."""


class RecordPlace(NamedTuple):
    """Where a record lies in its file, and its head's figures."""

    image_id: int
    offset: int
    length: int
    num_prompts: int
    num_proposals: int


class BadRecord(Exception):
    """The bytes are not a whole record; the text says in which way."""


def encode_record(proposals: ImageProposals) -> bytes:
    """Pack the proposals of one image.

    Args:
        proposals: The proposals; at most 2**32 - 1 of them.

    Returns:
        The record's bytes; equal proposals give equal bytes.
    """
    names = tuple(sorted(set(proposals.kinds)))
    position = {name: i for i, name in enumerate(names)}
    kinds = "\n".join(names).encode()
    lengths = np.fromiter((len(item) for item in proposals.counts), dtype="<u4", count=len(proposals.counts))
    kind_index = np.fromiter((position[kind] for kind in proposals.kinds), "<u2", len(proposals.kinds))
    body = zlib.compress(
        b"".join(
            (
                _KINDS_LENGTH.pack(len(kinds)),
                kinds,
                np.asarray(proposals.annotation_ids, dtype="<i8").tobytes(),
                np.asarray(proposals.prompt_index, dtype="<u4").tobytes(),
                np.asarray(proposals.boxes, dtype="<f4").tobytes(),
                np.asarray(proposals.scores, dtype="<f4").tobytes(),
                np.asarray(proposals.areas, dtype="<f4").tobytes(),
                b"" if proposals.opinions is None else np.asarray(proposals.opinions, dtype="<f4").tobytes(),
                kind_index.tobytes(),
                lengths.tobytes(),
                *proposals.counts,
            )
        ),
        _COMPRESSION,
    )
    figures = (
        proposals.image_id,
        *proposals.image_size,
        len(proposals.annotation_ids),
        proposals.num_proposals,
    )
    checksum = zlib.crc32(body, zlib.crc32(_CHECKED.pack(*figures)))
    magic = _MAGIC if proposals.opinions is None else _MAGIC_WITH_OPINIONS
    return _HEAD.pack(magic, len(body), checksum, *figures) + body


def decode_record(data: bytes) -> ImageProposals:
    """Unpack one record.

    Args:
        data: Exactly the record's bytes.

    Returns:
        The proposals that were packed.

    Raises:
        BadRecord: The bytes are torn or corrupt.
    """
    if len(data) < _HEAD.size:
        raise BadRecord("it is shorter than a record's head")
    magic, body_length, checksum, image_id, height, width, num_prompts, n = _HEAD.unpack_from(data)
    body = data[_HEAD.size :]
    if magic not in _MAGICS or len(body) != body_length:
        raise BadRecord("it does not start with a record's head or has another length")
    if zlib.crc32(body, zlib.crc32(_CHECKED.pack(image_id, height, width, num_prompts, n))) != checksum:
        raise BadRecord("its checksum does not match its content")
    raw = zlib.decompress(body)
    (kinds_length,) = _KINDS_LENGTH.unpack_from(raw)
    position = _KINDS_LENGTH.size + kinds_length
    names = raw[_KINDS_LENGTH.size : position].decode().split("\n")
    arrays = []
    for dtype, count in (
        ("<i8", num_prompts),
        ("<u4", n),
        ("<f4", 4 * n),
        ("<f4", n),
        ("<f4", n),
        ("<f4", n if magic == _MAGIC_WITH_OPINIONS else 0),
        ("<u2", n),
        ("<u4", n),
    ):
        array = np.frombuffer(raw, dtype=dtype, count=count, offset=position)
        arrays.append(array)
        position += array.nbytes
    annotation_ids, prompt_index, boxes, scores, areas, opinions, kind_index, lengths = arrays
    ends = (position + np.cumsum(lengths, dtype=np.int64)).tolist()
    starts = [position, *ends[:-1]]
    return ImageProposals(
        image_id=image_id,
        image_size=(height, width),
        annotation_ids=annotation_ids.astype(np.int64),
        prompt_index=prompt_index.astype(np.int64),
        counts=tuple(raw[start:end] for start, end in zip(starts, ends, strict=False)),
        boxes=boxes.astype(np.float32).reshape(-1, 4),
        scores=scores.astype(np.float32),
        areas=areas.astype(np.float32),
        kinds=tuple(names[i] for i in kind_index.tolist()),
        opinions=opinions.astype(np.float32) if magic == _MAGIC_WITH_OPINIONS else None,
    )


def record_place(record: bytes, offset: int) -> RecordPlace:
    """Return the place of a freshly packed record that is written at ``offset``."""
    _, body_length, _, image_id, _, _, num_prompts, n = _HEAD.unpack_from(record)
    return RecordPlace(image_id, offset, _HEAD.size + body_length, num_prompts, n)


def scan_records(path: Path) -> Iterator[RecordPlace]:
    """Yield the place of every whole record from the start of a file up to the first bad one.

    Args:
        path: A file of records; its checksums are verified one record at a time, so memory stays
            bounded by the largest record.

    Yields:
        Places in file order. The sum of their lengths is where a torn tail begins.
    """
    remaining = path.stat().st_size
    offset = 0
    with path.open("rb") as file:
        while remaining >= _HEAD.size:
            head = file.read(_HEAD.size)
            magic, body_length, checksum, image_id, height, width, num_prompts, n = _HEAD.unpack(head)
            length = _HEAD.size + body_length
            if magic not in _MAGICS or length > remaining:
                return
            figures = _CHECKED.pack(image_id, height, width, num_prompts, n)
            if zlib.crc32(file.read(body_length), zlib.crc32(figures)) != checksum:
                return
            yield RecordPlace(image_id, offset, length, num_prompts, n)
            offset += length
            remaining -= length


def copy_records(sources: Sequence[Path], places: Iterable[tuple[int, int, int]], target: Path) -> str:
    """Copy records one after the other into a new file and force it to the disk.

    Args:
        sources: Files of records.
        places: (index into ``sources``, offset, length) of each record, in the order of the copy.
        target: The file to write; not atomic, so give a temporary name.

    Returns:
        SHA-256 of the file in hexadecimal.

    Raises:
        OSError: The disk is full or failing.
    """
    digest = hashlib.sha256()
    with contextlib.ExitStack() as stack, target.open("wb") as out:
        files = [stack.enter_context(path.open("rb")) for path in sources]
        for source, offset, length in places:
            files[source].seek(offset)
            record = files[source].read(length)
            digest.update(record)
            out.write(record)
        out.flush()
        os.fsync(out.fileno())
    return digest.hexdigest()


def take_over_shares(folder: Path, pattern: str) -> None:
    """Move the journals of unfinished stores inside a folder into it; killed half-way, it can be repeated.

    Args:
        folder: Of the common store.
        pattern: File names of journals, with one ``*``.
    """
    for share in sorted(folder.glob(SHARE_PATTERN)):
        for journal in sorted(share.glob(pattern)):
            names = (pattern.replace("*", f"share-{number}") for number in itertools.count())
            journal.replace(next(folder / name for name in names if not (folder / name).exists()))
        shutil.rmtree(share)
