"""YAML 1.2 text as plain values that remember where each key stands.

YAML 1.2 matters: it reads ``1e-4`` as a number and ``no`` as text. Reading goes through the node
graph rather than through a loader, because a loader stops at the first duplicate key and drops
the line numbers.
"""

from __future__ import annotations

import io
import math
import re
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

Location = tuple[str | int, ...]
"""Keys and list positions from the root: ``("model", "solov2", "num_grids", 0)``."""

COMMAND_LINE = "command line"
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")


@dataclass
class SettingsTree:
    """Values read from one source, with the place of every key and the problems met."""

    values: dict[str, Any] = field(default_factory=dict)
    places: dict[Location, str] = field(default_factory=dict)
    """For a file ``name:line``, for an override ``command line``."""
    problems: list[str] = field(default_factory=list)
    unreadable: set[Location] = field(default_factory=set)
    """Where a problem left None instead of a value, so that nobody complains about the None."""

    def place_of(self, location: Location) -> str | None:
        """Return the place of a location or of its closest known parent; None if there is none."""
        for length in range(len(location), 0, -1):
            if location[:length] in self.places:
                return self.places[location[:length]]
        return None

    def merge(self, other: SettingsTree) -> None:
        """Lay ``other`` over this tree: its values win, sections are merged key by key."""
        self.values = _merged(self.values, other.values)
        self.places.update(other.places)
        self.problems.extend(other.problems)
        self.unreadable |= other.unreadable


def dotted(location: Location) -> str:
    """Return a location as people write it: ``model.solov2.scale_ranges[0][1]``."""
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.lstrip(".")


def read_yaml(text: str, source: str) -> SettingsTree:
    """Read a YAML file's text; problems are collected, not raised.

    Args:
        text: The file's content. Empty or comments only means no settings.
        source: Name of the file for the places and problems.
    """
    tree = SettingsTree()
    root = _compose(text, source, tree.problems)
    if root is None or root.tag == "tag:yaml.org,2002:null":
        return tree
    if not isinstance(root, MappingNode):
        kind = "a list" if isinstance(root, SequenceNode) else f"{root.value!r}"
        place = f"{source}:{_line(root)}"
        tree.problems.append(f"{place}: expected a mapping of settings (key: value), got {kind}")
        return tree
    tree.values = _Reader(tree, source).mapping(root, ())
    return tree


def read_override(text: str) -> SettingsTree:
    """Read one ``dotted.key=value`` override; the value is YAML, so ``optim.decay=1e-1`` is a number."""
    tree = SettingsTree()
    key, equals, value = text.partition("=")
    key = key.strip()
    if not equals or not _KEY.fullmatch(key):
        tree.problems.append(
            f"{COMMAND_LINE}: expected an override of the form section.key=value, got {text!r}"
        )
        return tree
    location: Location = tuple(key.split("."))
    node = _compose(value, f"{COMMAND_LINE}: {key}", tree.problems)
    if tree.problems:
        return tree
    reader = _Reader(tree, COMMAND_LINE, numbered=False)
    content: Any = reader.value(node, location) if node is not None else None
    if tree.problems:
        return tree
    for length in range(1, len(location) + 1):
        tree.places[location[:length]] = COMMAND_LINE
    for part in reversed(location):
        content = {part: content}
    tree.values = content
    return tree


class _Reader:
    """Turns nodes into values while noting places and problems in a tree."""

    def __init__(self, tree: SettingsTree, source: str, *, numbered: bool = True) -> None:
        self.tree = tree
        self.source = source
        self.numbered = numbered
        self.open_nodes: set[int] = set()
        self.constructor = YAML(typ="safe", pure=True).constructor

    def place(self, node: Node) -> str:
        return f"{self.source}:{_line(node)}" if self.numbered else self.source

    def problem(self, node: Node, location: Location, message: str) -> None:
        name = f"{dotted(location)}: " if location else ""
        self.tree.problems.append(f"{self.place(node)}: {name}{message}")

    def unreadable(self, node: Node, location: Location, message: str) -> None:
        self.problem(node, location, message)
        self.tree.unreadable.add(location)

    def value(self, node: Node, location: Location) -> Any:
        if isinstance(node, ScalarNode):
            return self.scalar(node, location)
        if id(node) in self.open_nodes:
            return self.unreadable(node, location, "an alias must not contain itself")
        self.open_nodes.add(id(node))
        try:
            if isinstance(node, MappingNode):
                return self.mapping(node, location)
            return [self.value(item, (*location, index)) for index, item in enumerate(node.value)]
        finally:
            self.open_nodes.discard(id(node))

    def mapping(self, node: MappingNode, location: Location) -> dict[str, Any]:
        values: dict[str, Any] = {}
        lines: dict[str, int] = {}
        for key_node, value_node in node.value:
            key = self.key(key_node, location)
            if key is None:
                continue
            here = (*location, key)
            if key in values:
                self.problem(key_node, here, f"duplicate key, first given on line {lines[key]}")
                continue
            lines[key] = _line(key_node)
            self.tree.places[here] = self.place(key_node)
            values[key] = self.value(value_node, here)
        return values

    def key(self, node: Node, location: Location) -> str | None:
        if isinstance(node, ScalarNode) and node.tag in {"tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"}:
            return str(node.value)
        got = repr(node.value) if isinstance(node, ScalarNode) else "a list or mapping"
        self.problem(node, location, f"keys must be names, got {got}")
        return None

    def scalar(self, node: ScalarNode, location: Location) -> Any:
        try:
            value = self.constructor.construct_object(node)
        except (YAMLError, ValueError):
            return self.unreadable(node, location, f"cannot read {node.value!r} as {node.tag}")
        if isinstance(value, float) and not math.isfinite(value):
            return self.unreadable(node, location, f"expected a finite number, got {node.value}")
        if value is None or isinstance(value, str | int | float):
            return value
        return str(node.value)  # dates and binaries are text to a configuration


def _compose(text: str, source: str, problems: list[str]) -> Node | None:
    """Parse into a node graph; a syntax error becomes a problem."""
    try:
        return YAML(typ="safe", pure=True).compose(io.StringIO(text))
    except MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark and not _is_override(source) else ""
        problems.append(f"{source}{line}: not valid YAML: {error.problem}")
    except YAMLError as error:
        problems.append(f"{source}: not valid YAML: {' '.join(str(error).split())}")
    return None


def _is_override(source: str) -> bool:
    return source.startswith(COMMAND_LINE)


def _line(node: Node) -> int:
    return int(node.start_mark.line) + 1


def _merged(base: dict[str, Any], top: dict[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in top.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = _merged(result[key], value) if both else value
    return result
