"""Masks that several prompts of a click give are kept once, and only within their bag."""

from __future__ import annotations

import numpy as np
import pytest

from oracles.merging import kept_rows, overlap
from proposal_builders import SIZE, box_mask, prompts_at, random_proposals, same_proposals
from sapnet.data.rle import encode_mask
from sapnet.errors import InputError
from sapnet.proposals.merging import merge_duplicates, run_length_iou
from sapnet.proposals.proposer import collect_proposals


def image_of(bags, size=SIZE):
    """Proposals with one bag per list of (left, top, right, bottom, score, kind)."""
    rows = [(index, *row) for index, bag in enumerate(bags) for row in bag]
    return collect_proposals(
        prompts_at(np.ones((len(bags), 2))),
        size,
        prompt_index=[row[0] for row in rows],
        counts=[encode_mask(box_mask(size, *row[1:5])) for row in rows],
        scores=[row[5] for row in rows],
        kinds=[row[6] for row in rows],
    )


def test_of_two_near_duplicates_the_better_one_stays_with_its_kind():
    bag = [(0, 0, 10, 10, 0.5, "box"), (0, 0, 10, 9, 0.7, "point"), (0, 0, 4, 4, 0.6, "point")]
    merged = merge_duplicates(image_of([bag]), iou=0.9, max_per_prompt=12)
    assert merged.kinds == ("point", "point")
    assert merged.areas.tolist() == [90, 16]
    assert np.allclose(merged.scores, [0.7, 0.6])


def test_an_overlap_of_exactly_the_threshold_is_a_duplicate():
    image = image_of([[(0, 0, 10, 10, 0.9, "a"), (0, 0, 10, 9, 0.8, "b")]])
    assert merge_duplicates(image, iou=0.9, max_per_prompt=9).kinds == ("a",)
    assert merge_duplicates(image, iou=0.9001, max_per_prompt=9).kinds == ("a", "b")


def test_a_threshold_of_one_merges_equal_masks_only():
    bag = [(0, 0, 40, 40, 0.9, "a"), (0, 0, 40, 40, 0.8, "b"), (0, 0, 40, 41, 0.7, "c")]
    assert merge_duplicates(image_of([bag]), iou=1.0, max_per_prompt=9).kinds == ("a", "c")


def test_what_was_dropped_drops_nothing_itself():
    chain = [(0, 0, 20, 20, 0.9, "a"), (2, 0, 22, 20, 0.8, "b"), (4, 0, 24, 20, 0.7, "c")]
    assert merge_duplicates(image_of([chain]), iou=0.75, max_per_prompt=9).kinds == ("a", "c")


def test_equal_masks_of_other_clicks_stay():
    bag = [(0, 0, 10, 10, 0.5, "point")]
    assert merge_duplicates(image_of([bag, bag]), iou=0.5, max_per_prompt=9).prompt_index.tolist() == [0, 1]


def test_a_bag_ends_at_the_most_per_prompt():
    bag = [(5 * i, 0, 5 * i + 5, 5, 0.1 * i, str(i)) for i in range(6)]
    assert merge_duplicates(image_of([bag, bag[:1]]), iou=0.9, max_per_prompt=2).kinds == ("5", "4", "0")


def test_a_click_without_proposals_keeps_its_empty_bag():
    image = image_of([[], [(0, 0, 5, 5, 0.5, "a")], []])
    merged = merge_duplicates(image, iou=0.9, max_per_prompt=3)
    assert same_proposals(merged, image)
    assert merged.of_prompt(2) == slice(1, 1)


@pytest.mark.parametrize("clicks", [0, 3])
def test_images_without_clicks_or_proposals_stay(clicks):
    image = random_proposals(1, clicks=clicks, most=0)
    assert same_proposals(merge_duplicates(image, iou=0.9, max_per_prompt=3), image)


@pytest.mark.parametrize("seed", range(4))
def test_random_bags_are_merged_as_by_the_loops(seed):
    random = np.random.default_rng(seed)
    size = (14, 17)
    masks = [np.zeros(size, dtype=bool) for _ in range(24)]
    for mask in masks:
        (top, left), (height, width) = random.integers(0, 4, 2), random.integers(6, 10, 2)
        mask[top : top + height, left : left + width] = True
    image = collect_proposals(
        prompts_at(np.ones((4, 2))),
        size,
        prompt_index=random.integers(0, 3, len(masks)).tolist(),
        counts=[encode_mask(mask) for mask in masks],
        scores=random.integers(0, 5, len(masks)).tolist(),
        kinds=[str(i) for i in range(len(masks))],
    )
    for iou, most in ((0.5, 9), (0.7, 9), (0.7, 2), (1.0, 9)):
        merged = merge_duplicates(image, iou=iou, max_per_prompt=most)
        rows = kept_rows(image, iou, most)
        assert merged.kinds == tuple(image.kinds[row] for row in rows)
        assert merged.counts == tuple(image.counts[row] for row in rows)
        assert np.array_equal(merged.boxes, image.boxes[rows])
        assert same_proposals(merge_duplicates(merged, iou=iou, max_per_prompt=most), merged)


def test_overlaps_from_run_lengths_are_those_of_the_pixels(rng):
    masks = [rng.random((9, 11)) < share for share in (0.1, 0.5, 0.9, 0.0, 1.0)]
    found = run_length_iou([encode_mask(mask) for mask in masks], (9, 11))
    assert np.allclose(found, [[overlap(a, b) for b in masks] for a in masks])
    assert run_length_iou([], (9, 11)).shape == (0, 0)


def test_a_bag_of_more_than_255_masks_is_compared_whole():
    # pycocotools counts masks in a byte in some places.
    masks = [encode_mask(box_mask((20, 400), i, 0, i + 10, 10)) for i in range(300)]
    found = run_length_iou(masks, (20, 400))
    assert np.allclose(np.diag(found), 1.0)
    assert np.allclose(np.diag(found, 5), 1 / 3)


def test_wrong_settings_are_refused_together():
    with pytest.raises(InputError) as caught:
        merge_duplicates(image_of([]), iou=1.5, max_per_prompt=0)
    assert len(caught.value.problems) == 2
