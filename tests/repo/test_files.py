"""The repository's own files: what README and packaging promise, and what no file may contain."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

import sapnet
from sapnet import doctor
from sapnet.cli.parser import build_parser

ROOT = Path(__file__).resolve().parents[2]
MACHINE_PATHS = re.compile(r"(?<![\w./-])/" + r"(?:work|root|home|Users)/\w|(?<![\w./-])/tmp" + r"/\w")
LISTS_OF_DECISIONS = {"0005-paper-or-released-code.md"}
TEXT_ENDINGS = {".py", ".md", ".toml", ".txt", ".yaml", ".yml", ".json", ".cff", ".html", ""}


def tracked_files() -> list[Path]:
    """Files that git knows, or all but hidden ones where this is no git checkout."""
    listing = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )  # fmt: skip
    if listing.returncode == 0 and listing.stdout:
        return [ROOT / name for name in listing.stdout.split("\0") if name and (ROOT / name).is_file()]
    files = (file for file in ROOT.rglob("*") if file.is_file())
    return [file for file in files if not any(part.startswith(".") for part in file.relative_to(ROOT).parts)]


@pytest.fixture(scope="module")
def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def readme():
    return (ROOT / "README.md").read_text(encoding="utf-8")


def package_name(requirement: str) -> str:
    return re.split(r"[<>=!~\[; ]", requirement)[0].lower().replace("_", "-")


def test_readme_starts_with_the_two_commands(readme):
    assert "make demo" in readme
    assert "make test" in readme


def test_readme_has_every_verb_and_names_no_other(readme):
    verbs = set(build_parser().verb_names)
    shown = set(re.findall(r"`sapnet ([a-z]+)", readme)) | set(re.findall(r"^sapnet ([a-z]+)", readme, re.M))
    assert shown == verbs


def test_readme_links_lead_somewhere(readme):
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", readme) if "://" not in link]
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_make_help_lists_every_target():
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert set(re.findall(r"^(\w+)", done.stdout, re.M)) >= {"setup", "demo", "test", "lint", "bench", "help"}


def test_ci_runs_make_test():
    assert "make test" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111


def test_every_dependency_is_pinned_exactly(project):
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = {package_name(line): line for line in lines if line and not line.startswith("#")}
    assert all(re.fullmatch(r"[\w.-]+==[\w.+]+", line) for line in pins.values())
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    assert [name for name in map(package_name, wanted) if name not in pins] == []


def test_doctor_looks_for_every_dependency(project):
    assert {package_name(name) for name in doctor.REQUIRED} == set(map(package_name, project["dependencies"]))
    extras = {
        name: set(map(package_name, wanted)) for name, wanted in project["optional-dependencies"].items()
    }
    assert {name: set(packages) for name, packages in doctor.EXTRAS.items()} == extras


def test_the_version_is_the_same_everywhere():
    assert f"\nversion: {sapnet.__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"## {sapnet.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_no_file_names_a_path_of_somebodys_machine():
    lines = (
        (file, number, line)
        for file in tracked_files()
        if file.suffix in TEXT_ENDINGS
        for number, line in enumerate(file.read_text(encoding="utf-8", errors="replace").splitlines(), 1)
    )
    found = [
        f"{file.relative_to(ROOT)}:{number}: {line.strip()[:80]}"
        for file, number, line in lines
        if MACHINE_PATHS.search(line)
    ]
    assert not found


def test_no_large_or_foreign_binary_file_is_tracked():
    # The exceptions: weights that make the package work offline.
    limits = {
        "src/sapnet/proposals/builtin/boundaries.safetensors": 20_000_000,
        "src/sapnet/models/class_agnostic.safetensors": 2_000_000,
    }
    sizes = {str(file.relative_to(ROOT)): file.stat().st_size for file in tracked_files()}
    assert [name for name, size in sizes.items() if size > limits.get(name, 300_000)] == []


def test_architecture_decisions_are_numbered_and_say_what_was_considered():
    records = sorted((ROOT / "docs" / "adr").glob("*.md"))
    assert records
    for record in records:
        assert re.fullmatch(r"\d{4}-[a-z0-9-]+\.md", record.name)
        if record.name in LISTS_OF_DECISIONS:
            continue
        text = record.read_text(encoding="utf-8")
        for heading in ("## Decision", "## Considered", "## Consequences"):
            assert heading in text, f"{record.name}: no {heading!r}"
