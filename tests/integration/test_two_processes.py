"""Two processes train as one with twice the batch, through unchanged commands."""

import json
import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from sapnet import pipeline
from sapnet.config_loader import dump_config
from training_builders import tiny_config, train_arguments, train_options, write_tiny_data

# Plain gradient descent: AdamW divides by the size of the gradient and so blows up rounding.
OPTIM = {"name": "sgd", "learning_rate": 0.01, "backbone_rate_multiplier": 1.0}
# An image's size is drawn anew in every epoch, so the two processes hold images of unlike sizes.
DATA = {"train_short_sides": [64, 96, 128], "max_long_side": 128}
SCRIPT = """
import json, sys
from sapnet.cli.main import main
for words in json.loads(sys.argv[1]):
    code = main(words)
    assert code == 0, code
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    # Some bags are empty, so that the processes' counts differ.
    return write_tiny_data(tmp_path_factory.mktemp("tiny"), clicks_per_image=3, empty=(1, 2, 8))


@pytest.fixture(scope="module")
def both(data, tmp_path_factory, repo_root):
    """Runs of two processes: a plain one, one that meets an unreadable image, and a whole job."""
    folder = tmp_path_factory.mktemp("two")
    config = tiny_config(seed=1, data={**DATA, "batch_size": 1}, optim=OPTIM)
    (folder / "config.yaml").write_text(dump_config(config))
    (folder / "frozen.yaml").write_text(dump_config(with_frozen_backbone(config)))
    (folder / "script.py").write_text(SCRIPT)
    bad = write_tiny_data(folder / "bad", clicks_per_image=3, empty=(1, 2, 8))
    (bad.images / "2.png").write_bytes(b"no image")
    common = ["-c", folder / "config.yaml", "--quiet"]
    commands = [
        ["train", *train_options(data, folder / "plain"), "--val-instances", data.instances, *common],
        ["train", *train_options(bad, folder / "skipping"), "--skip-bad", *common],
        ["train", *train_options(data, folder / "frozen"), "-c", folder / "frozen.yaml", "--quiet"],
        ["run", "--points", data.points, "--images", data.images, "--out", folder / "job", *common],
    ]
    done = subprocess.run(
        [
            *[sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"],
            *[folder / "script.py", json.dumps(commands, default=str)],
        ],
        env={
            **os.environ,
            "PYTHONPATH": str(repo_root / "src"),
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder, bad


def with_frozen_backbone(config):
    backbone = config.model.backbone.model_copy(update={"frozen_stages": 4})
    return config.model_copy(update={"model": config.model.model_copy(update={"backbone": backbone})})


def weights_of_one_process(data, out, *, frozen=False, **options):
    config = tiny_config(seed=1, data={**DATA, "batch_size": 2}, optim=OPTIM)
    config = with_frozen_backbone(config) if frozen else config
    pipeline.train(**train_arguments(data, out), config=config, quiet=True, **options)
    return load_file(out / "model.safetensors")


def largest_difference(first, second):
    assert first.keys() == second.keys()
    return max(float((first[name] - second[name]).abs().max()) for name in first)


def test_two_processes_end_with_the_weights_of_one_with_twice_the_batch(data, both, tmp_path):
    folder, _ = both
    alone = weights_of_one_process(data, tmp_path / "run")
    assert largest_difference(load_file(folder / "plain" / "model.safetensors"), alone) < 1e-5
    assert json.loads((folder / "plain" / "environment.json").read_text())["processes"] == 2


def test_so_do_they_where_the_features_of_every_image_are_computed_alone(data, both, tmp_path):
    alone = weights_of_one_process(data, tmp_path / "run", frozen=True)
    assert largest_difference(load_file(both[0] / "frozen" / "model.safetensors"), alone) < 1e-5


def test_the_losses_of_two_processes_are_those_of_one(data, both, tmp_path):
    folder, _ = both
    weights_of_one_process(data, tmp_path / "run", val_instances=data.instances)
    lines = [
        [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        for run in (folder / "plain", tmp_path / "run")
    ]
    assert [line["kind"] for line in lines[0]] == ["step"] * 4 + ["evaluation"]
    for two, one in zip(*lines, strict=True):
        figures = {key: value for key, value in one.items() if key.startswith("loss/")}
        assert {key: two[key] for key in figures} == pytest.approx(figures, abs=1e-4)


def test_a_process_without_a_readable_image_keeps_step_with_the_other(both, tmp_path):
    folder, bad = both
    alone = weights_of_one_process(bad, tmp_path / "run", skip_bad=True)
    newest = max((folder / "skipping" / "checkpoints").glob("*.pt"))
    (problem,) = torch.load(newest, weights_only=True)["bad_images"]
    assert "2.png" in problem
    assert largest_difference(load_file(folder / "skipping" / "model.safetensors"), alone) < 1e-5


def test_the_whole_job_is_done_once_by_two_processes(data, both):
    folder, _ = both
    labels = json.loads((folder / "job" / "labels.json").read_text())
    assert len(labels["annotations"]) + len(labels["unlabelled"]) == 12
    assert (folder / "job" / "report.html").exists()


def test_two_processes_propose_the_store_of_one(data, both, tmp_path):
    folder, _ = both
    pipeline.propose(data.points, data.images, tmp_path / "store", tiny_config(), quiet=True)
    for name in ("manifest.json", "proposals.bin", "index.npy"):
        together, alone = (path / name for path in (folder / "job" / "proposals", tmp_path / "store"))
        assert together.read_bytes() == alone.read_bytes()
    assert not list((folder / "job" / "proposals").glob(".share-*"))


def test_a_run_of_two_processes_is_not_continued_by_one(data, both):
    from sapnet.errors import CheckpointError

    folder, _ = both
    config = tiny_config(seed=1, data={**DATA, "batch_size": 1}, optim=OPTIM)
    with pytest.raises(CheckpointError, match="2 processes, not 1"):
        pipeline.train(**train_arguments(data, folder / "plain"), config=config, quiet=True, resume=True)
