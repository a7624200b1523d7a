"""Properties of masks, geometry and files that hold for any input."""

from __future__ import annotations

import math

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from data_builders import click, document, image_entry
from oracles.mask_grid import covered_clicks, mask_on_input_grid, quasi_center_weights
from sapnet.data.annotations import ImagePoints, points_from_json, points_to_json
from sapnet.data.bags import bags_of_image
from sapnet.data.mask_grid import mask_shares
from sapnet.data.point_sampling import quasi_center
from sapnet.data.rle import decode_masks, encode_mask, mask_area, mask_box, masks_cover_points, run_lengths
from sapnet.data.transforms import Geometry, grid_size, move_boxes, move_masks, move_points
from sapnet.proposals.proposer import ImageProposals

few = settings(deadline=None, max_examples=25)
sides = st.integers(1, 13)
sizes = st.tuples(sides, sides)


@st.composite
def mask_stacks(draw, most=5):
    size = draw(sizes)
    share = draw(st.sampled_from([0.0, 0.1, 0.5, 0.95, 1.0]))
    count = draw(st.integers(1, most))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    return rng.random((count, *size)) < share


@few
@given(mask_stacks())
def test_encoding_and_decoding_give_the_mask_back(masks):
    counts, size = [encode_mask(mask) for mask in masks], masks.shape[1:]
    assert (decode_masks(counts, size) == masks).all()
    assert (mask_area(counts, size) == masks.sum(axis=(1, 2))).all()
    runs, offsets = run_lengths(counts, size)
    for index, mask in enumerate(masks):
        own = runs[offsets[index] : offsets[index + 1]]
        assert np.repeat(np.arange(len(own)) % 2, own).tolist() == mask.T.ravel().astype(int).tolist()
        row, column = np.nonzero(mask)
        tight = [column.min(), row.min(), column.max() + 1, row.max() + 1] if len(row) else [0] * 4
        assert mask_box(counts, size)[index].tolist() == tight


@few
@given(mask_stacks(), st.integers(0, 10**6))
def test_a_point_is_covered_where_the_pixel_under_it_is_filled(masks, seed):
    rng = np.random.default_rng(seed)
    height, width = masks.shape[1:]
    xy = rng.uniform(-1, 1 + max(height, width), (30, 2))
    index = rng.integers(0, len(masks), 30)
    got = masks_cover_points([encode_mask(mask) for mask in masks], (height, width), index, xy)
    for covered, mask, (x, y) in zip(got, masks[index], xy, strict=True):
        column, row = math.floor(x), math.floor(y)
        assert covered == (0 <= column < width and 0 <= row < height and bool(mask[row, column]))


@few
@given(mask_stacks(most=2), sizes, st.booleans(), st.sampled_from([1, 2, 4]))
def test_the_mask_grid_is_the_area_average_of_the_moved_mask(masks, target, flipped, stride):
    geometry = Geometry(masks.shape[1:], target, flipped)
    counts = [encode_mask(mask) for mask in masks]
    grid = move_masks(counts, geometry, stride=stride)
    assert grid.shape[1:] == grid_size(target, stride)
    for got, mask in zip(grid.numpy(), masks, strict=True):
        shares, filled = mask_on_input_grid(mask, target, flipped, stride)
        # Rounding may decide either way where a share is one half, or where the fullest cells tie.
        clear = np.abs(np.array(shares) - 0.5) > 1e-4
        if np.max(shares) >= 0.5001 or not mask.any():
            assert (got == np.array(filled))[clear].all()
        assert got.any() == mask.any()


@few
@given(mask_stacks())
def test_shares_add_up_to_the_area(masks):
    height, width = masks.shape[1:]
    rows, columns = np.linspace(0, height, 4), np.linspace(0, width, 6)
    shares = mask_shares([encode_mask(mask) for mask in masks], (height, width), rows, columns)
    cell = height / 3 * width / 5
    np.testing.assert_allclose(shares.sum(axis=(1, 2)) * cell, masks.sum(axis=(1, 2)), rtol=1e-4, atol=1e-4)


@few
@given(sizes, sizes, arrays(np.float64, (4, 2), elements=st.floats(0, 1)))
def test_moving_there_and_back_and_flipping_twice_change_nothing(size, target, places):
    xy = places * [size[1], size[0]]
    for flipped in (False, True):
        there = move_points(xy, Geometry(size, target, flipped)).numpy()
        back = move_points(there, Geometry(target, size, flipped)).numpy()
        np.testing.assert_allclose(back, xy, atol=1e-4)
    boxes = np.concatenate([np.minimum(xy[:2], xy[2:]), np.maximum(xy[:2], xy[2:])], axis=1)
    moved = move_boxes(boxes, Geometry(size, target, True))
    corners = move_points(boxes.reshape(-1, 2), Geometry(size, target, True)).reshape(2, 2, 2)
    assert torch.allclose(moved[:, :2], corners.amin(dim=1))
    assert torch.allclose(moved[:, 2:], corners.amax(dim=1))


@few
@given(st.integers(0, 10**6), st.booleans())
def test_covered_clicks_agree_with_the_loop(seed, flipped):
    rng = np.random.default_rng(seed)
    size, target, count = (12, 16), (24, 40), int(rng.integers(1, 6))
    clicks = rng.uniform(0, 1, (count, 2)) * [16, 12]
    labels = rng.integers(0, 2, count)
    masks = rng.random((count * 2, *size)) < 0.5
    owners = np.repeat(np.arange(count), 2)
    counts = tuple(encode_mask(mask) for mask in masks)
    ids = rng.permutation(count) + 100
    stored = ImageProposals(
        image_id=1,
        image_size=size,
        annotation_ids=ids,
        prompt_index=owners,
        counts=counts,
        boxes=mask_box(counts, size).astype(np.float32),
        scores=np.tile(np.array([0.9, 0.1], dtype=np.float32), count),
        areas=mask_area(counts, size).astype(np.float32),
        kinds=("point",) * len(counts),
    )
    none = np.zeros((0, 2)), np.zeros(0, dtype=np.int64)
    bags = bags_of_image(
        stored,
        ImagePoints(ids, clicks, labels, *none, *none),
        Geometry(size, target, flipped),
        mask_stride=4,
        max_proposals=5,
        file_name="a.png",
    )
    expected = covered_clicks(masks.tolist(), owners.tolist(), clicks.tolist(), labels.tolist(), target)
    assert bags.covered_points.ravel().tolist() == [covered for covered, _ in expected]
    np.testing.assert_allclose(bags.covered_distance.ravel(), [item[1] for item in expected], rtol=1e-4)


@few
@given(mask_stacks(most=1), st.integers(0, 10**6))
def test_quasi_centres_fall_only_where_their_weights_are_positive(masks, seed):
    row, column = np.nonzero(masks[0])
    if len(row) == 0:
        return
    crop = masks[0, row.min() : row.max() + 1, column.min() : column.max() + 1]
    weights = quasi_center_weights(crop.tolist())
    rng = np.random.default_rng(seed)
    for _ in range(20):
        x, y = quasi_center(crop, rng)
        assert weights[math.floor(y), math.floor(x)] > 0


coordinates = st.floats(-1e6, 1e6)
points = st.lists(coordinates, min_size=2, max_size=2)


@few
@given(st.lists(st.tuples(points, st.lists(points, max_size=3), st.sampled_from([0, 7])), max_size=6))
def test_a_points_file_survives_reading_and_writing(rows):
    annotations = [
        click(index, point, 5, category, **({"negative_points": negative} if negative else {}))
        for index, (point, negative, category) in enumerate(rows)
    ]
    obj = document(annotations, images=[image_entry(5)])
    loaded = points_from_json(obj, "points")
    assert points_to_json(loaded) == obj
    assert loaded.digest == points_from_json(points_to_json(loaded), "points").digest
