"""A vote over pixels against one that counts pixel by pixel."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from data_builders import FakeStore, box_mask, click, image_entry, point_set, proposals
from sapnet.data.rle import decode_masks, encode_mask, encode_runs
from sapnet.labels.label import label_document
from sapnet.labels.picks import Pick, PickedProposals, label_masks
from sapnet.labels.voting import voted_masks

SIZE = (4, 5)


def majority(masks, weights, tenths=5):
    """Every pixel by itself, the weights added as whole numbers; more than so many tenths are needed."""
    found = np.zeros(masks[0].shape, dtype=bool)
    for row, column in np.ndindex(found.shape):
        covered = sum(weight for mask, weight in zip(masks, weights, strict=True) if mask[row, column])
        found[row, column] = 10 * covered > tenths * sum(weights)
    return found


@given(st.data())
def test_every_group_keeps_the_pixels_with_more_than_the_needed_weight(data):
    draw = data.draw
    groups = draw(st.lists(st.integers(0, 3), max_size=8))
    masks = [np.array(draw(st.lists(st.booleans(), min_size=20, max_size=20))).reshape(SIZE) for _ in groups]
    weights = [draw(st.integers(0, 4)) for _ in groups]
    tenths = [draw(st.sampled_from([1, 3, 5])) for _ in range(4)]
    found = voted_masks(
        [encode_mask(mask) for mask in masks],
        np.array(groups, dtype=np.int64),
        np.array(weights, dtype=np.float64) / 4,
        SIZE,
        np.array(tenths) / 10,
    )
    for group in range(4):
        rows = [row for row, item in enumerate(groups) if item == group]
        chosen = ([masks[row] for row in rows], [weights[row] for row in rows])
        expected = majority(*chosen, tenths[group]) if rows else None
        if expected is None or not expected.any():
            assert group not in found
        else:
            assert found[group] == encode_mask(expected)


def test_runs_of_no_length_change_nothing():
    # As other programs write them: a filled run of length 0 at the end, and one in the middle.
    written = [[5, 5, 10, 0], [2, 6, 12], [1, 4, 0, 3, 12], [3, 0, 2, 5, 10, 0, 0, 0]]
    counts = [
        bytes(coco_mask.frPyObjects({"size": list(SIZE), "counts": runs}, *SIZE)["counts"])
        for runs in written
    ]
    masks = decode_masks(counts, SIZE)
    found = voted_masks([*counts, *counts], np.repeat([0, 2], 4), np.array([3, 2, 2, 1] * 2) / 1.0, SIZE)
    expected = encode_mask(majority(masks, [3, 2, 2, 1]))
    assert found == {0: expected, 2: expected}


def test_half_of_the_weight_is_not_more_than_half():
    left, right = box_mask(SIZE, 0, 0, 3, 4), box_mask(SIZE, 2, 0, 5, 4)
    counts = [encode_mask(left), encode_mask(right)]
    found = voted_masks(counts, np.zeros(2, dtype=np.int64), np.array([0.5, 0.5]), SIZE)
    assert decode_masks([found[0]], SIZE)[0].sum(axis=0).tolist() == [0, 0, 4, 0, 0]


@pytest.mark.parametrize("filled", [(0, 20), (0, 3), (17, 20), (1, 2)])
def test_runs_of_a_mask_that_touches_either_end(filled):
    mask = np.zeros(20, dtype=bool)
    mask[slice(*filled)] = True
    mask = mask.reshape(SIZE, order="F")
    assert encode_runs(np.array([item for item in filled if item < 20]), SIZE) == encode_mask(mask)
    assert encode_runs(np.array(filled), SIZE) == encode_mask(mask)


def bag(*lefts):
    return [(box_mask((9, 30), left, 2, left + 6, 8), 1 - 0.1 * rank) for rank, left in enumerate(lefts)]


def test_labels_have_the_pixels_that_were_voted_for():
    every = proposals(1, (9, 30), {7: bag(0, 2, 4), 8: bag(10, 20)})
    picks = {7: Pick(1, 0.9, (0.4, 0.2, 0.4)), 8: Pick(0, 0.7)}
    found = label_masks(every, picks)
    # Two of the three cover columns 2 to 7; click 8 keeps the mask of its proposal.
    assert found.boxes.tolist() == [[2, 2, 8, 8], [10, 2, 16, 8]]
    assert found.areas.tolist() == [36, 36]
    assert found.scores.tolist() == pytest.approx([0.9, 1.0])
    columns = decode_masks(found.counts, (9, 30))[0].any(axis=0)
    assert np.flatnonzero(columns).tolist() == list(range(2, 8))


def test_a_label_has_the_pixels_with_more_than_what_it_needs():
    every = proposals(1, (9, 30), {7: bag(0, 2, 4)})
    boxes = [
        label_masks(every, {7: Pick(0, 0.9, (0.6, 0.25, 0.15), needed)}).boxes[0, 2]
        for needed in (0.5, 0.3, 0.1)
    ]
    assert boxes == [6, 8, 10]


def test_where_no_pixel_has_a_majority_the_picked_mask_stays():
    every = proposals(1, (9, 30), {7: bag(0, 8, 16), 9: []})
    picks = {7: Pick(2, 0.9, (0.3, 0.3, 0.4)), 9: Pick(-1, 0.0, (0.0,) * 3)}
    labels = PickedProposals(FakeStore({1: every}), picks).of_image(1)
    assert labels.boxes.tolist() == [[16, 2, 22, 8]]


def test_a_sliver_that_masks_share_which_part_otherwise_is_no_label():
    size = (40, 60)
    masks = [box_mask(size, left, 0, right, 20) for left, right in ((0, 20), (19, 40), (45, 60))]
    every = proposals(1, size, {7: [(mask, 0.9 - 0.1 * rank) for rank, mask in enumerate(masks)]})
    assert label_masks(every, {7: Pick(0, 0.9, (0.4, 0.3, 0.3))}).boxes.tolist() == [[0, 0, 20, 20]]


class Store(FakeStore):
    def __contains__(self, image_id):
        return image_id in self.content


def test_the_second_stage_and_the_label_file_have_the_pixels_of_the_vote():
    bag_of = {7: bag(0, 2, 4), 8: bag(10, 20)}
    points = point_set([click(7, (3, 5)), click(8, (12, 5))], images=[image_entry(width=30, height=9)])
    store = Store({1: proposals(1, (9, 30), bag_of)})
    picks = {7: Pick(2, 0.9, (0.4, 0.2, 0.4)), 8: Pick(0, 0.7, (0.9, 0.1, 0.0))}
    assert PickedProposals(store, picks).of_image(1).boxes[:, 0].tolist() == [2, 10]
    first, second = label_document(points, store, picks)["annotations"]
    assert (first["bbox"], first["area"], first["proposal"], first["voted"]) == ([2, 2, 6, 6], 36, 2, True)
    assert (second["bbox"], second["proposal"], second["voted"]) == ([10, 2, 6, 6], 0, False)


def test_one_vote_for_all_is_the_mask_itself():
    every = proposals(1, (9, 30), {7: bag(0, 8)})
    alone, voted = (label_masks(every, {7: Pick(1, 0.5, votes)}) for votes in ((), (0.0, 1.0)))
    assert voted.counts == alone.counts
    assert voted.boxes.tolist() == alone.boxes.tolist()
