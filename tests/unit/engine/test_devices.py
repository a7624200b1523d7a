"""How many threads torch gets on the CPU."""

import os

import pytest
import torch

from sapnet.engine.devices import leave_cores_to_loaders


@pytest.fixture
def threads_set(monkeypatch):
    counts = []
    monkeypatch.setattr(torch, "set_num_threads", counts.append)
    return counts


@pytest.mark.parametrize(("cores", "workers", "expected"), [(8, 1, 7), (2, 1, 1), (2, 4, 1), (None, 0, 1)])
def test_loaders_keep_their_cores(monkeypatch, threads_set, cores, workers, expected):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    leave_cores_to_loaders(workers)
    assert threads_set == [expected]


def test_the_users_own_choice_stands(monkeypatch, threads_set):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    leave_cores_to_loaders(1)
    assert threads_set == []
