"""The benchmark: what its rows learn from, and that kept figures are only used for what they were measured on."""

import json
import shutil

import pytest

from sapnet.bench import EXPERIMENTS, experiments, run_bench
from sapnet.bench.data import BenchData
from sapnet.errors import CheckpointError
from training_builders import tiny_config, write_tiny_data

NAME = "segmenters-simulated"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    tiny = write_tiny_data(folder)
    shutil.copy(tiny.points, folder / "points_train.json")
    for name in ("instances_train.json", "instances_val.json"):
        shutil.copy(tiny.instances, folder / name)
    return folder


@pytest.fixture(scope="module")
def done(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("bench")
    return out, run_bench(NAME, data, out, tiny_config(), seeds=1, quiet=True)


def row_of(content, label):
    return next(row["metrics"] for row in content["rows"] if row["label"] == label)


def test_the_settings_are_recorded_with_their_values(done):
    settings = done[1]["settings"]
    assert settings["data.max_proposals"] == 4
    assert settings["model.backbone.name"] == "test_efficientnet"
    assert json.loads((done[0] / NAME / "bench.json").read_text())["settings"] == settings


def test_a_segmenter_learns_from_sapnet_s_labels_on_the_baselines_schedule(done):
    out, content = done
    assert [row["label"] for row in content["rows"]] == [row.label for row in EXPERIMENTS[NAME]]
    labels, whole = row_of(content, "SAPNet labels (simulated)"), row_of(content, "SAPNet (simulated)")
    assert labels["mask mIoU"] == whole["mask mIoU"]
    assert len(labels["AP"]["values"]) == 1
    folders = [out / "rows" / f"{name}-simulated-seed-0" for name in ("sapnet-labels", "top-score")]
    settings = [(folder / "config.yaml").read_text() for folder in folders]
    assert settings[0] == settings[1]
    digests = [json.loads((folder / "environment.json").read_text())["digests"] for folder in folders]
    assert set(digests[0]) - set(digests[1]) == {"picks"}


def test_kept_figures_are_used_again_without_training(data, done, monkeypatch):
    def refuse(*_arguments, **_options):
        raise AssertionError("trained again")

    monkeypatch.setattr(experiments, "run_session", refuse)
    other_loader = tiny_config(data={"num_workers": 2})
    again = run_bench(NAME, data, done[0], other_loader, seeds=1, quiet=True)
    assert again["rows"] == done[1]["rows"]


def test_kept_figures_of_other_settings_are_refused(data, done):
    with pytest.raises(CheckpointError) as refusal:
        run_bench(NAME, data, done[0], tiny_config(optim={"learning_rate": 0.1}), seeds=1, quiet=True)
    assert "settings.optim.learning_rate: it was measured with 0.001, now it is 0.1" in str(refusal.value)


def test_kept_figures_of_other_data_are_refused(data, done, tmp_path):
    shutil.copytree(data, tmp_path / "data")
    shutil.copytree(done[0], tmp_path / "out")
    path = tmp_path / "data" / "instances_val.json"
    content = json.loads(path.read_text())
    content["annotations"].pop()
    path.write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match=r"digests\.validation"):
        run_bench(NAME, tmp_path / "data", tmp_path / "out", tiny_config(), seeds=1, quiet=True)


def test_figures_that_do_not_say_what_they_were_measured_with_are_refused(data, done, tmp_path):
    shutil.copytree(done[0], tmp_path / "out")
    path = tmp_path / "out" / "rows" / "top-score-simulated-seed-0" / "result.json"
    content = json.loads(path.read_text())
    del content["measured_with"]
    path.write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match="does not say what it was measured with"):
        run_bench(NAME, data, tmp_path / "out", tiny_config(), seeds=1, quiet=True)


def test_the_same_data_have_the_same_digest_and_other_masks_another(data, tmp_path):
    from sapnet.bench.kept import instances_digest

    loaded = BenchData.load(data)
    assert instances_digest(loaded.instances) == instances_digest(loaded.validation)
    shutil.copytree(data, tmp_path / "data")
    path = tmp_path / "data" / "instances_train.json"
    content = json.loads(path.read_text())
    first, second = content["annotations"][:2]
    first["segmentation"] = second["segmentation"]
    path.write_text(json.dumps(content))
    assert instances_digest(BenchData.load(tmp_path / "data").instances) != instances_digest(loaded.instances)


@pytest.mark.parametrize("damage", [None, "[[1, 2]]", "{"])
def test_a_row_whose_picks_are_lost_says_so(data, done, tmp_path, damage):
    shutil.copytree(done[0], tmp_path / "out")
    rows = tmp_path / "out" / "rows"
    shutil.rmtree(rows / "sapnet-labels-simulated-seed-0")
    path = rows / "sapnet-simulated-seed-0" / "picks.json"
    path.unlink() if damage is None else path.write_text(damage)
    with pytest.raises(CheckpointError, match=r"picks\.json\n  no picks of a measured row"):
        run_bench(NAME, data, tmp_path / "out", tiny_config(), seeds=1, quiet=True)
