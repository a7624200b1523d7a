"""Feature maps of a frozen network on disk: computed once for all trainings on the same photographs.

A file holds one map of one view of an image. Its folder is named after the network and the preparation of
images, the file after the view, so a file of other settings is never read; a damaged one counts as absent.
Several processes may read and write at once: files appear whole, and of two that compute the same map the
later one stays.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import uuid
import zlib
from collections.abc import Sequence
from pathlib import Path

from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from sapnet.data.transforms import Geometry

_MAP = "map"
_CHECKSUM = "crc32"
_LEAST_FREE = 2 * 1000**3
"""Bytes left to everything else on the disk: results need them more than what can be computed again."""


class FeatureFiles:
    """Maps by the name of a view, all from one network.

    Args:
        folder: Holds the files of any number of networks.
        origin: Digest of the network, of how images are prepared for it and of what computes.
        first_map: The network's maps before this one are not kept.
        num_maps: How many maps the network has.
    """

    def __init__(self, folder: Path, origin: str, *, first_map: int, num_maps: int) -> None:
        self.folder = folder / origin
        self.first_map = first_map
        self.num_maps = num_maps

    def view_name(self, path: Path, geometry: Geometry) -> str | None:
        """Return what the maps of a view of an image are called.

        Args:
            path: The image file; its content counts, not its name.
            geometry: Size and mirroring of the view.

        Returns:
            A name, or None if the file cannot be read.
        """
        try:
            content = hashlib.blake2b(path.read_bytes(), digest_size=20)
        except OSError:
            return None
        place = (geometry.original_size, geometry.input_size, geometry.flipped)
        return hashlib.blake2b(f"{content.hexdigest()}/{place}".encode(), digest_size=20).hexdigest()

    def read(self, view: str) -> tuple[Float[Tensor, "_ _ _"], ...] | None:
        """Return the kept maps of a view, finest first.

        Args:
            view: Its name.

        Returns:
            The maps, their channels innermost in memory; None if one is missing or its file damaged.
        """
        maps = []
        for number in range(self.first_map, self.num_maps):
            found = _read_map(self._path(view, number))
            if found is None:
                return None
            maps.append(found.permute(2, 0, 1))
        return tuple(maps)

    def write(self, view: str, maps: Sequence[Float[Tensor, "_ _ _"]]) -> None:
        """Keep the maps of a view, where the disk has 2 GB free: without them they are computed again.

        Args:
            view: Its name.
            maps: All maps of the network, finest first.
        """
        if not _has_room(self.folder):
            return
        for number in range(self.first_map, self.num_maps):
            rows = maps[number].detach().permute(1, 2, 0).contiguous().cpu()
            checksum = {_CHECKSUM: str(zlib.crc32(rows.numpy().data))}
            _write_whole(self._path(view, number), save({_MAP: rows}, metadata=checksum))

    def _path(self, view: str, number: int) -> Path:
        return self.folder / view[:2] / f"{view}-{number}.safetensors"


def _read_map(path: Path) -> Tensor | None:
    try:
        with safe_open(path, framework="pt") as file:
            found: Tensor = file.get_tensor(_MAP)
            checksum = (file.metadata() or {}).get(_CHECKSUM)
    except (OSError, SafetensorError):
        return None
    if checksum != str(zlib.crc32(found.numpy().data)):
        return None
    return found


def _has_room(folder: Path) -> bool:
    """Tell whether the disk of a folder, which may be absent, has room; no if it does not say."""
    there = next((place for place in (folder, *folder.parents) if place.is_dir()), folder)
    try:
        return shutil.disk_usage(there).free >= _LEAST_FREE
    except OSError:
        return False


def _write_whole(path: Path, content: bytes) -> None:
    # Unlike results these files are not forced to the disk: a torn one is noticed and computed again.
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(content)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
