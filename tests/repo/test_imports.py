"""Imports point one way, as docs/architecture.md says."""

import ast
import functools
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "src" / "sapnet"
SOURCES = sorted(PACKAGE.rglob("*.py"))

LAYERS = [
    {"_version", "errors", "ops", "progress", "structures", "yaml_tree"},
    {"mil", "losses", "models", "data", "proposals", "enhancer", "importers"},
    {"convert", "evaluation", "exporters", "inference", "labels", "pretraining", "visualize"},
    {"build", "build_enhancer", "build_proposer"},
    {"engine"},
    {"report", "bench", "doctor"},
    {"pipeline"},
    {"api"},
    {"cli"},
    {"__main__"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
SETTINGS = {
    "config",
    "config_labelling",
    "config_model",
    "config_proposals",
    "config_section",
    "config_loader",
}
READERS_OF_SETTINGS = {
    *("__init__", "api", "build", "build_enhancer", "build_proposer", "bench", "cli", "engine", "pipeline"),
    *SETTINGS,
}
WITHOUT_TORCH = {
    *SETTINGS,
    "errors",
    "progress",
    "yaml_tree",
    "cli",
    "_version",
    "__main__",
    "__init__",
    "importers",
}


def part_of(file: Path) -> str:
    """The module or subpackage directly under sapnet to which a file belongs."""
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


@functools.cache
def imported_modules(file: Path) -> list[tuple[int, str]]:
    """Every absolute name that the file imports, with its line; also inside functions."""
    found = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"), filename=str(file))):
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
    names = imported_modules(file)
    return [(line, name.split(".")[1]) for line, name in names if name.startswith("sapnet.")]


def where(file: Path, line: int) -> str:
    return f"{file.relative_to(PACKAGE)}:{line}"


def test_every_part_has_a_place_in_the_layers():
    assert {part_of(file) for file in SOURCES} - {*LEVEL, *SETTINGS, "__init__"} == set()


def test_no_part_imports_from_a_later_layer():
    wrong = [
        f"{where(file, line)} imports {other}"
        for file in SOURCES
        if part_of(file) in LEVEL  # the package itself names its public functions for type checkers
        for line, other in imported_parts(file)
        if other not in SETTINGS and LEVEL.get(other, len(LAYERS)) > LEVEL[part_of(file)]
    ]
    assert wrong == []


def test_settings_are_read_only_where_modules_are_put_together():
    wrong = [
        f"{where(file, line)} imports {other}"
        for file in SOURCES
        if part_of(file) not in READERS_OF_SETTINGS
        for line, other in imported_parts(file)
        if other in SETTINGS
    ]
    assert wrong == []


def test_what_answers_at_once_does_not_import_torch():
    wrong = [
        f"{where(file, line)} imports {name}"
        for file in SOURCES
        if part_of(file) in WITHOUT_TORCH
        for line, name in imported_modules(file)
        if name.split(".")[0] in {"torch", "torchvision", "timm", "accelerate"}
    ]
    assert wrong == []


def test_nothing_that_learns_or_labels_can_read_ground_truth():
    learning = [
        *(
            file
            for part in ("losses", "mil", "models", "labels", "engine", "enhancer")
            for file in (PACKAGE / part).glob("*.py")
        ),
        *(PACKAGE / "data" / name for name in ("bags.py", "collate.py", "dataset.py", "loading.py")),
    ]
    # Validation measures a network; what it returns goes into the metrics and nowhere else.
    learning = [file for file in learning if file.name != "validation.py"]
    readers = ("load_instances", "instances_from_json", "InstanceSet")
    text = {where(file, 1): file.read_text(encoding="utf-8") for file in learning}
    assert len(text) > 30
    assert [name for name, content in text.items() if any(reader in content for reader in readers)] == []
