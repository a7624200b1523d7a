"""Atomic writes leave the old file or the new one."""

from __future__ import annotations

import json
import os

import pytest

from sapnet.data.atomic import (
    write_bytes_atomic,
    write_json_atomic,
    write_json_items_atomic,
    write_text_atomic,
)
from sapnet.errors import JobError


def test_a_missing_folder_is_made_and_no_temporary_file_stays(tmp_path):
    write_text_atomic(tmp_path / "new" / "a.txt", "grüß")
    assert (tmp_path / "new" / "a.txt").read_text(encoding="utf-8") == "grüß"
    assert [entry.name for entry in (tmp_path / "new").iterdir()] == ["a.txt"]


def test_a_full_disk_leaves_the_old_file_and_says_so(tmp_path, monkeypatch):
    target = tmp_path / "a.json"
    write_json_atomic(target, {"old": 1})

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(JobError, match=r"a\.json: No space left on device; nothing was changed"):
        write_bytes_atomic(target, b"new")
    assert json.loads(target.read_text()) == {"old": 1}
    assert len(list(tmp_path.iterdir())) == 1


def test_a_number_that_is_not_finite_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_json_atomic(tmp_path / "a.json", {"x": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_a_symbolic_link_is_written_through(tmp_path):
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("old")
    link.symlink_to(target)
    write_text_atomic(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"


def test_a_file_name_that_is_no_utf8_comes_back_as_it_was(tmp_path):
    name = b"caf\xe9 \xc3\xa9.png".decode("utf-8", "surrogateescape")
    write_json_atomic(tmp_path / "a.json", {"file_name": name})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"file_name": name}
    write_text_atomic(tmp_path / "a.txt", name)
    assert (tmp_path / "a.txt").read_bytes() == b"caf\xe9 \xc3\xa9.png"
    write_json_items_atomic(
        tmp_path / "c.json", {"images": iter([{"file_name": name}, {"file_name": "\u00e9"}])}
    )
    found = json.loads((tmp_path / "c.json").read_text(encoding="utf-8"))
    assert found == {"images": [{"file_name": name}, {"file_name": "\u00e9"}]}
    write_json_atomic(tmp_path / "b.json", {"file_name": "\u00e9"})
    assert "\u00e9" in (tmp_path / "b.json").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "document", [{}, {"a": []}, {"a": [1], "b": {"c": "\u00e9"}, "d": [{"x": 0.1}, None, [2, "\u4e2d"]]}]
)
def test_lists_written_item_by_item_give_the_same_bytes(tmp_path, document):
    streamed = {name: iter(value) if isinstance(value, list) else value for name, value in document.items()}
    write_json_items_atomic(tmp_path / "items.json", streamed)
    write_json_atomic(tmp_path / "whole.json", document)
    assert (tmp_path / "items.json").read_bytes() == (tmp_path / "whole.json").read_bytes()


def test_an_item_that_fails_leaves_the_old_file(tmp_path):
    target = tmp_path / "a.json"
    write_json_atomic(target, {"old": 1})
    with pytest.raises(ValueError, match="JSON"):
        write_json_items_atomic(target, {"items": iter([1, float("inf")])})
    assert json.loads(target.read_text()) == {"old": 1}
    assert [item.name for item in tmp_path.iterdir()] == ["a.json"]
