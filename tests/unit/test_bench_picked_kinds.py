"""What kinds of proposals were picked."""

import pytest

from data_builders import FakeStore, box_mask, proposals
from sapnet.bench.picked_kinds import picked_kinds
from sapnet.labels.picks import Pick

SIZE = (9, 30)


def bag(*lefts):
    return [(box_mask(SIZE, left, 2, left + 6, 8), 1 - 0.1 * rank) for rank, left in enumerate(lefts)]


def with_kinds(made, *kinds):
    return type(made)(**{**vars(made), "kinds": kinds})


class Store(FakeStore):
    def __contains__(self, image_id):
        return image_id in self.content


def test_the_share_of_every_kind_is_of_the_picks_whatever_was_voted():
    first = with_kinds(
        proposals(1, SIZE, {7: bag(0, 8), 8: bag(16, 20)}),
        "simulated-part",
        "simulated-whole",
        "simulated-group",
        "simulated-whole",
    )
    other = with_kinds(proposals(2, SIZE, {9: bag(0)}), "simulated-whole")
    store = Store({1: first, 2: other, 4: other})
    picks = {7: Pick(1, 0.9, (1.0, 0.0)), 8: Pick(0, 0.8), 9: Pick(0, 0.7)}
    found = picked_kinds(store, picks, [1, 2, 3])
    assert found == pytest.approx({"part": 0, "whole": 2 / 3, "group": 1 / 3})
    assert picked_kinds(store, {}, [1, 2]) == {}
