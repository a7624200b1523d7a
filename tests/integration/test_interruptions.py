"""Runs that are killed at the worst moments and resumed end with the same bytes."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from killing import die, dies_at, in_child
from sapnet import pipeline
from sapnet.config_loader import dump_config
from sapnet.engine import checkpoint, loop, session, step, validation
from sapnet.errors import CheckpointError
from sapnet.pipeline import whole
from sapnet.proposals.store_writer import StoreWriter
from training_builders import tiny_config, train_arguments, train_options, write_tiny_data

CONFIG = tiny_config(training={"epochs": 3, "checkpoint_steps": 2, "evaluate_epochs": 2})
NUM_STEPS = 6


def train(data, out, *, resume=False, config=CONFIG, quiet=True):
    pipeline.train(
        **train_arguments(data, out),
        config=config,
        val_instances=data.instances,
        quiet=quiet,
        resume=resume,
    )


def outcome(run):
    """What must not depend on interruptions: the weights, and the metrics but for the speed."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return (run / "model.safetensors").read_bytes(), [
        {key: value for key, value in line.items() if key != "images_per_second"} for line in lines
    ]


def half_a_file(path, data):
    path.with_name(f".{path.name}.tmp").write_bytes(data[: len(data) // 2])
    die()


MOMENTS = {
    "in the first step": lambda: setattr(step.StepRunner, "run", die),
    "before a checkpoint": lambda: setattr(loop, "save_checkpoint", die),
    "between checkpoints": lambda: setattr(step.StepRunner, "run", dies_at(3, step.StepRunner.run)),
    "in a checkpoint's file": lambda: setattr(checkpoint, "write_bytes_atomic", half_a_file),
    "in an evaluation": lambda: setattr(validation, "evaluate_coco", die),
    "in the last evaluation": lambda: setattr(
        validation, "evaluate_coco", dies_at(1, validation.evaluate_coco)
    ),
    "before the model file": lambda: setattr(session, "save_model", die),
    "before the settings file": lambda: setattr(session, "prepare_run_folder", die),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_tiny_data(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def uninterrupted(data, tmp_path_factory):
    run = tmp_path_factory.mktemp("whole") / "run"
    train(data, run)
    return outcome(run)


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_run_resumes_to_the_same_bytes(data, uninterrupted, tmp_path, moment):
    run = tmp_path / "run"

    def killed():
        MOMENTS[moment]()
        train(data, run)

    assert in_child(killed) == -signal.SIGKILL
    assert not (run / "model.safetensors").exists()
    train(data, run, resume=True)
    assert outcome(run) == uninterrupted


def test_a_run_killed_again_and_again_resumes_to_the_same_bytes(data, uninterrupted, tmp_path):
    run = tmp_path / "run"

    def killed():
        step.StepRunner.run = dies_at(2, step.StepRunner.run)
        train(data, run, resume=True)

    codes = [in_child(killed) for _ in range(2)]
    assert codes == [-signal.SIGKILL] * 2
    train(data, run, resume=True)
    assert outcome(run) == uninterrupted


def test_the_first_stage_of_two_resumes_too(data, tmp_path):
    config = tiny_config(training={"mode": "two-stage", "epochs": 1, "checkpoint_steps": 1})
    train(data, tmp_path / "whole", config=config)
    run = tmp_path / "run"

    def killed():
        session.save_model = die
        train(data, run, config=config)

    assert in_child(killed) == -signal.SIGKILL
    train(data, run, config=config, resume=True)
    assert outcome(run) == outcome(tmp_path / "whole")


def test_a_damaged_newest_checkpoint_is_named_and_passed_over(data, uninterrupted, tmp_path, capsys):
    run = tmp_path / "run"

    def killed():
        step.StepRunner.run = dies_at(5, step.StepRunner.run)
        train(data, run)

    assert in_child(killed) == -signal.SIGKILL
    newest = max((run / "checkpoints").glob("*.pt"))
    newest.write_bytes(newest.read_bytes()[:1000])
    train(data, run, resume=True, quiet=False)
    assert f"left out a damaged checkpoint, {newest.name}" in capsys.readouterr().err
    assert outcome(run) == uninterrupted


def test_only_damaged_checkpoints_are_an_error_that_names_them(data, tmp_path):
    run = tmp_path / "run"
    train(data, run)
    for path in (run / "checkpoints").glob("*.pt"):
        path.write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match=r"step-00000006\.pt"):
        train(data, run, resume=True)


def test_other_settings_are_refused_by_name_with_both_values(data, tmp_path):
    run = tmp_path / "run"
    train(data, run)
    changed = tiny_config(training={"epochs": 4, "checkpoint_steps": 3, "log_steps": 5}, seed=3)
    with pytest.raises(CheckpointError) as error:
        train(data, run, config=changed, resume=True)
    assert "training.epochs: it was started with 3, now it is 4" in str(error.value)
    assert "seed: it was started with 0, now it is 3" in str(error.value)
    assert "checkpoint_steps" not in str(error.value)
    assert "log_steps" not in str(error.value)


def test_other_clicks_and_proposals_are_refused(data, tmp_path):
    run = tmp_path / "run"
    train(data, run)
    other = write_tiny_data(tmp_path / "other", seed=1)
    with pytest.raises(CheckpointError) as error:
        train(other, run, resume=True)
    assert error.value.problems == (
        "the points are not those it was started with",
        "the proposals are not those it was started with",
    )


def test_a_run_is_not_overwritten(data, tmp_path):
    run = tmp_path / "run"
    train(data, run)
    before = (run / "model.safetensors").stat().st_mtime_ns
    with pytest.raises(CheckpointError, match="--resume"):
        train(data, run)
    assert (run / "model.safetensors").stat().st_mtime_ns == before


RUN_CONFIG = tiny_config(training={"epochs": 2, "checkpoint_steps": 1})


def whole_job(data, out, *, resume=False):
    pipeline.run(
        data.points,
        data.images,
        out,
        RUN_CONFIG,
        instances=data.instances,
        val_instances=data.instances,
        resume=resume,
        quiet=True,
    )


def products(out):
    """What ``run`` leaves, but for the proposer's scores, whose last bit depends on the process."""
    labels = json.loads((out / "labels.json").read_text())["annotations"]
    plain = [{key: value for key, value in item.items() if key != "proposer_score"} for item in labels]
    others = [(out / name).read_bytes() for name in ("model.safetensors", "predictions.json")]
    return others, plain, json.loads((out / "evaluation.json").read_text())


RUN_MOMENTS = {
    "while proposing": lambda: setattr(StoreWriter, "append_record", dies_at(2, StoreWriter.append_record)),
    "before the store is finished": lambda: setattr(StoreWriter, "finish", die),
    "between proposing and training": lambda: setattr(whole, "run_session", die),
    "while training": lambda: setattr(step.StepRunner, "run", dies_at(2, step.StepRunner.run)),
    "before the labels": lambda: setattr(whole, "write_labels", die),
    "before the figures": lambda: setattr(whole, "evaluate_labels", die),
    "before the report": lambda: setattr(whole, "report", die),
}


@pytest.fixture(scope="module")
def whole_products(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("job") / "run"
    whole_job(data, out)
    return products(out)


@pytest.mark.parametrize("moment", RUN_MOMENTS)
def test_the_whole_job_resumes_from_every_stage(data, whole_products, tmp_path, moment):
    out = tmp_path / "run"

    def killed():
        RUN_MOMENTS[moment]()
        whole_job(data, out)

    assert in_child(killed) == -signal.SIGKILL
    whole_job(data, out, resume=True)
    assert products(out) == whole_products


LONG = tiny_config(training={"epochs": 12, "checkpoint_steps": 1}, data={"batch_size": 4})


@pytest.fixture(scope="module")
def long_run(data, tmp_path_factory):
    run = tmp_path_factory.mktemp("long") / "run"
    pipeline.train(**train_arguments(data, run), config=LONG, quiet=True)
    return (run / "model.safetensors").read_bytes()


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_a_signal_from_outside_loses_nothing(data, long_run, tmp_path, sent, repo_root):
    (tmp_path / "config.yaml").write_text(dump_config(LONG))
    run = tmp_path / "run"
    words = ["train", "-c", str(tmp_path / "config.yaml"), *map(str, train_options(data, run))]
    environment = {**os.environ, "PYTHONPATH": str(repo_root / "src"), "OMP_NUM_THREADS": "1"}
    # A session of its own, so that the signal reaches the loader's processes as Ctrl-C does.
    process = subprocess.Popen(
        [sys.executable, "-m", "sapnet", *words, "data.num_workers=1"],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    until = time.monotonic() + 60
    while time.monotonic() < until and not list(run.glob("checkpoints/*.pt")):
        time.sleep(0.01)
    os.killpg(process.pid, sent)
    _, message = process.communicate(timeout=60)
    assert process.returncode == (130 if sent == signal.SIGINT else -sent), message
    assert "Traceback" not in message
    assert not (run / "model.safetensors").exists()
    pipeline.train(**train_arguments(data, run), config=LONG, quiet=True, resume=True)
    assert (run / "model.safetensors").read_bytes() == long_run
