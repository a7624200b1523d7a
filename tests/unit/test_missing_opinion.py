"""A notice where a second opinion is wanted that the proposals do not have."""

import pytest

from proposal_builders import random_proposals
from sapnet.data.annotations import load_points
from sapnet.engine.session import TrainingData
from sapnet.pipeline.proposing import load_training_data, tell_missing_opinion
from sapnet.proposals.store import ProposalStore
from sapnet.proposals.store_writer import StoreWriter
from training_builders import tiny_config, write_tiny_data


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return write_tiny_data(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def data(tiny):
    return load_training_data(tiny.points, tiny.images, tiny.store)


def said(capsys, data, *, quiet=False, exponent=1.0, mode="selection-only"):
    config = tiny_config(model={"picking": {"opinion_exponent": exponent}}, training={"mode": mode})
    tell_missing_opinion(data, config, quiet=quiet)
    found = capsys.readouterr()
    assert found.out == ""
    return found.err


def test_a_store_without_opinions_is_told_of_in_one_line_that_says_what_to_do(data, capsys):
    lines = said(capsys, data, exponent=0.5).splitlines()
    assert len(lines) == 1
    assert "model.picking.opinion_exponent=0.5 does nothing" in lines[0]
    assert "`sapnet propose` again" in lines[0]


def test_nothing_is_said_where_nobody_listens_or_nobody_wants_to_read_it(data, capsys):
    assert said(capsys, data, exponent=0.0) == ""
    assert said(capsys, data, mode="top-score") == ""
    assert said(capsys, data, quiet=True) == ""


def test_nothing_is_said_of_a_store_with_opinions(tiny, tmp_path, capsys):
    points = load_points(tiny.points)
    settings = {"second_opinion": {"name": "builtin", "settings": {}, "checkpoint": None}}
    with StoreWriter(
        tmp_path / "s", proposer_name="sam", proposer_settings=settings, points_digest=points.digest
    ) as writer:
        writer.append(random_proposals(1))
        writer.finish()
    store = ProposalStore.open(tmp_path / "s")
    assert said(capsys, TrainingData.of(points, tiny.images, store)) == ""
