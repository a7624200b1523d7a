"""Bags reduced to their picks."""

import numpy as np

from data_builders import FakeStore, box_mask, proposals
from sapnet.labels.picks import Pick, PickedProposals, picked_only, rank_in_bag

SIZE = (20, 30)


def bag(*lefts):
    return [(box_mask(SIZE, left, 2, left + 5, 9), 1 - 0.1 * rank) for rank, left in enumerate(lefts)]


def test_ranks_restart_with_every_click():
    assert rank_in_bag(np.array([0, 0, 0, 2, 3, 3])).tolist() == [0, 1, 2, 0, 0, 1]
    assert rank_in_bag(np.zeros(0, dtype=np.int64)).tolist() == []


def test_the_picked_rank_of_every_bag_is_kept():
    every = proposals(1, SIZE, {7: bag(1, 4, 8), 9: [], 8: bag(2, 6)})
    found = picked_only(every, {7: Pick(2, 0.5), 8: Pick(0, 0.5)})
    assert found.annotation_ids.tolist() == [7, 9, 8]
    assert found.prompt_index.tolist() == [0, 2]
    assert found.boxes[:, 0].tolist() == [8, 2]
    assert len(found.counts) == len(found.kinds) == len(found.scores) == len(found.areas) == 2


def test_clicks_without_a_pick_get_an_empty_bag():
    every = proposals(1, SIZE, {7: bag(1, 4), 8: bag(2)})
    assert picked_only(every, {7: Pick(-1, 0.0)}).num_proposals == 0
    assert picked_only(every, {7: Pick(5, 0.5), 8: Pick(0, 0.5)}).prompt_index.tolist() == [1]


def test_an_image_without_proposals_stays_without():
    assert picked_only(proposals(1, SIZE, {}), {}).num_proposals == 0


def test_a_store_of_picks_answers_like_the_store():
    class Store(FakeStore):
        def __contains__(self, image_id):
            return image_id in self.content

    store = PickedProposals(Store({1: proposals(1, SIZE, {7: bag(1, 4)})}), {7: Pick(1, 0.5)})
    assert 1 in store
    assert 2 not in store
    assert store.of_image(1).boxes[:, 0].tolist() == [4]
