"""``label`` and ``predict`` that end in the middle go on where they were, to the same bytes."""

from __future__ import annotations

import errno
import json
import os
import signal
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from killing import die, dies_at, in_child
from sapnet import pipeline
from sapnet.cli.main import main
from sapnet.data.journal import Journal
from sapnet.errors import JobError
from sapnet.inference import predict as predicting
from sapnet.models.sapnet import SapNet
from training_builders import tiny_config, train_arguments, write_tiny_data

CONFIG = tiny_config(
    training={"mode": "end-to-end", "epochs": 2},
    model={"inference": {"score_threshold": 0.001, "keep_threshold": 0.0, "max_instances": 5}},
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_tiny_data(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("trained") / "run"
    pipeline.train(**train_arguments(data, out), config=CONFIG, quiet=True)
    return out


def jobs(data, run):
    """Both verbs as functions of the file that they write, and what each calls once an image."""
    points = {"points": data.points, "images": data.images, "proposals": data.store}
    return {
        "label": (
            lambda out, **more: pipeline.label(run, **points, out=out, quiet=True, **more),
            SapNet,
            "pick",
        ),
        "predict": (
            lambda out, **more: pipeline.predict(run, [data.images], out, quiet=True, **more),
            predicting,
            "predict_one",
        ),
    }


def counted(monkeypatch, place, name):
    calls, real = Counter(), getattr(place, name)

    def counting(*arguments, **settings):
        calls[name] += 1
        return real(*arguments, **settings)

    monkeypatch.setattr(place, name, counting)
    return lambda: calls[name]


@pytest.mark.parametrize("verb", ["label", "predict"])
def test_a_killed_job_goes_on_to_the_same_bytes_without_doing_anything_twice(
    data, run, tmp_path, monkeypatch, verb
):
    job, place, step = jobs(data, run)[verb]
    job(tmp_path / "whole.json")
    out, kept = tmp_path / "out.json", tmp_path / "out.json.unfinished"

    def killed():
        setattr(place, step, dies_at(2, getattr(place, step)))
        job(out)

    assert in_child(killed) == -signal.SIGKILL
    assert kept.exists()
    assert not out.exists()
    calls = counted(monkeypatch, place, step)
    job(out)
    assert calls() == 4 - 2
    assert out.read_bytes() == (tmp_path / "whole.json").read_bytes()
    assert sorted(item.name for item in tmp_path.iterdir()) == ["out.json", "whole.json"]


@pytest.mark.parametrize("verb", ["label", "predict"])
def test_killed_between_the_file_and_its_end_it_writes_the_same_again(data, run, tmp_path, monkeypatch, verb):
    job, place, step = jobs(data, run)[verb]
    out = tmp_path / "out.json"

    def killed():
        Journal.remove = die
        os.unlink = die
        job(out)

    assert in_child(killed) == -signal.SIGKILL
    before = out.read_bytes()
    calls = counted(monkeypatch, place, step)
    job(out)
    assert calls() == 0
    assert out.read_bytes() == before


def test_a_model_trained_anew_takes_up_nothing(data, run, tmp_path, monkeypatch):
    job, place, step = jobs(data, run)["predict"]
    out = tmp_path / "out.json"

    def killed():
        setattr(place, step, dies_at(2, getattr(place, step)))
        job(out)

    assert in_child(killed) == -signal.SIGKILL
    other = tmp_path / "other"
    config = CONFIG.model_copy(update={"seed": 5})
    pipeline.train(**train_arguments(data, other), config=config, quiet=True)
    calls = counted(monkeypatch, place, step)
    pipeline.predict(other, [data.images], out, quiet=True)
    assert calls() == 4


def test_after_a_cut_image_skip_bad_predicts_only_what_is_missing(run, tmp_path, monkeypatch, capsys):
    data = write_tiny_data(tmp_path / "tiny")
    # A JPEG's header says nothing of its end, and the name of a file does not matter.
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(data.images / "4.png", "JPEG")
    broken = data.images / "4.png"
    broken.write_bytes(broken.read_bytes()[:-800])
    out, drawn = tmp_path / "p.json", tmp_path / "drawn"
    given = ["predict", "--model", run, data.images, "--out", out, "--draw", drawn]
    assert main([str(word) for word in given]) == 2
    message = capsys.readouterr().err
    assert "3 images are finished and kept in" in message
    assert "--skip-bad" in message
    assert not out.exists()
    assert not drawn.exists()
    calls = counted(monkeypatch, predicting, "predict_one")
    assert main([*(str(word) for word in given), "--skip-bad", "--json"]) == 0
    assert calls() == 0
    assert json.loads(capsys.readouterr().out)["skipped"] == 1
    assert len(list(drawn.iterdir())) == 3
    assert not (tmp_path / "p.json.unfinished").exists()


def test_images_whose_header_is_no_image_are_refused_before_the_first_is_predicted(
    run, tmp_path, monkeypatch, capsys
):
    data = write_tiny_data(tmp_path / "tiny")
    for name in ("2.png", "4.png"):
        (data.images / name).write_bytes(b"no image")
    calls = counted(monkeypatch, predicting, "predict_one")
    before = sorted(tmp_path.iterdir())
    assert main(["predict", "--model", str(run), str(data.images), "--out", str(tmp_path / "p.json")]) == 2
    message = capsys.readouterr().err
    assert "2.png" in message
    assert "4.png" in message
    assert calls() == 0
    assert sorted(tmp_path.iterdir()) == before


def test_a_full_disk_while_predicting_keeps_what_is_finished(data, run, tmp_path, monkeypatch):
    job, place, step = jobs(data, run)["predict"]
    out = tmp_path / "out.json"
    real = Journal.add

    def full(self, key, content):
        if key == 3:
            raise JobError(os.strerror(errno.ENOSPC))
        real(self, key, content)

    with monkeypatch.context() as patched:
        patched.setattr(Journal, "add", full)
        with pytest.raises(JobError, match="No space left"):
            job(out)
    calls = counted(monkeypatch, place, step)
    job(out)
    assert calls() == 2


def test_a_two_stage_run_labels_with_the_picks_that_its_second_stage_learned_from(
    data, tmp_path, monkeypatch
):
    config = tiny_config(training={"mode": "two-stage", "epochs": 1})
    calls = counted(monkeypatch, SapNet, "pick")
    pipeline.run(data.points, data.images, tmp_path / "run", config, quiet=True)
    assert calls() == 4
    assert (tmp_path / "run" / "selection" / "picks.kept").is_file()
    labels = (tmp_path / "run" / "labels.json").read_bytes()
    arguments = {"points": data.points, "images": data.images, "proposals": tmp_path / "run" / "proposals"}
    pipeline.label(tmp_path / "run", **arguments, out=tmp_path / "labels.json", quiet=True)
    assert calls() == 8
    assert (tmp_path / "labels.json").read_bytes() == labels
