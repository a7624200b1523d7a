"""Two threads share an image, and nobody can tell from the result."""

import os
import threading
import time

import numpy as np
import pytest
import torch

from proposal_builders import prompts_at, same_proposals
from sapnet.proposals.builtin import sharing
from sapnet.proposals.builtin.proposer import BuiltinProposer


@pytest.fixture
def _two_cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2})


@pytest.mark.usefixtures("_two_cores")
def test_results_come_in_the_order_of_the_items():
    def late_if_first(item):
        time.sleep(0.02 * (item == 0))
        return item, threading.get_ident()

    results = sharing.in_threads(late_if_first, range(6))
    assert [item for item, _ in results] == list(range(6))
    assert len({thread for _, thread in results}) == 2


@pytest.mark.usefixtures("_two_cores")
def test_torch_has_one_thread_in_every_thread_and_none_is_left_over():
    before = threading.active_count()
    assert sharing.in_threads(lambda _: torch.get_num_threads(), range(4)) == [1] * 4
    assert threading.active_count() == before


@pytest.mark.usefixtures("_two_cores")
def test_what_an_item_raises_is_raised():
    with pytest.raises(ZeroDivisionError):
        sharing.in_threads(lambda item: 1 // item, [2, 1, 0])


def test_launched_runs_workers_and_single_cores_use_one_thread(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {5})
    assert sharing.usable_threads() == 1
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    assert sharing.usable_threads() == 2
    monkeypatch.setattr(sharing.multiprocessing, "parent_process", object)
    assert sharing.usable_threads() == 1
    monkeypatch.undo()
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert sharing.usable_threads() == 1


def test_proposals_do_not_depend_on_the_number_of_threads(monkeypatch):
    blocks = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    image = np.repeat(np.repeat(blocks, 16, axis=0), 16, axis=1)
    prompts = prompts_at([(20, 20), (90, 50), (60, 80)])
    proposer = BuiltinProposer(working_long_side=96)
    found = []
    for cores in ({0}, {0, 1}):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, cores=cores: cores)
        found.append(proposer.propose(image, prompts))
    assert found[0].num_proposals
    assert same_proposals(*found)
