"""Settings from files and overrides: what is accepted, and how every mistake is worded."""

import os
from pathlib import Path

import pytest

from sapnet.config import Config
from sapnet.config_loader import differences, dump_config, load_config
from sapnet.errors import ConfigError
from sapnet.yaml_tree import dotted, read_override, read_yaml


@pytest.fixture
def problems_of(tmp_path, monkeypatch):
    """Load a file with this text and return the problems, the file being called ``run.yaml``."""
    monkeypatch.chdir(tmp_path)

    def load(text: str, overrides=()) -> list[str]:
        Path("run.yaml").write_text(text, encoding="utf-8")
        with pytest.raises(ConfigError) as caught:
            load_config(Path("run.yaml"), overrides)
        return list(caught.value.problems)

    return load


def test_no_file_and_no_overrides_give_the_defaults():
    assert load_config(None, []) == Config()


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "{}"])
def test_an_empty_file_gives_the_defaults(tmp_path, text):
    file = tmp_path / "empty.yaml"
    file.write_text(text)
    assert load_config(file) == Config()


def test_a_file_changes_only_what_it_names(tmp_path):
    file = tmp_path / "some.yaml"
    file.write_text(
        "optim: {learning_rate: 3e-7}\ndata: {mean: [0, 1, 2]}\nmodel: {backbone: {weights: a/b.pth}}\n"
    )
    config = load_config(file)
    assert config.optim.learning_rate == 3e-7
    assert config.data.mean == (0.0, 1.0, 2.0)
    assert config.model.backbone.weights == Path("a/b.pth")
    assert differences(config, Config()) == ["data.mean", "model.backbone.weights", "optim.learning_rate"]


def test_overrides_win_over_the_file_and_later_ones_over_earlier_ones(tmp_path):
    file = tmp_path / "some.yaml"
    file.write_text("seed: 1\noptim:\n  decay: 0.5\n  momentum: 0.5\n")
    config = load_config(file, ["seed=2", "optim.decay=1e-1", "seed=3"])
    assert (config.seed, config.optim.decay, config.optim.momentum) == (3, 0.1, 0.5)


def test_an_override_can_give_a_section_which_is_merged():
    config = load_config(None, ["model.guidance={enabled: false}", "model.guidance.exponent=2"])
    assert (config.model.guidance.enabled, config.model.guidance.exponent) == (False, 2.0)


def test_all_problems_are_listed_at_once_in_reading_order(problems_of):
    text = "seed: true\noptim:\n  decay: fast\n  lerning_rate: 1\nmodel:\n  loss: {mask_weight: -1}\n"
    assert problems_of(text, ["device=gpu", "training.epochs=0"]) == [
        "run.yaml:1: seed: expected a whole number, got true",
        "run.yaml:3: optim.decay: expected a number, got 'fast'",
        "run.yaml:4: optim.lerning_rate: unknown key (did you mean 'optim.learning_rate'?)",
        "run.yaml:6: model.loss.mask_weight: expected greater than or equal to 0, got -1",
        "command line: training.epochs: expected greater than or equal to 1, got 0",
        "command line: device: expected 'auto', 'cpu', 'cuda' or 'mps', got 'gpu' (did you mean 'cpu'?)",
    ]


def test_the_message_counts_the_problems_and_names_the_file(problems_of):
    problems_of("x: 1\ny: 2\n")
    with pytest.raises(ConfigError, match=r"^2 problems in run.yaml\n  run.yaml:1: x: unknown key"):
        load_config(Path("run.yaml"))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: 1\na: 2\n", "run.yaml:2: a: duplicate key, first given on line 1"),
        ("learning_rate: 1\n", "run.yaml:1: learning_rate: unknown key (did you mean 'optim.learning_rate'?)"),
        ("modell: {}\n", "run.yaml:1: modell: unknown key (did you mean 'model'?)"),
        ("model:\n  nms_kernal: linear\n", "run.yaml:2: model.nms_kernal: unknown key (did you mean 'model.inference.nms_kernel'?)"),
        ("zzzz: 1\n", "run.yaml:1: zzzz: unknown key"),
        ("- 1\n- 2\n", "run.yaml:1: expected a mapping of settings (key: value), got a list"),
        ("hello\n", "run.yaml:1: expected a mapping of settings (key: value), got 'hello'"),
        ("1: x\n", "run.yaml:1: keys must be names, got '1'"),
        ("model: 5\n", "run.yaml:1: model: expected a section of settings (key: value), got 5"),
        ("model:\n", "run.yaml:1: model: expected a section of settings (key: value), got null"),
        ("seed: {x: 3}\n", 'run.yaml:1: seed: expected a whole number, got {"x": 3}'),
        ("seed: 1.5\n", "run.yaml:1: seed: expected a whole number, got 1.5"),
        ("seed: .inf\n", "run.yaml:1: seed: expected a finite number, got .inf"),
        ("data: {mean: [1, 2]}\n", "run.yaml:1: data.mean: expected more values: the one at position 3 is missing"),
        ("data: {mean: [1, 2, 3, 4]}\n", "run.yaml:1: data.mean: expected at most 3 values, got 4"),
        ("data: {mean: 1}\n", "run.yaml:1: data.mean: expected a list, got 1"),
        ("data:\n  train_short_sides:\n    - 320\n    - x\n", "run.yaml:2: data.train_short_sides[1]: expected a whole number, got 'x'"),
        ("model: {backbone: {weights: 5}}\n", "run.yaml:1: model.backbone.weights: expected 'bundled', 'none' or 'timm' or text, got 5"),
        ("model: {guidance: {enabled: yes}}\n", "run.yaml:1: model.guidance.enabled: expected true or false, got 'yes'"),
        ("model: {guidance: {distance: euclidian}}\n", "run.yaml:1: model.guidance.distance: expected 'euclidean' or 'square-root', got 'euclidian' (did you mean 'euclidean'?)"),
        ("training: {mode: end-to-end, epochs: 2, selection_warmup_epochs: 2}\n", "run.yaml:1: training: selection_warmup_epochs (2) must be smaller than epochs (2)"),
        ("data: {size_divisor: 30}\n", "run.yaml:1: data: size_divisor (30) must be a multiple of mask_stride (4)"),
        ("seed: 2020-01-01\n", "run.yaml:1: seed: expected a whole number, got '2020-01-01'"),
        ("seed: !!python/x 1\n", "run.yaml:1: seed: cannot read '1' as tag:yaml.org,2002:python/x"),
        ("a: &a [*a]\n", "run.yaml:1: a[0]: an alias must not contain itself"),
        ("seed: [1\n", "run.yaml:2: not valid YAML: expected ',' or ']', but got '<stream end>'"),
        ("seed: 1\n---\nseed: 2\n", "run.yaml:2: not valid YAML: but found another document"),
        ("seed: \x07\n", "run.yaml: not valid YAML: unacceptable character #x0007"),
    ],
)  # fmt: skip
def test_each_kind_of_mistake_has_its_sentence(problems_of, text, problem):
    assert any(found.startswith(problem) for found in problems_of(text)), problems_of(text)


@pytest.mark.parametrize("override", ["seed", "=3", "a b=3", "optim..decay=1", "9=1", ".seed=1", "--seed=1"])
def test_an_override_of_the_wrong_form_is_named(override):
    expected = f"expected an override of the form section.key=value, got {override!r}"
    with pytest.raises(ConfigError) as caught:
        load_config(None, ["seed=1", override])
    assert caught.value.problems == (f"command line: {expected}",)


def test_an_override_with_broken_yaml_says_which():
    with pytest.raises(ConfigError, match=r"command line: data\.mean: not valid YAML"):
        load_config(None, ["data.mean=[1, 2"])


def test_an_unreadable_file_does_not_hide_problems_of_the_overrides(tmp_path):
    (tmp_path / "street.yaml").write_text("")
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path / "stret.yaml", ["sead=1"])
    missing, unknown = caught.value.problems
    assert missing.endswith("stret.yaml: no such file (did you mean 'street.yaml'?)")
    assert unknown == "command line: sead: unknown key (did you mean 'seed'?)"


def test_a_folder_or_bytes_that_are_not_text_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="expected a YAML file, got a folder"):
        load_config(tmp_path)
    (tmp_path / "latin.yaml").write_bytes(b"seed: \xff")
    with pytest.raises(ConfigError, match=r"not UTF-8 text \(byte 6\)"):
        load_config(tmp_path / "latin.yaml")
    with pytest.raises(ConfigError, match=r"the folder '.*nowhere' does not exist either"):
        load_config(tmp_path / "nowhere" / "x.yaml")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_refused(tmp_path):
    file = tmp_path / "secret.yaml"
    file.touch(mode=0)
    with pytest.raises(ConfigError, match="cannot be read: Permission denied"):
        load_config(file)


def test_a_value_that_could_not_be_read_is_reported_once(problems_of):
    assert problems_of("model: {guidance: {exponent: .nan}}\n") == [
        "run.yaml:1: model.guidance.exponent: expected a finite number, got .nan"
    ]


def test_long_values_are_cut_in_messages(problems_of):
    (problem,) = problems_of(f"seed: {'x' * 500}\n")
    assert problem.endswith("x...")
    assert len(problem) < 120


def test_dumped_settings_read_back_equal(tmp_path):
    overrides = [
        "model.backbone.weights=1e-4.pth",
        "optim.weight_decay=1e-7",
        "data.train_short_sides=[1, 2]",
    ]
    config = load_config(None, overrides)
    file = tmp_path / "config.yaml"
    file.write_text(dump_config(config))
    assert load_config(file) == config
    assert "train_short_sides: [1, 2]\n" in dump_config(config)


def test_yaml_trees_know_the_line_of_every_key():
    tree = read_yaml("a:\n  b: 1\n  c: [x, {d: 2}]\n", "f.yaml")
    assert tree.values == {"a": {"b": 1, "c": ["x", {"d": 2}]}}
    assert tree.places[("a", "b")] == "f.yaml:2"
    assert tree.places[("a", "c", 1, "d")] == "f.yaml:3"
    assert tree.place_of(("a", "c", 0)) == "f.yaml:3"
    assert tree.place_of(("z",)) is None


def test_override_values_are_yaml():
    assert read_override("a.b=[1, 1e-1, no, null]").values == {"a": {"b": [1, 0.1, "no", None]}}
    assert read_override("a=").values == {"a": None}
    assert read_override("a=x=y").values == {"a": "x=y"}


def test_locations_are_written_with_dots_and_brackets():
    assert dotted(("model", "solov2", "scale_ranges", 0, 1)) == "model.solov2.scale_ranges[0][1]"
