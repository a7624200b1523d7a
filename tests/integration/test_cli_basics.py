"""The command line from outside: help, usage errors, exit codes, streams, and what verbs call."""

import inspect
import json
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

import sapnet
from sapnet.cli.main import main
from sapnet.config import Config
from sapnet.errors import DataError, JobError
from sapnet.exporters.export import ExportOptions

VERBS = [
    "points sample", "points import", "points check", "propose", "train", "label", "predict", "evaluate",
    "convert", "run", "bench", "report", "config show", "config check", "doctor", "demo",
]  # fmt: skip

SIGNATURES = {
    "sample_points_file": "instances mode out seed",
    "check_points_file": "points images",
    "propose": "points images out config proposer skip_bad instances import_json export_json quiet",
    "train": "points images proposals out config resume val_instances val_images quiet skip_bad",
    "label": "run points images proposals out device quiet skip_bad to options",
    "predict": "model images out draw device quiet skip_bad",
    "evaluate": "predictions labels instances protocol proposals",
    "run": "points images out config instances val_instances val_images resume quiet skip_bad",
    "bench": "name data out source seeds segmenter_seeds segmenter_epochs every rows only_kept config quiet",
    "report": "run out points images instances",
    "demo": "out quiet config",
}


class RecordingPipeline(SimpleNamespace):
    """Stands in for ``sapnet.pipeline``: notes the keyword arguments and returns figures."""

    def __init__(self):
        super().__init__(calls=[], figures={"mIoU": 0.5})
        for name in SIGNATURES:
            setattr(self, name, self._recorder(name))

    def _recorder(self, name):
        def record(**keywords):
            self.calls.append((name, keywords))
            if isinstance(self.figures, BaseException):
                raise self.figures
            return self.figures

        return record


@pytest.fixture
def pipeline(monkeypatch):
    stand_in = RecordingPipeline()
    monkeypatch.setitem(sys.modules, "sapnet.pipeline", stand_in)
    monkeypatch.setattr(sapnet, "pipeline", stand_in, raising=False)
    return stand_in


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A working folder with empty input files of the usual names."""
    monkeypatch.chdir(tmp_path)
    for name in (
        "points.json",
        "gt.json",
        "val.json",
        "preds.json",
        "labels.json",
        "a.jpg",
        "model.safetensors",
    ):
        Path(name).touch()
    for name in ("images", "store", "runs"):
        Path(name).mkdir()


CALLS = {
    "points sample --instances gt.json --mode center --out p.json --seed 4": (
        "sample_points_file", {"instances": "gt.json", "mode": "center", "out": "p.json", "seed": 4}),
    "points sample --instances gt.json --out p.json": (
        "sample_points_file", {"instances": "gt.json", "mode": "quasi-center", "out": "p.json", "seed": 0}),
    "points check points.json --images images": ("check_points_file", {"points": "points.json", "images": "images"}),
    "propose --points points.json --images images --proposer regions --out s --skip-bad": (
        "propose", {"points": "points.json", "images": "images", "out": "s", "proposer": "regions",
                    "skip_bad": True, "instances": None, "import_json": None, "export_json": None, "quiet": False}),
    "train --points points.json --images images --proposals store --out r --resume --val-instances val.json --quiet": (
        "train", {"points": "points.json", "images": "images", "proposals": "store", "out": "r", "resume": True,
                  "val_instances": "val.json", "val_images": "images", "quiet": True, "skip_bad": False}),
    "label --run runs --points points.json --images images --proposals store --out l.json": (
        "label", {"run": "runs", "points": "points.json", "images": "images", "proposals": "store",
                  "out": "l.json", "device": "auto", "quiet": False, "skip_bad": False, "to": "coco",
                  "options": ExportOptions()}),
    "predict --model model.safetensors a.jpg images --out p.json --draw d --device cpu": (
        "predict", {"model": "model.safetensors", "images": ["a.jpg", "images"], "out": "p.json", "draw": "d",
                    "device": "cpu", "quiet": False, "skip_bad": False}),
    "evaluate --predictions preds.json --instances gt.json --protocol voc": (
        "evaluate", {"predictions": "preds.json", "labels": None, "instances": "gt.json", "protocol": "voc",
                     "proposals": None}),
    "evaluate --labels labels.json --instances gt.json --proposals store": (
        "evaluate", {"predictions": None, "labels": "labels.json", "instances": "gt.json", "protocol": "coco",
                     "proposals": "store"}),
    "run --points points.json --images images --out r --instances gt.json --val-instances val.json --val-images store": (
        "run", {"points": "points.json", "images": "images", "out": "r", "instances": "gt.json",
                "val_instances": "val.json", "val_images": "store", "resume": False, "quiet": False, "skip_bad": False}),
    "bench street4 --data images --out b --seeds 3": (
        "bench", {"name": "street4", "data": "images", "out": "b", "source": "simulated", "seeds": 3,
                  "segmenter_seeds": None, "segmenter_epochs": None, "every": 1, "rows": [],
                  "only_kept": False, "quiet": False}),
    "report runs --out r.html": ("report", {"run": "runs", "points": None, "images": None, "instances": None, "out": "r.html"}),
    "demo --out d": ("demo", {"out": "d", "quiet": False}),
}  # fmt: skip


def as_text(value):
    if isinstance(value, list):
        return [as_text(item) for item in value]
    return str(value) if isinstance(value, Path) else value


@pytest.mark.parametrize("command", CALLS)
def test_each_verb_calls_its_pipeline_function_with_all_its_keywords(pipeline, files, command):
    assert main(command.split()) == 0
    name, expected = CALLS[command]
    ((called, keywords),) = pipeline.calls
    assert called == name
    assert set(keywords) == set(SIGNATURES[name].split())
    assert {key: as_text(value) for key, value in keywords.items() if key != "config"} == expected
    assert isinstance(keywords.get("config", Config()), Config)


def test_the_pipeline_has_the_functions_that_the_verbs_call():
    from sapnet import pipeline as real

    for name, keywords in SIGNATURES.items():
        inspect.signature(getattr(real, name)).bind(**dict.fromkeys(keywords.split()))


def test_overrides_may_stand_anywhere_and_shorthands_win(pipeline, files):
    command = (
        "propose seed=1 --points points.json data.batch_size=3 --images images --seed 5 --device cpu "
        "--out s optim.decay=1e-1"
    )
    assert main(command.split()) == 0
    config = pipeline.calls[0][1]["config"]
    assert (config.seed, config.device, config.data.batch_size, config.optim.decay) == (5, "cpu", 3, 0.1)


def test_figures_are_json_on_stdout_and_everything_else_is_on_stderr(pipeline, files, capsys):
    pipeline.figures = {"AP": 0.25, "classes": {"car": float("nan")}, "out": Path("x")}
    assert main(["report", "runs", "--out", "x", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == {"AP": 0.25, "classes": {"car": None}, "out": "x"}
    assert err == ""
    assert main(["report", "runs", "--out", "x"]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "AP: 0.25\nout: x\n"


def test_side_processes_of_a_distributed_run_print_no_figures(pipeline, files, capsys, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    assert main(["report", "runs", "--out", "x", "--json"]) == 0
    assert capsys.readouterr() == ("", "")


def test_numpy_figures_are_numbers(pipeline, files, capsys, rng):
    values = rng.random(2)
    pipeline.figures = {"mean": values.mean(), "count": values.astype(int)[0], "all": values, "n": (1, 2)}
    assert main(["report", "runs", "--out", "x", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found == {"mean": values.mean(), "count": 0, "all": values.tolist(), "n": [1, 2]}


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (
            DataError("points.json", ["annotation 3: no point"]),
            2,
            "error: 1 problem in points.json\n  annotation 3",
        ),
        (JobError("the disk is full"), 1, "error: the disk is full\n"),
        (ZeroDivisionError("by\nzero"), 1, "error: ZeroDivisionError: by zero (unexpected; --debug shows"),
        (KeyboardInterrupt(), 130, "error: interrupted; the state is kept"),
    ],
)
def test_errors_become_messages_and_exit_codes_without_traceback(
    pipeline, files, capsys, error, code, message
):
    pipeline.figures = error
    assert main(["report", "runs", "--out", "x"]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(message)
    assert "Traceback" not in err


@pytest.mark.parametrize("error", [JobError("full"), ZeroDivisionError("x")])
def test_debug_adds_the_traceback(pipeline, files, capsys, error):
    pipeline.figures = error
    assert main(["report", "runs", "--out", "x", "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_problems_found_by_points_check_give_exit_code_2(pipeline, files, capsys):
    pipeline.figures = {"problems": ["annotation 1: outside", "annotation 2: no image"], "points": 3}
    assert main(["points", "check", "points.json", "--images", "images", "--quiet"]) == 2
    assert capsys.readouterr().err.splitlines()[:2] == [
        "problems: annotation 1: outside",
        "problems: annotation 2: no image",
    ]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("trian", "unknown verb 'trian' (did you mean 'train'?); there are: points,"),
        ("points sampel", "unknown verb 'sampel' (did you mean 'sample'?); there are: sample, import, check"),
        ("points import x --images i --out o --from x", "argument --from: expected auto, "),
        ("annotate", "unknown verb 'annotate'"),
        ("--quiet train", "unknown option: --quiet (the options of a verb come after it)"),
        ("report r --out x --jsno --quite", "unknown option: --jsno (did you mean '--json'?), --quite (did you mean '--quiet'?)"),
        ("report r --o x", "unknown option: --o"),
        ("report r --out x extra", "unexpected argument: 'extra'"),
        ("config show extra", "unexpected argument: 'extra' (settings have the form section.key=value)"),
        ("predict", "the following arguments are required: --model, IMAGES, --out"),
        ("points sample --instances g --out x --mode centre", "argument --mode: expected center, quasi-center or random, got 'centre' (did you mean 'center'?)"),
        ("propose --proposer sam1", "argument --proposer: expected regions, builtin, sam, sam-hq, sam2, sam3 or edgetam, got 'sam1' (did you mean 'sam'?)"),
        ("demo --seed -1", "argument --seed: expected"),
        ("demo --seed x", "argument --seed: expected a whole number >= 0, got 'x'"),
        ("demo --device gpu", "argument --device: expected auto, cpu, cuda or mps, got 'gpu' (did you mean 'cpu'?)"),
        ("bench x --data . --out x --source sam", "argument --source: expected simulated, builtin or regions, got 'sam'"),
        ("bench x --data . --out x --seeds 0", "argument --seeds: expected a whole number >= 1, got '0'"),
        ("evaluate --protocol yolo", "argument --protocol: expected coco or voc, got 'yolo'"),
        ("", "the following arguments are required: VERB"),
    ],
)  # fmt: skip
def test_wrong_usage_is_explained_with_exit_code_2(pipeline, files, capsys, command, message):
    assert main(command.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert f"error: {message}" in err
    assert pipeline.calls == []


def test_missing_files_and_bad_settings_are_listed_together_before_anything_runs(pipeline, files, capsys):
    command = "train --points point.json --images pictures --proposals store --val-images images --out r optim.decay=9"
    assert main(command.split()) == 2
    assert capsys.readouterr().err.splitlines() == [
        "error: 4 problems in the overrides and the command line",
        "  command line: optim.decay: expected less than or equal to 1, got 9",
        "  --points: no such file or folder: point.json (did you mean 'points.json'?)",
        "  --images: no such file or folder: pictures",
        "  --val-images needs --val-instances",
    ]
    assert pipeline.calls == []
    assert not Path("r").exists()


@pytest.mark.parametrize(
    "extra",
    ["", "--predictions preds.json --labels labels.json", "--predictions preds.json --proposals store"],
)
def test_evaluate_needs_exactly_one_thing_to_evaluate(pipeline, files, capsys, extra):
    assert main(f"evaluate --instances gt.json {extra}".split()) == 2
    assert pipeline.calls == []


def test_config_show_prints_yaml_that_config_check_accepts(tmp_path, capsys):
    assert main(["config", "show", "optim.decay=0.5", "--seed", "3"]) == 0
    file = tmp_path / "shown.yaml"
    file.write_text(capsys.readouterr().out)
    assert main(["config", "check", "-c", str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"valid": True, "changed": ["optim.decay", "seed"]}


def test_config_check_lists_all_problems_with_exit_code_2(tmp_path, capsys):
    file = tmp_path / "bad.yaml"
    file.write_text("seed: true\nmodle: {}\n")
    assert main(["config", "check", "-c", str(file), "x=1"]) == 2
    assert capsys.readouterr().err.startswith(f"error: 3 problems in {file}\n")


def test_doctor_fails_where_something_is_missing(monkeypatch, capsys):
    monkeypatch.setattr("sapnet.doctor.inspect_installation", lambda: {"problems": ["not installed: timm"]})
    assert main(["doctor"]) == 1
    assert capsys.readouterr().err == "problems: not installed: timm\n"


def test_version_is_printed(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"sapnet {sapnet.__version__}\n"


def test_help_of_every_verb_loads_neither_torch_nor_pydantic(run_python):
    code = (
        "import sys; from sapnet.cli.main import main\n"
        f"for verb in {VERBS!r}: assert main([*verb.split(), '--help']) == 0\n"
        "heavy = {'torch', 'pydantic', 'numpy', 'rich', 'ruamel'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = run_python("-c", code)
    assert done.returncode == 0, done.stderr
    for verb in VERBS:
        assert f"usage: sapnet {verb} " in done.stdout


@pytest.mark.parametrize(
    "command", [["config", "check"], ["train", "--points", "nowhere.json"], ["config", "show", "x=1"]]
)
def test_settings_and_usage_errors_do_not_load_torch(run_python, command):
    code = (
        f"import sys; from sapnet.cli.main import main; main({command!r}); assert 'torch' not in sys.modules"
    )
    done = run_python("-c", code)
    assert done.returncode == 0, done.stderr


def test_help_answers_within_half_a_second(run_sapnet):
    def seconds() -> float:
        start = time.perf_counter()
        assert run_sapnet("run", "--help").returncode == 0
        return time.perf_counter() - start

    assert min(seconds() for _ in range(3)) < 0.5


def test_a_reader_that_leaves_is_no_error(run_python):
    code = (
        "import sys, subprocess\n"
        "child = subprocess.Popen([sys.executable, '-m', 'sapnet', 'config', 'show'], stdout=subprocess.PIPE)\n"
        "child.stdout.close()\n"
        "sys.exit(child.wait())\n"
    )
    done = run_python("-c", code)
    assert done.returncode == 0
    assert done.stderr == ""


def test_the_public_interface_is_lazy_and_complete(run_python):
    names = [
        "load_points",
        "load_instances",
        "propose",
        "train",
        "label",
        "predict",
        "evaluate",
        "run",
        "write_report",
    ]
    assert set(names) <= set(sapnet.__all__) <= set(dir(sapnet))
    done = run_python(
        "-c", "import sys, sapnet; assert not {'torch', 'numpy', 'pydantic'} & set(sys.modules)"
    )
    assert done.returncode == 0, done.stderr
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        sapnet.nothing  # noqa: B018
