"""No dead setting, no configuration file that does not load, and a command line that grows on purpose."""

import argparse
import ast
from pathlib import Path

import pytest
from pydantic import BaseModel

from sapnet.cli.parser import build_parser
from sapnet.cli.verb_parser import VerbParser
from sapnet.config import Config
from sapnet.config_loader import load_config

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = sorted([*ROOT.glob("configs/**/*.yaml"), *ROOT.glob("src/sapnet/configs/*.yaml")])

COMMON = {"--seed", "--device", "--quiet", "--json", "--debug"}
SETTINGS = {"-c", "--config"}
TRAINING = {"--points", "--images", "--out", "--val-instances", "--val-images", "--resume", "--skip-bad"}
FORMAT = {"--segm", "--parts", "--void-rim", "--sixteen-bit", "--image-url"}
OPTIONS = {
    "points sample": COMMON | {"--instances", "--mode", "--out"},
    "points import": COMMON
    | {
        "--from",
        "--images",
        "--out",
        "--unit",
        "--several",
        "--shapes",
        "--attribute",
        "--annotations",
        "--mode",
        "--class",
        "--class-map",
        "--exif",
        "--strict",
        "--skip-bad",
    },
    "points check": COMMON | {"--images"},
    "propose": COMMON
    | SETTINGS
    | {
        "--points",
        "--images",
        "--proposer",
        "--checkpoint",
        "--instances",
        "--out",
        "--skip-bad",
        "--import-json",
        "--export-json",
    },
    "train": COMMON | SETTINGS | TRAINING | {"--proposals"},
    "run": COMMON | SETTINGS | TRAINING | {"--proposer", "--checkpoint", "--instances"},
    "bench": COMMON
    | SETTINGS
    | {"--data", "--out", "--seeds", "--segmenter-seeds", "--segmenter-epochs", "--source", "--every"}
    | {"--row", "--only-kept"},
    "demo": COMMON | SETTINGS | {"--out"},
    "label": COMMON
    | {"--run", "--points", "--images", "--proposals", "--out", "--skip-bad"}
    | FORMAT
    | {"--format"},
    "convert labels": COMMON | FORMAT | {"--to", "--images", "--instances", "--out"},
    "convert voc": COMMON | {"--root", "--sbd", "--split", "--out"},
    "convert subset": COMMON | {"--classes", "--num-images", "--keep-empty", "--out"},
    "predict": COMMON | {"--model", "--out", "--draw", "--skip-bad"},
    "evaluate": COMMON | {"--predictions", "--labels", "--instances", "--protocol", "--proposals"},
    "report": COMMON | {"--out", "--points", "--images", "--instances"},
    "config show": COMMON | SETTINGS,
    "config check": COMMON | SETTINGS,
    "doctor": COMMON,
}


def settings_of(section: type[BaseModel]):
    for name, information in section.model_fields.items():
        child = information.annotation
        if isinstance(child, type) and issubclass(child, BaseModel):
            yield from settings_of(child)
        else:
            yield f"{section.__name__}.{name}"


def attributes_read() -> set[str]:
    names = set()
    for file in (ROOT / "src").rglob("*.py"):
        if file.name not in {
            f"{name}.py"
            for name in ("config", "config_labelling", "config_model", "config_proposals", "config_section")
        }:
            tree = ast.parse(file.read_text(encoding="utf-8"))
            names |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    return names


def verbs_of(parser: VerbParser, prefix: str = ""):
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, child in action.choices.items():
                yield from verbs_of(child, f"{prefix} {name}".strip())
            return
    yield prefix, parser.known_options - {"-h", "--help"}


def test_every_setting_is_read_somewhere():
    names = attributes_read()
    dead = [setting for setting in settings_of(Config) if setting.rpartition(".")[2] not in names]
    assert not dead


def test_every_setting_says_what_it_means_or_has_a_telling_name():
    undocumented = [
        f"{section}.{name}"
        for section, information in Config.model_fields.items()
        if isinstance(information.annotation, type) and issubclass(information.annotation, BaseModel)
        for name in information.annotation.model_fields
        if len(name) < 4 and not information.annotation.model_fields[name].description
    ]
    assert not undocumented


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.name)
def test_every_configuration_file_is_valid_and_starts_with_its_command(file):
    load_config(file)
    lines = file.read_text(encoding="utf-8").splitlines()
    first = [line for line in lines[:5] if line.startswith("#")]
    assert any("sapnet " in line for line in first)


def test_the_command_line_has_exactly_the_agreed_options():
    assert dict(verbs_of(build_parser())) == OPTIONS
