"""``proposals.boxes=enhancer``: one command learns boxes and asks with them, however often it is killed."""

import json
import signal
from types import SimpleNamespace

import numpy as np
import pytest

from killing import die, dies_at, in_child
from proposal_builders import BoxProposer
from sapnet import pipeline
from sapnet.engine import enhancing, loop, step
from sapnet.errors import CheckpointError, DataError, InputError, StoreError
from sapnet.pipeline import proposing
from training_builders import tiny_config, write_tiny_data

ENHANCER = {
    "epochs": 2,
    "base_sizes": [8.0, 40.0],
    "aspect_factors": [1.0],
    "refinement_scales": [1.0],
    "projection_channels": 8,
    "roi_size": 2,
    "hidden_channels": 8,
    "background_per_image": 4,
}


def settings(**changes):
    return tiny_config(
        proposals={"name": "regions", "boxes": "enhancer", "enhancer": {**ENHANCER, **changes}},
        training={"checkpoint_steps": 1, "epochs": 1, "selection_warmup_epochs": 0},
    )


class AskedWithBoxes(BoxProposer):
    """Says in its scores which boxes it was asked with."""

    uses_boxes = True

    def propose(self, image, prompts):
        assert prompts.boxes is not None
        assert np.isfinite(prompts.boxes).all()
        return super().propose(image, prompts)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_tiny_data(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def asked(monkeypatch):
    monkeypatch.setattr(proposing, "build_proposer", lambda *_, **__: AskedWithBoxes())


def propose(data, out, config=None, **more):
    return pipeline.propose(data.points, data.images, out, config or settings(), quiet=True, **more)


@pytest.fixture(scope="module")
def plain(data, tmp_path_factory):
    """A store and its boxes, made without interruption by the weightless proposer."""
    out = tmp_path_factory.mktemp("plain") / "store"
    return out, propose(data, out, instances=data.instances)


def test_boxes_are_a_points_file_with_a_box_per_click_and_are_measured(data, plain):
    out, figures = plain
    path = out.with_name("store-boxes") / "boxes.json"
    document = json.loads(path.read_text())
    clicks = json.loads(data.points.read_text())["annotations"]
    assert [entry["point"] for entry in document["annotations"]] == [entry["point"] for entry in clicks]
    assert all(min(entry["bbox"][2:]) > 0 for entry in document["annotations"])
    found = figures["boxes"]
    assert found["file"] == str(path)
    assert (found["clicks"], found["boxes"], found["used_by_the_proposer"]) == (8, 8, False)
    assert 0 < found["quality"]["all"]["box_miou"] < 1


def test_boxes_of_equal_clicks_and_settings_are_used_again(data, plain, monkeypatch):
    monkeypatch.setattr(enhancing, "fit", None)
    out, figures = plain
    assert propose(data, out, instances=data.instances) == figures


def test_the_manifest_says_what_made_the_boxes(data, tmp_path, asked):
    propose(data, tmp_path / "store")
    manifest = json.loads((tmp_path / "store" / "manifest.json").read_text())
    boxes = manifest["proposer"]["settings"]["boxes"]
    assert boxes["made_by"] == "enhancer"
    assert boxes["settings"]["epochs"] == 2
    assert boxes["digest"].startswith("sha256:")
    assert propose(data, tmp_path / "store")["boxes"]["used_by_the_proposer"]


def test_other_settings_or_clicks_are_refused_and_nothing_is_learned(data, tmp_path, asked, monkeypatch):
    propose(data, tmp_path / "store")
    monkeypatch.setattr(enhancing, "fit", None)
    with pytest.raises(StoreError, match="made in another way"):
        propose(data, tmp_path / "store", settings(best_count=2))
    alone = settings().model_copy(
        update={"proposals": settings().proposals.model_copy(update={"second_opinion": "none"})}
    )
    with pytest.raises(StoreError, match="setting second_opinion is builtin, this run's is not set"):
        propose(data, tmp_path / "store", alone)
    with pytest.raises(StoreError, match="other points"):
        propose(write_tiny_data(tmp_path / "other", seed=5), tmp_path / "store")


def test_settings_of_the_rest_leave_the_boxes_usable_and_those_of_the_enhancer_do_not(data, plain):
    out, _ = plain
    changed = settings().model_copy(
        update={"optim": settings().optim.model_copy(update={"learning_rate": 1.0})}
    )
    propose(data, out, changed)
    with pytest.raises(
        CheckpointError, match=r"proposals\.enhancer\.epochs: it was started with 2, now it is 3"
    ):
        propose(data, out, settings(epochs=3))


def test_missing_images_are_found_before_anything_is_learned(data, tmp_path):
    missing = SimpleNamespace(points=data.points, images=tmp_path)
    with pytest.raises(DataError, match=r"1\.png"):
        propose(missing, tmp_path / "store")
    assert not (tmp_path / "store-boxes").exists()


def test_prompts_that_need_no_box_are_told(data, tmp_path, monkeypatch):
    class Sam(BoxProposer):
        uses_boxes = False

    monkeypatch.setattr(proposing, "build_proposer", lambda *_, **__: Sam())
    with pytest.raises(InputError, match=r"add 'box' or 'box\+point' to proposals\.sam\.prompts"):
        propose(data, tmp_path / "store")


def test_clicks_are_not_needed(tmp_path):
    empty = write_tiny_data(tmp_path / "empty", num_images=1, clicks_per_image=0)
    assert propose(empty, tmp_path / "store")["boxes"]["boxes"] == 0


MOMENTS = {
    "in the first step": lambda: setattr(step.StepRunner, "run", die),
    "between steps": lambda: setattr(step.StepRunner, "run", dies_at(2, step.StepRunner.run)),
    "before a checkpoint": lambda: setattr(loop, "save_checkpoint", dies_at(1, loop.save_checkpoint)),
    "while boxes are estimated": lambda: setattr(enhancing, "estimate_boxes", die),
    "before boxes are written": lambda: setattr(enhancing, "save_boxes", die),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_at_any_moment_the_same_command_ends_at_the_same_boxes(data, plain, tmp_path, moment):
    def killed():
        MOMENTS[moment]()
        propose(data, tmp_path / "store")

    assert in_child(killed) == -signal.SIGKILL
    propose(data, tmp_path / "store")
    for name in ("store-boxes/boxes.json", "store/proposals.bin"):
        assert (tmp_path / name).read_bytes() == (plain[0].parent / name).read_bytes()


def test_a_whole_run_learns_boxes_first(data, tmp_path, asked):
    figures = pipeline.run(data.points, data.images, tmp_path / "run", settings(), quiet=True)
    assert figures["proposals"]["boxes"]["boxes"] == 8
    assert (tmp_path / "run" / "proposals-boxes" / "boxes.json").exists()
    assert (tmp_path / "run" / "labels.json").exists()
