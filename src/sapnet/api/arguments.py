"""What callers from Python may pass: settings in several forms, and paths or objects that have one."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from sapnet.config import Config
from sapnet.config_loader import leaves
from sapnet.config_loader import load_config as read_settings
from sapnet.errors import ConfigError, InputError, SapnetError, nearest
from sapnet.yaml_tree import COMMAND_LINE

AnyPath = str | os.PathLike[str]
"""A path as text or object; also the objects of this package that stand for a file or folder."""

Settings = Config | AnyPath | None
"""All settings, or a YAML file with what differs from the defaults, or None for the defaults."""

Device = Literal["auto", "cpu", "cuda", "mps"]
"""Where networks run."""

DEVICES: tuple[str, ...] = get_args(Device)

_SWITCHES = {"--skip-bad", "--resume", "--strict", "--shapes", "--sixteen-bit", "--keep-empty"}
_RENAMED = {"--from": "source_format", "--class": "class_name", "--segm": "shapes", "--to": "format"}
_PLAIN = {
    *("--out", "--images", "--instances", "--points", "--proposals", "--labels", "--predictions"),
    *("--import-json", "--val-images", "--val-instances", "--checkpoint", "--device", "--seed"),
    *("--unit", "--several", "--attribute", "--annotations", "--mode", "--class-map", "--exif"),
    *("--parts", "--void-rim", "--image-url", "--split", "--sbd", "--root", "--classes", "--num-images"),
}
_OPTIONS = (
    {name: f"{name[2:].replace('-', '_')}=True" for name in _SWITCHES}
    | {name: name[2:].replace("-", "_") for name in _PLAIN}
    | _RENAMED
)
"""Options of the command line, as arguments of the functions."""
_OPTION = re.compile(rf"(?<![\w-])({'|'.join(sorted(_OPTIONS))})(?![\w-])")


def load_config(path: AnyPath | None = None, overrides: Mapping[str, Any] | None = None) -> Config:
    """Read settings.

    Args:
        path: A YAML file that holds what differs from the defaults; None for the defaults.
        overrides: Settings that win over the file, by dotted key (``{"training.epochs": 6}``) or as
            nested sections (``{"training": {"epochs": 6}}``).

    Returns:
        The validated, immutable settings.

    Raises:
        ConfigError: Lists every problem, with the nearest valid key.
    """
    return settings_of(None if path is None else Path(path), overrides)


def settings_of(config: Settings, overrides: Mapping[str, Any] | None, **shorthands: Any) -> Config:
    """Return the settings of a call.

    Args:
        config: All settings, a YAML file or None.
        overrides: Settings that win over them, by dotted key or as nested sections.
        shorthands: Arguments that stand for a setting, by its dotted key with ``__`` for the dots;
            None leaves the setting alone. They win over everything.

    Returns:
        The validated settings.

    Raises:
        ConfigError: Lists every problem.
    """
    given = [] if not isinstance(config, Config) else _words(config.model_dump(mode="json"))
    given += _words(overrides or {})
    given += _words({key.replace("__", "."): value for key, value in shorthands.items() if value is not None})
    path = None if config is None or isinstance(config, Config) else Path(config)
    try:
        return read_settings(path, given)
    except ConfigError as error:
        # The loader knows overrides from the command line only.
        problems = [re.sub(rf"^{COMMAND_LINE}\b", "overrides", problem) for problem in error.problems]
        raise ConfigError(error.subject, problems) from None


def _words(values: Mapping[str, Any]) -> list[str]:
    """The overrides as the loader reads them."""
    return [f"{key}={json.dumps(value, default=str)}" for key, value in leaves(_with_text_keys(values))]


def _with_text_keys(values: Mapping[Any, Any]) -> dict[str, Any]:
    return {
        str(key): _with_text_keys(value) if isinstance(value, Mapping) else value
        for key, value in values.items()
    }


def existing(**paths: AnyPath | None) -> dict[str, Any]:
    """Return arguments as paths.

    Args:
        paths: What was given, by the name of the argument; None stays None.

    Returns:
        The paths, by the name of the argument.

    Raises:
        InputError: Some do not exist; lists all of them, with the nearest name in the folder.
    """
    found: dict[str, Any] = {name: None if value is None else Path(value) for name, value in paths.items()}
    problems = [
        f"{name}: no such file or folder: {path}{_similar(path)}"
        for name, path in found.items()
        if path is not None and not path.exists()
    ]
    if found.get("val_images") is not None and found.get("val_instances") is None:
        problems.append("val_images needs val_instances")
    if problems:
        raise InputError("the arguments", problems)
    return found


def refuse_unknown(**given: tuple[str | None, Iterable[str]]) -> None:
    """Refuse arguments that are none of the known words, all at once.

    Args:
        given: What was given and the known words, by the name of the argument; None is fine.

    Raises:
        InputError: Some are unknown; with the nearest known word.
    """
    problems = [
        f"{name}: expected one of {', '.join(known)}, got {value!r}{nearest(str(value), known)}"
        for name, (value, known) in given.items()
        if value is not None and value not in known
    ]
    if problems:
        raise InputError("the arguments", problems)


def _similar(path: Path) -> str:
    return nearest(path.name, [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else [])


def say_it_in_python(error: SapnetError) -> None:
    """Replace the options of the command line that an error's advice names by arguments.

    Args:
        error: Changed in place.
    """

    def translated(text: str) -> str:
        return _OPTION.sub(lambda match: _OPTIONS[match[1]], text)

    error.args = tuple(translated(item) if isinstance(item, str) else item for item in error.args)
    if isinstance(error, InputError):
        error.subject = "the arguments" if error.subject == "the command line" else error.subject
        error.problems = tuple(map(translated, error.problems))
        error.args = (str(type(error)(error.subject, error.problems)),)
