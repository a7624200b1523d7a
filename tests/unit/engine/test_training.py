"""Training in one process: what the weights depend on, and what they do not."""

import hashlib
import json

import pytest
import torch

from sapnet import pipeline
from sapnet.engine.step import StepRunner
from sapnet.losses.total import LossCounts
from training_builders import tiny_config, train_arguments, write_tiny_data


def digest(run):
    return hashlib.sha256((run / "model.safetensors").read_bytes()).hexdigest()


def trained(data, out, config=None, **options):
    pipeline.train(**train_arguments(data, out), config=config or tiny_config(), quiet=True, **options)
    return digest(out)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_tiny_data(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def plain(data, tmp_path_factory):
    """A run with the tiny settings, and the digest of its weights."""
    run = tmp_path_factory.mktemp("plain") / "run"
    return run, trained(data, run)


def test_the_same_seed_gives_the_same_bytes(data, plain, tmp_path):
    assert trained(data, tmp_path / "again") == plain[1]


def test_another_seed_gives_other_weights(data, plain, tmp_path):
    assert trained(data, tmp_path / "other", tiny_config(seed=1)) != plain[1]


def test_loader_processes_change_nothing(data, plain, tmp_path):
    config = tiny_config(data={"num_workers": 2})
    assert trained(data, tmp_path / "run", config) == plain[1]


def test_absurd_ground_truth_beside_the_points_changes_nothing(plain, tmp_path):
    data = write_tiny_data(tmp_path / "tiny")
    content = json.loads(data.instances.read_text())
    for item in content["annotations"]:
        item |= {"bbox": [-1e9, 0, 1, 1], "segmentation": [[1, 2]], "category_id": 99}
    for place in (data.folder, data.images, data.store):
        for name in ("instances.json", "instances_train.json", "annotations.json"):
            (place / name).write_text(json.dumps(content))
    assert trained(data, tmp_path / "run") == plain[1]


def test_measuring_on_ground_truth_changes_no_weight(data, plain, tmp_path):
    config = tiny_config(training={"evaluate_epochs": 1})
    assert trained(data, tmp_path / "run", config, val_instances=data.instances) == plain[1]
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines if line["kind"] == "evaluation"] == [2]


def test_the_figures_at_the_end_are_computed_once(data, tmp_path, monkeypatch):
    from sapnet.engine import validation

    calls = []
    real = validation.evaluate_coco
    monkeypatch.setattr(validation, "evaluate_coco", lambda *given: calls.append(1) or real(*given))
    found = pipeline.train(
        **train_arguments(data, tmp_path / "run"),
        config=tiny_config(),
        val_instances=data.instances,
        quiet=True,
    )
    assert len(calls) == 1
    assert found["validation"]["AP"] is not None
    again = pipeline.train(
        **train_arguments(data, tmp_path / "run"),
        config=tiny_config(),
        val_instances=data.instances,
        quiet=True,
        resume=True,
    )
    assert len(calls) == 1
    assert again["validation"] == found["validation"]


def test_resuming_a_finished_run_changes_no_file_of_its_own(data, plain):
    run, weights = plain
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert trained(data, run, resume=True) == weights
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_the_run_folder_is_complete(plain):
    run, _ = plain
    names = {path.name for path in run.iterdir()}
    wanted = {"config.yaml", "model.safetensors", "model.json", "checkpoints", "metrics.jsonl", "tensorboard"}
    assert wanted | {"environment.json"} == names
    environment = json.loads((run / "environment.json").read_text())
    assert set(environment["digests"]) == {"points", "proposals"}
    assert set(environment["inputs"]) == {
        "points", "images", "proposals", "instances", "val_instances", "val_images"
    }  # fmt: skip
    assert environment["processes"] == 1
    steps = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in steps] == [1, 2, 3, 4]
    assert {"loss/total", "loss/selection", "loss/mask", "learning_rate"} <= set(steps[0])
    assert steps[0]["loss/mask"] == 0  # the first epoch trains the selection alone
    assert steps[-1]["loss/mask"] > 0


@pytest.mark.parametrize("mode", ["end-to-end", "two-stage", "selection-only", "top-score"])
def test_every_mode_trains_and_labels(data, tmp_path, mode):
    run = tmp_path / "run"
    trained(data, run, tiny_config(training={"mode": mode, "epochs": 2}))
    assert (run / "selection" / "model.safetensors").exists() == (mode == "two-stage")
    found = pipeline.label(run, data.points, data.images, data.store, tmp_path / "labels.json", quiet=True)
    assert found["labels"] == 8
    labels = json.loads((tmp_path / "labels.json").read_text())
    assert all(0 <= item["score"] <= 1 for item in labels["annotations"])
    if mode == "top-score":
        assert {item["proposal"] for item in labels["annotations"]} == {0}


def test_two_stage_labels_are_those_of_its_selection(data, tmp_path):
    run = tmp_path / "run"
    trained(data, run, tiny_config(training={"mode": "two-stage"}))
    files = []
    for source in (run, run / "selection"):
        out = tmp_path / f"{source.name}.json"
        pipeline.label(source, data.points, data.images, data.store, out, quiet=True)
        files.append(out.read_bytes())
    assert files[0] == files[1]


def test_weights_change_every_second_step_by_the_mean_of_both_gradients(data, tmp_path, monkeypatch):
    waiting, changed = [], []
    run, update = StepRunner.run, StepRunner._update

    def learning(runner):
        return [value for value in runner.model.parameters() if value.requires_grad]

    def recorded_run(runner, batch, step, phase, **options):
        sums = runner.model(batch, phase, **options)
        total = runner.total_loss(sums, LossCounts.of(sums)).total
        grads = torch.autograd.grad(total, learning(runner), allow_unused=True)
        waiting.append([0.0 if grad is None else grad for grad in grads])
        before = [value.detach().clone() for value in learning(runner)]
        means = run(runner, batch, step, phase, **options)
        changed.append(not all(map(torch.equal, before, learning(runner))))
        return means

    def recorded_update(runner, *given):
        for parameter, first, second in zip(learning(runner), *waiting, strict=True):
            found = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            expected = torch.zeros_like(parameter) + (first + second) / 2
            torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)
        waiting.clear()
        update(runner, *given)

    monkeypatch.setattr(StepRunner, "run", recorded_run)
    monkeypatch.setattr(StepRunner, "_update", recorded_update)
    config = tiny_config(data={"batch_size": 1}, optim={"accumulation_steps": 2})
    trained(data, tmp_path / "run", config)
    assert changed == [False, True] * 4


def test_half_precision_trains_with_finite_losses(data, tmp_path):
    config = tiny_config(training={"precision": "bf16"})
    trained(data, tmp_path / "run", config)
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert len(lines) == 4
    assert all(line["loss/total"] is not None for line in lines)


@pytest.mark.parametrize(
    "content",
    [
        {"categories": ((5, "only"),)},
        {"empty": (1, 2, 5)},
        {"empty": tuple(range(1, 9))},
        {"num_images": 1, "clicks_per_image": 300},
        {"num_images": 3, "clicks_per_image": 1},
    ],
    ids=["one class", "some bags empty", "all bags empty", "300 clicks in an image", "short last batch"],
)
def test_odd_data_trains_to_finite_weights(tmp_path, content):
    from safetensors.torch import load_file

    data = write_tiny_data(tmp_path / "tiny", **content)
    run = tmp_path / "run"
    trained(data, run)
    assert all(value.isfinite().all() for value in load_file(run / "model.safetensors").values())
    found = pipeline.label(run, data.points, data.images, data.store, tmp_path / "labels.json", quiet=True)
    assert found["unlabelled"] == len(content.get("empty", ()))


def test_images_without_clicks_are_legal(tmp_path):
    from training_builders import write_store

    data = write_tiny_data(tmp_path / "tiny")
    content = json.loads(data.points.read_text())
    content["annotations"] = [item for item in content["annotations"] if item["image_id"] == 2]
    data.points.write_text(json.dumps(content))
    from data_builders import box_mask

    bags = {image_id: {} for image_id in (1, 2, 3, 4)}
    bags[2] = {item["id"]: [(box_mask((64, 64), 4, 4, 40, 40), 0.5)] for item in content["annotations"]}
    data.store = write_store(tmp_path / "other", data.points, bags)
    trained(data, tmp_path / "run")
