"""Columns of values of different length, in flat arrays.

A list of a million Python objects is copied page by page into every loader process, because
reading an object changes its reference count. A flat array is shared and stays shared.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self, overload

import numpy as np
from jaxtyping import Float, Int, UInt8
from numpy import ndarray


@dataclass(frozen=True, eq=False)
class BytesColumn(Sequence[bytes]):
    """A read-only sequence of byte strings in one buffer."""

    buffer: UInt8[ndarray, " T"]
    offsets: Int[ndarray, " n+1"]

    @classmethod
    def of(cls, values: Iterable[bytes]) -> Self:
        """Build the column from byte strings."""
        items = list(values)
        offsets = np.zeros(len(items) + 1, dtype=np.int64)
        np.cumsum([len(item) for item in items], out=offsets[1:])
        return cls(np.frombuffer(b"".join(items), dtype=np.uint8), offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @overload
    def __getitem__(self, index: int) -> bytes: ...

    @overload
    def __getitem__(self, index: slice) -> list[bytes]: ...

    def __getitem__(self, index: int | slice) -> bytes | list[bytes]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        row = int(index) + (len(self) if index < 0 else 0)
        if not 0 <= row < len(self):
            raise IndexError(f"row {index} of {len(self)}")
        return self.buffer[self.offsets[row] : self.offsets[row + 1]].tobytes()

    def take(self, rows: Iterable[int]) -> list[bytes]:
        """Return the byte strings of some rows, in that order."""
        return [self[int(row)] for row in rows]


@dataclass(frozen=True, eq=False)
class StringColumn(Sequence[str]):
    """A read-only sequence of strings in one buffer."""

    encoded: BytesColumn

    @classmethod
    def of(cls, values: Iterable[str]) -> Self:
        """Build the column from strings."""
        # surrogatepass: JSON may hold lone surrogates, and they must survive a round trip.
        return cls(BytesColumn.of(value.encode("utf-8", "surrogatepass") for value in values))

    def __len__(self) -> int:
        return len(self.encoded)

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> list[str]: ...

    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [item.decode("utf-8", "surrogatepass") for item in self.encoded[index]]
        return self.encoded[index].decode("utf-8", "surrogatepass")


@dataclass(frozen=True, eq=False)
class PointsColumn:
    """Any number of points per row, ``(x, y)`` in pixels of the original image."""

    xy: Float[ndarray, "T 2"]
    offsets: Int[ndarray, " n+1"]

    @classmethod
    def of(cls, rows: Iterable[Sequence[Sequence[float]]]) -> Self:
        """Build the column from one list of points per row."""
        items = list(rows)
        offsets = np.zeros(len(items) + 1, dtype=np.int64)
        np.cumsum([len(item) for item in items], out=offsets[1:])
        flat = [point for item in items for point in item]
        return cls(np.asarray(flat, dtype=np.float64).reshape(-1, 2), offsets)

    @classmethod
    def empty(cls, length: int) -> Self:
        """Return a column of ``length`` rows without points."""
        return cls(np.zeros((0, 2)), np.zeros(length + 1, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def of_row(self, row: int) -> Float[ndarray, "p 2"]:
        """Return the points of one row."""
        return self.xy[self.offsets[row] : self.offsets[row + 1]]

    def of_rows(self, rows: Int[ndarray, " r"]) -> tuple[Float[ndarray, "p 2"], Int[ndarray, " p"]]:
        """Return the points of some rows and, for each point, its index into ``rows``."""
        lengths = self.offsets[rows + 1] - self.offsets[rows]
        owner = np.repeat(np.arange(len(rows)), lengths)
        within = np.arange(len(owner)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        return self.xy[np.repeat(self.offsets[rows], lengths) + within], owner
