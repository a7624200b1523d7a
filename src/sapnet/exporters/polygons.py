"""Masks to rings and back: outlines along the edges between pixels.

Ring vertices are pixel corners, in pixels with the origin at the top-left corner of the top-left
pixel, so a ring encloses exactly the pixels of the mask, without the half-pixel shift of outlines
through pixel centres. What is written is drawn in by ``INSET``, which no pixel centre notices, but
tools that cut coordinates to whole pixels and fill the outline too (OpenCV, Pillow) then end on the
last pixel of the mask instead of the one after it.

Diagonal neighbours belong to one part (8-connected), so their background does not (4-connected).
Outer rings run clockwise as seen on the screen, rings of holes the other way, so that the even-odd
and the nonzero rule fill the same pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from scipy import ndimage, sparse, spatial

from sapnet.data.rle import segmentation_to_counts

# Steps in the directions right, down, left, up as (x, y): a turn to the right adds one.
_STEPS = np.array([[1, 0], [0, 1], [-1, 0], [0, -1]])
INSET = 0.05
"""Pixels by which a written outline lies inside the mask."""
_EIGHT_CONNECTED = np.ones((3, 3), dtype=bool)


@dataclass(frozen=True)
class Part:
    """One connected piece of a mask.

    Rings are (v, 2) integers, not closed, with every pixel corner
    on the way as a vertex (``simplified`` drops those on straight lines).
    """

    outer: Int[ndarray, "v 2"]
    holes: tuple[Int[ndarray, "_ 2"], ...]
    area: int
    """Pixels of the piece."""


def mask_parts(mask: Bool[ndarray, "H W"]) -> tuple[Part, ...]:
    """Trace the outlines of a mask.

    Args:
        mask: bool (H, W).

    Returns:
        The parts by falling area, then in reading order; none for an empty mask.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return ()
    top, left = rows[0], columns[0]
    crop = np.pad(mask[top : rows[-1] + 1, left : columns[-1] + 1], 1)
    labelled, count = ndimage.label(crop, structure=_EIGHT_CONNECTED)
    areas = np.bincount(labelled.ravel(), minlength=count + 1)
    rings, owners = _trace(crop, labelled)
    shift = np.array([left - 1, top - 1])
    outer: dict[int, ndarray] = {}
    holes: dict[int, list[ndarray]] = {}
    for ring, owner in zip(rings, owners, strict=True):
        if _twice_signed_area(ring) > 0:
            outer[owner] = ring + shift
        else:
            holes.setdefault(owner, []).append(ring + shift)
    order = sorted(outer, key=lambda owner: (-areas[owner], owner))
    return tuple(Part(outer[owner], tuple(holes.get(owner, ())), int(areas[owner])) for owner in order)


def simplified(ring: Int[ndarray, "v 2"]) -> Int[ndarray, "w 2"]:
    """Drop vertices that a line passes straight through; the enclosed pixels stay the same.

    Points where the ring turns back (ends of seams) are kept.
    """
    return ring[_turning(ring)]


def outline(
    rings: Sequence[Int[ndarray, "_ 2"]], *, near: float = INSET, far: float = INSET
) -> Float[ndarray, "w 2"]:
    """Join rings like :func:`joined` and draw them in: the polygon to write.

    Args:
        rings: At least one ring with every pixel corner as a vertex, as in ``Part``.
        near: Pixels by which left and upper borders of the mask are drawn in.
        far: The same for right and lower borders.
    """
    points, order = _joined(rings)
    inward = np.concatenate([_inward(ring) for ring in rings])
    kept = order[_turning(points[order])]
    return points[kept] + inward[kept] * np.where(inward[kept] > 0, near, far)


def joined(rings: Sequence[Int[ndarray, "_ 2"]]) -> Int[ndarray, "w 2"]:
    """Join rings into one, through seams that are passed once in each direction.

    A seam encloses nothing, so the even-odd rule and the nonzero rule (pycocotools, for instance)
    fill what the rings fill. Rasterisers that draw outlines (OpenCV, Pillow) draw the seams too,
    one pixel wide; seams of holes lie inside the mask, where that changes nothing. The seams are
    the shortest that connect all rings: a minimum spanning tree, which is part of the Delaunay
    triangulation of the vertices.

    Args:
        rings: At least one ring with every pixel corner as a vertex, as in ``Part``.

    Returns:
        One ring without superfluous vertices.
    """
    points, order = _joined(rings)
    return simplified(points[order])


def _joined(rings: Sequence[ndarray]) -> tuple[ndarray, ndarray]:
    """Return the vertices of all rings, and the order in which one ring passes them."""
    points = np.concatenate(rings)
    if len(rings) == 1:
        return points, np.arange(len(points))
    ring_of = np.repeat(np.arange(len(rings)), [len(ring) for ring in rings])
    starts = np.searchsorted(ring_of, np.arange(len(rings)))
    following = _next_on_ring(starts, len(points))
    seams = _connections(points, ring_of, following)
    # A seam from p to c: p -> copy of c -> rest of the ring of c -> c -> copy of p -> what followed p.
    follower = [*following.tolist(), *[-1] * (2 * len(seams))]
    for place, (one, other) in enumerate(seams.tolist()):
        copy_of_one, copy_of_other = len(points) + 2 * place, len(points) + 2 * place + 1
        follower[copy_of_other], follower[other] = follower[other], copy_of_one
        follower[copy_of_one], follower[one] = follower[one], copy_of_other
    _, place_on_cycle = _cycle_order(np.asarray(follower))
    order = np.concatenate([np.arange(len(points)), seams.ravel()])[np.argsort(place_on_cycle)]
    passed = points[order]
    return points, order[(passed != np.roll(passed, 1, axis=0)).any(axis=1)]


def _turning(ring: ndarray) -> ndarray:
    """Tell which vertices a line does not pass straight through."""
    before, after = ring - np.roll(ring, 1, axis=0), np.roll(ring, -1, axis=0) - ring
    turns = before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]
    return (turns != 0) | ((before * after).sum(axis=1) < 0)


def _inward(ring: ndarray) -> ndarray:
    """Return for every vertex of a traced ring the step towards the mask: (-1, 0 or 1) per axis.

    The mask is to the right of every step, and right of (x, y) is (-y, x).
    """
    before, after = ring - np.roll(ring, 1, axis=0), np.roll(ring, -1, axis=0) - ring
    both = before + after
    return np.clip(np.stack([-both[:, 1], both[:, 0]], axis=1), -1, 1)


def polygons_to_counts(
    rings: Sequence[Float[ndarray, "_ 2"] | Int[ndarray, "_ 2"]], size: tuple[int, int]
) -> bytes:
    """Fill rings as pycocotools does.

    Args:
        rings: Polygons, united.
        size: ``(height, width)``.

    Returns:
        Compressed run lengths.
    """
    return segmentation_to_counts([flat_ring(ring) for ring in rings], size)


def flat_ring(ring: Float[ndarray, "v 2"] | Int[ndarray, "v 2"]) -> list[float]:
    """Return ``[x, y, x, y, ...]`` with two decimals."""
    return [round(float(value), 2) for value in ring.ravel()]


def _trace(crop: ndarray, labelled: ndarray) -> tuple[list[ndarray], list[int]]:
    """Follow the cracks around a mask that does not touch the border of its array.

    Returns:
        Rings of corner points ``(x, y)``, and the label of the pixels that each ring bounds.
    """
    # A crack is directed so that the filled pixel lies to its right.
    starts, directions, inside = [], [], []
    for heading, (row_step, column_step), (dx, dy) in (
        (0, (-1, 0), (0, 0)),
        (1, (0, 1), (1, 0)),
        (2, (1, 0), (1, 1)),
        (3, (0, -1), (0, 1)),
    ):
        outside = np.roll(crop, (-row_step, -column_step), axis=(0, 1))
        rows, columns = np.nonzero(crop & ~outside)
        starts.append(np.stack([columns + dx, rows + dy], axis=1))
        directions.append(np.full(len(rows), heading))
        inside.append(labelled[rows, columns])
    start, direction = np.concatenate(starts), np.concatenate(directions)
    owner = np.concatenate(inside)
    following = _followers(start, direction, crop.shape[1] + 1)
    cycle, place = _cycle_order(following)
    order = np.lexsort((place, cycle))
    cuts = np.flatnonzero(np.diff(cycle[order])) + 1
    firsts = order[np.concatenate([[0], cuts])]
    return np.split(start[order], cuts), owner[firsts].tolist()


def _followers(start: ndarray, direction: ndarray, stride: int) -> ndarray:
    """Return for every crack the one that continues its ring.

    Where two pixels touch at a corner, the turn to the left is taken, which joins them.
    """
    corner = start[:, 1] * stride + start[:, 0]
    crack_at = np.full((int(corner.max()) + stride + 2, 4), -1)
    crack_at[corner, direction] = np.arange(len(corner))
    end = start + _STEPS[direction]
    end_corner = end[:, 1] * stride + end[:, 0]
    following = np.full(len(corner), -1)
    for turn in (1, 0, -1):  # the last one that exists wins: left before straight on before right
        candidate = crack_at[end_corner, (direction + turn) % 4]
        following = np.where(candidate >= 0, candidate, following)
    return following


def _cycle_order(following: ndarray) -> tuple[ndarray, ndarray]:
    """Return for every element of a permutation its cycle (smallest member) and its place in it.

    Pointer doubling: after k rounds every element has seen 2^k elements of its cycle.
    """
    count = len(following)
    rounds = max(1, int(np.ceil(np.log2(count + 1))))
    cycle, ahead = np.arange(count), following
    for _ in range(rounds):
        cycle = np.minimum(cycle, cycle[ahead])
        ahead = ahead[ahead]
    is_first = cycle == np.arange(count)
    # Distance to the first member, which is made to point at itself.
    to_first = (~is_first).astype(np.int64)
    ahead = np.where(is_first, np.arange(count), following)
    for _ in range(rounds):
        to_first = to_first + to_first[ahead]
        ahead = ahead[ahead]
    return cycle, np.where(is_first, -count, -to_first)


def _twice_signed_area(ring: ndarray) -> int:
    """Positive where the ring runs clockwise on the screen (y down)."""
    following = np.roll(ring, -1, axis=0)
    return int((ring[:, 0] * following[:, 1] - following[:, 0] * ring[:, 1]).sum())


def _next_on_ring(starts: ndarray, count: int) -> ndarray:
    """Return for every vertex of concatenated rings the one after it on its ring."""
    following = np.arange(1, count + 1)
    following[np.append(starts[1:], count) - 1] = starts
    return following


def _connections(points: ndarray, ring_of: ndarray, following: ndarray) -> ndarray:
    """Connect rings by the shortest seams.

    Returns:
        int (rings - 1, 2): pairs of vertices.
    """
    places, node_of = np.unique(points, axis=0, return_inverse=True)
    node_of = node_of.ravel()
    vertex_of_node = np.zeros(len(places), dtype=np.int64)
    vertex_of_node[node_of] = np.arange(len(points))
    corners = spatial.Delaunay(places).simplices[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2)
    edges = vertex_of_node[np.unique(np.sort(corners, axis=1), axis=0)]
    shared = np.stack([vertex_of_node[node_of], np.arange(len(points))], axis=1)
    between = np.concatenate([edges, shared])
    between = between[ring_of[between[:, 0]] != ring_of[between[:, 1]]]
    on_rings = np.stack([np.arange(len(points)), following], axis=1)
    links = np.concatenate([on_rings, between])
    # Steps along a ring cost next to nothing and shared corners little, so that the minimum spanning
    # tree of the vertices has exactly the shortest seams between rings (zeros would mean: no edge).
    lengths = np.linalg.norm(points[links[:, 0]] - points[links[:, 1]], axis=1) + 1e-3
    lengths[: len(on_rings)] = 1e-6
    graph = sparse.coo_matrix((lengths, (links[:, 0], links[:, 1])), shape=(len(points),) * 2).tocsr()
    tree = sparse.csgraph.minimum_spanning_tree(graph).tocoo()
    return np.stack([tree.row, tree.col], axis=1)[tree.data > 1e-4]
