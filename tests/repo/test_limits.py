"""Size limits, docstrings and names of the source files."""

import ast
import fnmatch
import functools
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
FILE_LINES = 300
FUNCTION_LINES = 60
FORBIDDEN_FILES = {"utils.py", "util.py", "misc.py", "helper.py", "helpers.py", "common.py"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


@functools.cache
def tree_of(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"), filename=str(file))


def public_definitions(node: ast.AST, prefix: str = ""):
    """Yield every public class, function and method that is not nested in a function."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Function | ast.ClassDef) and not child.name.startswith("_"):
            yield prefix + child.name, child
            if isinstance(child, ast.ClassDef):
                yield from public_definitions(child, f"{prefix}{child.name}.")


def defined_names(tree: ast.AST):
    """Yield every identifier that the file itself introduces, with its line."""
    for node in ast.walk(tree):
        if isinstance(node, Function | ast.ClassDef):
            yield node.name, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr, node.lineno


@functools.cache
def avoided_words() -> list[str]:
    """The words and patterns after *Avoid* in the glossary."""
    text = (ROOT / "CONTEXT.md").read_text(encoding="utf-8")
    return [word for line in re.findall(r"\*Avoid\*:(.*)", text) for word in re.findall(r"`([^`]+)`", line)]


def is_avoided(name: str, word: str) -> bool:
    """A plain word matches a part between underscores, a longer one or a pattern the whole name."""
    name = name.lower().strip("_")
    if "_" in word or "*" in word:
        return fnmatch.fnmatch(name, word)
    return word in name.split("_")


def where(file: Path, line: int = 1) -> str:
    return f"{file.relative_to(ROOT)}:{line}"


def may_speak_of_ground_truth(file: Path) -> bool:
    return "evaluation" in file.parts or file.parts[-2:] == ("proposals", "quality.py")


def test_files_are_short():
    lengths = {where(file): len(file.read_text(encoding="utf-8").splitlines()) for file in SOURCES}
    assert {name: length for name, length in lengths.items() if length > FILE_LINES} == {}


def test_functions_are_short():
    lengths = {
        f"{where(file, node.lineno)} {node.name}": node.end_lineno - node.lineno + 1
        for file in SOURCES
        for node in ast.walk(tree_of(file))
        if isinstance(node, Function)
    }
    assert {name: length for name, length in lengths.items() if length > FUNCTION_LINES} == {}


def test_everything_public_has_a_docstring():
    missing = [
        f"{where(file, node.lineno)} {name}"
        for file in SOURCES
        for name, node in public_definitions(tree_of(file))
        if not ast.get_docstring(node)
    ]
    missing += [
        where(file) for file in SOURCES if tree_of(file).body and not ast.get_docstring(tree_of(file))
    ]
    assert missing == []


def test_files_are_named_after_what_they_hold():
    assert [where(file) for file in SOURCES if file.name in FORBIDDEN_FILES] == []


def test_identifiers_avoid_the_words_that_the_glossary_rules_out():
    found = {
        f"{where(file, line)} {name} ({word})"
        for file in SOURCES
        for name, line in defined_names(tree_of(file))
        for word in avoided_words()
        if is_avoided(name, word) and not (word.startswith("gt") and may_speak_of_ground_truth(file))
    }
    assert found == set()


def test_the_glossary_rules_words_out():
    words = avoided_words()
    assert "gt_*" in words
    assert is_avoided("gt_boxes", "gt_*")
    assert is_avoided("PSM_loss", "psm")
    assert not is_avoided("prompt", "prm")
