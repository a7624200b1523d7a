"""Masks of one grid as bits: 64 cells of a row to a word.

The candidates of a click are some fifty masks of a hundred thousand cells each. As bits they fit in a
core's cache, and sums over a mask are known from where its runs of cells begin and end.
Everything that is counted or summed here is a whole number below 2^53, so it is exact in any order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, reduce

import numpy as np
from jaxtyping import Bool, Float, Int, UInt64
from numpy import ndarray

_WORD = 64
_BITS = np.dtype("<u8")
"""Bit k of a word is its k-th cell, whatever the machine's byte order."""


@dataclass(frozen=True)
class PackedMasks:
    """Masks (n) on a grid of ``h`` rows; bits beyond its columns are 0."""

    bits: UInt64[ndarray, "n h words"]
    width: int
    """Columns of the grid."""

    @classmethod
    def of(cls, masks: Bool[ndarray, "n h w"]) -> PackedMasks:
        """Pack masks."""
        count, height, width = masks.shape
        bits = np.zeros((count, height, -(-width // _WORD)), dtype=_BITS)
        packed = np.packbits(masks, axis=2, bitorder="little")
        bits.view(np.uint8)[..., : packed.shape[2]] = packed
        return cls(bits, width)

    def __len__(self) -> int:
        """Return the number of masks."""
        return len(self.bits)

    def unpacked(self) -> Bool[ndarray, "n h w"]:
        """Return the masks cell by cell."""
        return np.unpackbits(self.bits.view(np.uint8), axis=2, count=self.width, bitorder="little").view(bool)

    def take(self, rows: ndarray) -> PackedMasks:
        """Return some of the masks, by index or by a mask of rows."""
        return PackedMasks(self.bits[rows], self.width)

    def joined(self, others: Sequence[PackedMasks]) -> PackedMasks:
        """Return these masks and others of the same grid, in their order."""
        return PackedMasks(np.concatenate([self.bits, *[other.bits for other in others]]), self.width)

    def any(self) -> Bool[ndarray, " n"]:
        """Return which masks have a cell."""
        return np.asarray(self.bits.any((1, 2)))

    def area(self) -> Int[ndarray, " n"]:
        """Return the number of cells of every mask."""
        return np.asarray(np.bitwise_count(self.bits).sum((1, 2), dtype=np.int64))

    def at(self, rows: Int[ndarray, " p"], columns: Int[ndarray, " p"]) -> Bool[ndarray, "n p"]:
        """Return which masks have the cells at some rows and columns of the grid."""
        shift = (columns % _WORD).astype(_BITS)
        return (self.bits[:, rows, columns // _WORD] >> shift & 1).astype(bool)

    def covers(self, points: Float[ndarray, "p 2"]) -> Bool[ndarray, "n p"]:
        """Return which masks cover which points ``(x, y)`` of the grid; one off the grid none covers."""
        height = self.bits.shape[1]
        columns, rows = np.floor(points).astype(np.int64).reshape(-1, 2).T
        known = (columns >= 0) & (columns < self.width) & (rows >= 0) & (rows < height)
        return self.at(rows.clip(0, height - 1), columns.clip(0, self.width - 1)) & known

    def overlap(self) -> Float[ndarray, "n n"]:
        """Return the IoU of every two masks, float32; 0 for two empty ones."""
        top, bottom = self._rows_held
        # Where the mask with fewer rows has none, the two have nothing in common.
        order = np.argsort(bottom - top, kind="stable")
        bits = self.bits[order]
        common = np.zeros((len(bits), len(bits)), dtype=np.int64)
        for place, mask in enumerate(order.tolist()):
            here = slice(top[mask], bottom[mask])
            both = np.bitwise_count(bits[place:, here] & bits[place, here])
            common[mask, order[place:]] = both.sum((1, 2), dtype=np.uint32)
        common = np.maximum(common, common.T)
        area = common.diagonal()
        union = area[:, None] + area[None] - common
        return common.astype(np.float32) / np.maximum(union, 1).astype(np.float32)

    def boxes(self) -> Float[ndarray, "n 4"]:
        """Return the tight boxes ``xyxy`` of masks none of which is empty."""
        top, bottom = self._rows_held
        columns = np.unpackbits(
            np.bitwise_or.reduce(self.bits, axis=1).view(np.uint8), axis=1, bitorder="little"
        )
        left, right = columns.argmax(1), columns.shape[1] - columns[:, ::-1].argmax(1)
        return np.stack([left, top, right, bottom], axis=1).astype(np.float64)

    def sums(self, running: Float[ndarray, "c p1"]) -> Float[ndarray, "n c"]:
        """Return the sums of whole numbers over masks none of which is empty, float64.

        Args:
            running: Sums of the numbers at all cells before each, row after row, and of all cells.
        """
        first, starts, ends = self._runs
        return np.add.reduceat(running[:, ends] - running[:, starts], first, axis=1).T

    def borders(self) -> PackedMasks:
        """Return the cells of each mask with a 4-neighbour on the grid that is outside the mask."""
        bits = self.bits
        within = bits.copy()
        within[:, 1:] &= bits[:, :-1]
        within[:, :-1] &= bits[:, 1:]
        within &= self._moved_right(1)
        within &= self._moved_left(1)
        return PackedMasks(bits & ~within, self.width)

    def cells(self) -> tuple[Int[ndarray, " e"], Int[ndarray, " e"]]:
        """Return the mask and the place ``row * w + column`` of every cell of every mask, mask after mask."""
        return self._cells_of(self._words)

    @property
    def _words(self) -> ndarray:
        return self.bits.reshape(len(self), self.bits.shape[1] * self.bits.shape[2])

    def _cells_of(self, words: ndarray) -> tuple[ndarray, ndarray]:
        """Return the masks and the places of the bits in words (n, m), row after row of the grid."""
        some = np.flatnonzero(words)
        held = words.reshape(-1)[some]
        owner, within = np.divmod(some, max(words.shape[1], 1))
        row, word = np.divmod(within, max(self.bits.shape[2], 1))
        bit = np.flatnonzero(np.unpackbits(held.view(np.uint8), bitorder="little").view(bool)) % _WORD
        number = np.bitwise_count(held)
        return np.repeat(owner, number), np.repeat(row * self.width + word * _WORD, number) + bit

    @cached_property
    def _runs(self) -> tuple[ndarray, ndarray, ndarray]:
        """Each mask's first run; of all runs the first place, and the one after the last.

        A run that reaches a row's end and goes on in the next is one run.
        """
        bits = self._words
        turns = np.zeros((len(self), bits.shape[1] + 1), dtype=_BITS)
        turns[:, :-1] = bits ^ bits << np.uint64(1)
        turns[:, 1:] ^= bits >> np.uint64(_WORD - 1)
        owner, place = self._cells_of(turns)
        return np.searchsorted(owner[::2], np.arange(len(self))), place[::2], place[1::2]

    def _moved_right(self, beyond: int) -> ndarray:
        """Every cell's left neighbour; ``beyond`` stands for those left of the grid."""
        moved = self.bits << np.uint64(1)
        moved[..., 1:] |= self.bits[..., :-1] >> np.uint64(_WORD - 1)
        moved[..., :1] |= np.uint64(beyond)
        return moved

    def _moved_left(self, beyond: int) -> ndarray:
        """Every cell's right neighbour; ``beyond`` stands for those right of the grid."""
        moved = self.bits >> np.uint64(1)
        moved[..., :-1] |= self.bits[..., 1:] << np.uint64(_WORD - 1)
        moved[..., -1] |= np.uint64(beyond << (self.width - 1) % _WORD)
        return moved

    @cached_property
    def _rows_held(self) -> tuple[ndarray, ndarray]:
        """The first row of every mask, and the one after its last; the whole grid for an empty mask."""
        rows = reduce(np.bitwise_or, np.moveaxis(self.bits, 2, 0)) != 0
        return rows.argmax(1), rows.shape[1] - rows[:, ::-1].argmax(1)
