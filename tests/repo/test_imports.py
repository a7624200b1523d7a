"""Imports point one way, as docs/architecture.md says."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "src" / "sapnet"
SOURCES = sorted(PACKAGE.rglob("*.py"))

LAYERS = [
    {"_version", "errors", "ops", "progress", "structures", "yaml_tree"},
    {"mil", "losses", "models", "data", "proposals"},
    {"inference", "labels", "evaluation", "engine", "visualize"},
    {"build"},
    {"report", "pipeline", "doctor"},
    {"cli"},
    {"__main__"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
SETTINGS = {"config", "config_loader"}
READERS_OF_SETTINGS = {"build", "cli", "engine", "pipeline", *SETTINGS}
WITHOUT_TORCH = {
    "errors",
    "progress",
    "yaml_tree",
    "config",
    "config_loader",
    "cli",
    "_version",
    "__main__",
    "__init__",
}


def part_of(file: Path) -> str:
    """The module or subpackage directly under sapnet to which a file belongs."""
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_modules(tree: ast.AST, file: Path) -> list[tuple[int, str]]:
    """Every absolute name that the file imports, with its line; also inside functions."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file.name}:{node.lineno}: relative import"
            if node.module == "sapnet":
                found += [(node.lineno, f"sapnet.{alias.name}") for alias in node.names]
            else:
                found.append((node.lineno, node.module))
    return found


def imported_parts(file: Path) -> list[tuple[int, str]]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    names = imported_modules(tree, file)
    return [(line, name.split(".")[1]) for line, name in names if name.startswith("sapnet.")]


every_source = pytest.mark.parametrize("file", SOURCES, ids=lambda file: str(file.relative_to(PACKAGE)))


@every_source
def test_every_part_has_a_place_in_the_layers(file):
    assert part_of(file) in {*LEVEL, *SETTINGS, "__init__"}


@every_source
def test_no_part_imports_from_a_later_layer(file):
    part = part_of(file)
    if part == "__init__":
        pytest.skip("the package's names are imported on first use")
    wrong = [
        f"line {line}: {part} imports {other}"
        for line, other in imported_parts(file)
        if other not in SETTINGS and LEVEL.get(other, len(LAYERS)) > LEVEL.get(part, 0)
    ]
    assert not wrong


@every_source
def test_settings_are_read_only_where_modules_are_put_together(file):
    part = part_of(file)
    if part in READERS_OF_SETTINGS:
        return
    assert not [line for line, other in imported_parts(file) if other in SETTINGS]


@every_source
def test_what_answers_at_once_does_not_import_torch(file):
    if part_of(file) not in WITHOUT_TORCH:
        return
    names = imported_modules(ast.parse(file.read_text(encoding="utf-8")), file)
    assert not [
        name for _, name in names if name.split(".")[0] in {"torch", "torchvision", "timm", "accelerate"}
    ]
