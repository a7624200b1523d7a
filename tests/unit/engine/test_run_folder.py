"""The metrics of a run, and its environment."""

import json
import math

import pytest

from sapnet.engine.run_folder import MetricsLog, check_run_folder, describe_environment, prepare_run_folder
from sapnet.errors import CheckpointError
from sapnet.yaml_tree import read_yaml
from training_builders import tiny_config


def lines_of(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_lines_after_the_checkpoint_and_a_torn_one_are_dropped(tmp_path):
    log = MetricsLog(tmp_path, first_step=0)
    for step in (1, 2, 3):
        log.write("step", step, {"loss/total": step / 2})
    log.close()
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "st')
    log = MetricsLog(tmp_path, first_step=2)
    log.write("step", 3, {"loss/total": 9.0})
    log.close()
    assert [line["loss/total"] for line in lines_of(tmp_path)] == [0.5, 1.0, 9.0]


def test_earlier_evaluations_are_known_again(tmp_path):
    log = MetricsLog(tmp_path, first_step=0)
    log.write("evaluation", 4, {"epoch": 2, "AP": 0.25})
    log.close()
    assert MetricsLog(tmp_path, first_step=4).evaluations == {4: {"AP": 0.25}}
    assert MetricsLog(tmp_path, first_step=3).evaluations == {}


def test_numbers_that_are_not_finite_become_null(tmp_path):
    log = MetricsLog(tmp_path, first_step=0)
    log.write("evaluation", 1, {"epoch": 1, "AP": math.nan})
    log.close()
    assert lines_of(tmp_path)[0]["AP"] is None


def test_side_processes_write_nothing(tmp_path):
    log = MetricsLog(tmp_path, first_step=0, active=False)
    log.write("step", 1, {"loss/total": 1.0})
    log.close()
    assert list(tmp_path.iterdir()) == []


def test_a_log_that_is_only_looked_at_touches_no_file(tmp_path):
    MetricsLog(tmp_path, first_step=0).close()
    assert list(tmp_path.iterdir()) == []


def test_the_environment_tells_how_to_repeat_a_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    inputs = {"points": tmp_path / "p.json", "val_images": None}
    found = describe_environment(tiny_config(seed=5), inputs=inputs, digests={"points": "abc"})
    assert found["seed"] == 5
    assert found["inputs"] == {"points": str(tmp_path / "p.json"), "val_images": None}
    assert found["packages"]["torch"]
    assert json.loads(json.dumps(found)) == found


def test_a_resumed_run_keeps_its_first_record_and_adds_what_changed(tmp_path):
    def call(folder, commit, images="/a", **digests):
        found = describe_environment(tiny_config(), inputs={}, digests={"points": "abc", **digests})
        found |= {"commit": commit, "inputs": {"images": images}}
        prepare_run_folder(folder, tiny_config(), found, resume=(folder / "config.yaml").exists())
        return json.loads((folder / "environment.json").read_text())

    run = tmp_path / "run"
    run.mkdir()
    first = call(run, "one")
    assert call(run, "one") == first
    call(run, "two")
    call(run, "two", images="/b", instances="def")
    last = call(run, "one", images="/b", instances="def")
    assert last["commit"] == "one"
    assert [record["commit"] for record in last["resumed"]] == ["two", "one"]
    assert last["resumed"][0]["packages"] == first["packages"]
    assert (last["inputs"], last["digests"]) == ({"images": "/b"}, {"points": "abc", "instances": "def"})
    untouched = ("seed", "processes", "packages", "python")
    assert {key: last[key] for key in untouched} == {key: first[key] for key in untouched}


def test_a_run_of_a_version_without_a_setting_is_not_gone_on_with(tmp_path):
    found = describe_environment(tiny_config(), inputs={}, digests={})
    prepare_run_folder(tmp_path, tiny_config(), found, resume=False)
    check_run_folder(tmp_path, tiny_config(), found, resume=True)
    path = tmp_path / "config.yaml"
    values = read_yaml(path.read_text(), str(path)).values
    del values["model"]["supervision"], values["training"]["log_steps"]
    path.write_text(json.dumps(values))
    with pytest.raises(CheckpointError) as error:
        check_run_folder(tmp_path, tiny_config(), found, resume=True)
    assert list(error.value.problems) == [
        f"model.supervision.{name}: the version that started it had no such setting"
        for name in ("exclusion", "overlap_temperature", "vote", "vote_share_large")
    ]
