"""Reads settings from YAML and ``key=value`` overrides, and reports every problem at once.

Precedence: defaults, then the file, then the overrides. Validation goes through JSON, which keeps
pydantic strict (``seed: true`` is an error) and still takes lists for tuples and text for paths.
This module imports no torch, so that bad settings are refused at once.
"""

from __future__ import annotations

import difflib
import io
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedSeq

from sapnet.config import Config
from sapnet.errors import ConfigError, nearest
from sapnet.yaml_tree import COMMAND_LINE, Location, SettingsTree, dotted, read_override, read_yaml

_SHOWN_CHARACTERS = 60
_PRESETS = Path(__file__).resolve().parent / "configs"


def load_config(path: Path | None, overrides: Sequence[str] = ()) -> Config:
    """Read the settings of a run.

    Args:
        path: A YAML file that holds what differs from the defaults, or the name of a preset that
            comes with the package (``paper``), unless there is a file of that name; None for the
            defaults.
        overrides: ``section.key=value`` each, the value in YAML; a later one wins.

    Returns:
        The validated, immutable settings.

    Raises:
        ConfigError: Listing all problems of the file and of the overrides, each with its line or
            ``command line``, the dotted key, what was expected, what was given, and the nearest
            valid key.
    """
    tree = SettingsTree() if path is None else _read_file(_preset_or_file(path))
    for override in overrides:
        tree.merge(read_override(override))
    config: Config | None = None
    problems = list(tree.problems)
    try:
        config = Config.model_validate_json(json.dumps(tree.values))
    except ValidationError as error:
        problems.extend(_explain_all(error, tree, "the settings" if path is None else str(path)))
    if problems or config is None:
        raise ConfigError(
            "the overrides" if path is None else str(path), sorted(problems, key=_reading_order)
        )
    return config


def preset_values(name: str) -> dict[str, Any]:
    """Return what a preset of the package changes of the defaults.

    Args:
        name: One of ``preset_names()``.

    Returns:
        Sections of settings, nested like a config file.
    """
    values: dict[str, Any] = json.loads(json.dumps(_read_file(_PRESETS / f"{name}.yaml").values))
    return values


def preset_names() -> list[str]:
    """Return the names of the presets that come with the package, for ``-c NAME``."""
    return sorted(file.stem for file in _PRESETS.glob("*.yaml"))


def dump_config(config: Config) -> str:
    """Return all settings as YAML that ``load_config`` reads back to an equal ``Config``."""
    writer = YAML()
    writer.width = 110
    stream = io.StringIO()
    writer.dump(_with_short_lists(config.model_dump(mode="json")), stream)
    return stream.getvalue()


def differences(first: Config, second: Config) -> list[str]:
    """Return the dotted keys whose values differ, in the order of the settings tree."""
    ours = dict(leaves(first.model_dump(mode="json")))
    theirs = dict(leaves(second.model_dump(mode="json")))
    return [key for key in ours if ours[key] != theirs[key]]


def setting_of(config: Config, key: str) -> Any:
    """Return the JSON-able value of a dotted key, as ``differences`` gives them."""
    value: Any = config.model_dump(mode="json")
    for part in key.split("."):
        value = value[part]
    return value


def _reading_order(problem: str) -> tuple[bool, int]:
    """Sort by line of the file, then what the command line gave."""
    line = re.search(r":(\d+): ", problem)
    return problem.startswith(COMMAND_LINE), int(line[1]) if line else 0


def _preset_or_file(path: Path) -> Path:
    """The packaged file where a bare name is a preset's and no file has it."""
    is_preset = path.name == str(path) and path.name in preset_names() and not path.exists()
    return _PRESETS / f"{path}.yaml" if is_preset else path


def _read_file(path: Path) -> SettingsTree:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        hint = _similar_file(path) or f" (presets of the package: {', '.join(preset_names())})"
        return SettingsTree(problems=[f"{path}: no such file{hint}"])
    except IsADirectoryError:
        return SettingsTree(problems=[f"{path}: expected a YAML file, got a folder"])
    except UnicodeDecodeError as error:
        return SettingsTree(problems=[f"{path}: not UTF-8 text (byte {error.start})"])
    except OSError as error:
        return SettingsTree(problems=[f"{path}: cannot be read: {error.strerror}"])
    return read_yaml(text, str(path))


def _similar_file(path: Path) -> str:
    if not path.parent.is_dir():
        return f" (the folder {str(path.parent)!r} does not exist either)"
    return nearest(path.name, (entry.name for entry in path.parent.iterdir() if entry.is_file()))


def _explain_all(error: ValidationError, tree: SettingsTree, fallback_place: str) -> Iterator[str]:
    """Yield one sentence per wrong setting; a union's alternatives become one sentence."""
    grouped: dict[Location, list[Any]] = {}
    for item in error.errors(include_url=False):
        grouped.setdefault(_existing(item["loc"], tree.values), []).append(item)
    for location, items in grouped.items():
        if location in tree.unreadable:
            continue
        place = tree.place_of(location) or fallback_place
        name = f"{dotted(location)}: " if location else ""
        yield f"{place}: {name}{_explain(location, items)}"


def _existing(location: Location, values: Any) -> Location:
    """Cut a pydantic location where it leaves the given values (union tags, missing list items)."""
    for depth, part in enumerate(location):
        in_mapping = isinstance(values, dict) and part in values
        in_list = isinstance(values, list) and isinstance(part, int) and part < len(values)
        if not (in_mapping or in_list):
            return location[:depth]
        values = values[part]
    return location


def _explain(location: Location, items: Sequence[Any]) -> str:
    first = items[0]
    kind, context = first["type"], first.get("ctx", {})
    if kind == "extra_forbidden":
        return f"unknown key{_similar_key(location)}"
    if kind == "value_error":
        return str(first["msg"]).removeprefix("Value error, ")
    if kind == "missing":
        return f"expected more values: the one at position {first['loc'][-1] + 1} is missing"
    if kind == "too_long":
        return f"expected at most {context['max_length']} values, got {context['actual_length']}"
    expected = " or ".join(dict.fromkeys(_expectation(item) for item in items))
    given = first["input"]
    choices = re.findall(r"'([^']*)'", str(context.get("expected", "")))
    hint = nearest(given, choices) if isinstance(given, str) else ""
    return f"expected {expected}, got {_shown(given)}{hint}"


def _expectation(item: Any) -> str:
    plain = {
        "model_type": "a section of settings (key: value)",
        "model_attributes_type": "a section of settings (key: value)",
        "int_type": "a whole number",
        "int_from_float": "a whole number",
        "float_type": "a number",
        "bool_type": "true or false",
        "string_type": "text",
        "tuple_type": "a list",
        "path_type": "a path",
    }
    message = str(item["msg"]).removeprefix("Input should be ").removeprefix("Input is not ")
    return plain.get(item["type"], message)


def _similar_key(location: Location) -> str:
    """Suggest a key: the same name in another section, else a similar one here, else elsewhere."""
    wrong = str(location[-1])
    section: type[BaseModel] = Config
    for part in location[:-1]:
        child = section.model_fields[str(part)].annotation
        if not (isinstance(child, type) and issubclass(child, BaseModel)):
            return ""
        section = child
    by_leaf: dict[str, str] = {}
    # Of several keys with the name, one near the top is more likely meant.
    for key in sorted(_keys(Config), key=lambda key: key.count(".")):
        by_leaf.setdefault(key.rpartition(".")[2], key)
    if wrong in by_leaf:
        return f" (did you mean {by_leaf[wrong]!r}?)"
    prefix = "".join(f"{part}." for part in location[:-1])
    here = {name: prefix + name for name in section.model_fields}
    for candidates in (here, by_leaf):
        similar = difflib.get_close_matches(wrong, list(candidates), n=1)
        if similar:
            return f" (did you mean {candidates[similar[0]]!r}?)"
    return ""


def _keys(section: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield the dotted name of every setting and section below ``section``."""
    for name, information in section.model_fields.items():
        yield prefix + name
        child = information.annotation
        if isinstance(child, type) and issubclass(child, BaseModel):
            yield from _keys(child, f"{prefix}{name}.")


def leaves(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted key and the value of every leaf of nested dicts, in their order.

    Args:
        values: The tree.
        prefix: Put before every key.

    Yields:
        ``("section.key", value)``.
    """
    for key, value in values.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _with_short_lists(values: Any) -> Any:
    """Mark lists to be written on one line: ``mean: [0.485, 0.456, 0.406]``."""
    if isinstance(values, dict):
        return {key: _with_short_lists(value) for key, value in values.items()}
    if isinstance(values, list):
        short = CommentedSeq(_with_short_lists(value) for value in values)
        short.fa.set_flow_style()
        return short
    return values


def _shown(value: Any) -> str:
    text = repr(value) if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."
