"""Finished pieces of a job survive what ends it, and serve the same job only."""

from __future__ import annotations

import errno
import io
import json
import multiprocessing
import os

import pytest

from sapnet.data.journal import Journal, files_digest, unfinished_path
from sapnet.errors import DataError, JobError

IDENTITY = {"weights": "abc", "settings": {"size": 320}}


def filled(path, pieces):
    with Journal(path, IDENTITY) as journal:
        for key, content in pieces.items():
            journal.add(key, content)


def content_of(path, identity=IDENTITY):
    with Journal(path, identity) as journal:
        return dict(journal.items())


def test_pieces_come_back_bit_for_bit_by_rising_key(tmp_path):
    pieces = {7: {"x": 0.1 + 0.2, "n": [1, None, "\u00e9\n"]}, 2: [3.0e-320, -0.0], 5: []}
    filled(tmp_path / "new" / "j", pieces)
    with Journal(tmp_path / "new" / "j", IDENTITY) as journal:
        assert list(journal.items()) == sorted(pieces.items())
        assert len(journal) == 3
        assert 7 in journal
        assert 3 not in journal
        journal.add(3, "three")
        assert [key for key, _ in journal.items()] == [2, 3, 5, 7]
    assert json.dumps(content_of(tmp_path / "new" / "j")[2]) == json.dumps(pieces[2])


def test_a_piece_that_is_there_is_left_as_it_is(tmp_path):
    filled(tmp_path / "j", {1: "first"})
    filled(tmp_path / "j", {1: "second"})
    assert content_of(tmp_path / "j") == {1: "first"}


def test_pieces_of_another_job_are_dropped(tmp_path):
    filled(tmp_path / "j", {1: "a"})
    other = {**IDENTITY, "weights": "abd"}
    assert content_of(tmp_path / "j", other) == {}
    assert content_of(tmp_path / "j", IDENTITY) == {}


def test_a_file_of_something_else_is_refused_and_left_alone(tmp_path):
    (tmp_path / "j").write_bytes(b"\x00\xff no journal\n\n")
    with pytest.raises(DataError, match="move it away"):
        Journal(tmp_path / "j", IDENTITY)
    assert (tmp_path / "j").read_bytes() == b"\x00\xff no journal\n\n"


def test_cut_at_any_byte_it_keeps_the_whole_pieces_and_goes_on(tmp_path):
    pieces = {key: {"value": "x" * key} for key in range(1, 5)}
    filled(tmp_path / "whole", pieces)
    whole = (tmp_path / "whole").read_bytes()
    ends = [place + 1 for place, byte in enumerate(whole) if byte == ord("\n")]
    for cut in range(len(whole)):
        (tmp_path / "j").write_bytes(whole[:cut])
        left = content_of(tmp_path / "j")
        # Of the header's line and the pieces', as many as were written to their end.
        assert list(left) == list(pieces)[: max(0, sum(end <= cut for end in ends) - 1)]
        filled(tmp_path / "j", pieces)
        assert (tmp_path / "j").read_bytes() == whole


def test_a_damaged_piece_and_what_follows_are_found_again(tmp_path):
    pieces = {1: "aaaa", 2: "bbbb", 3: "cccc"}
    filled(tmp_path / "j", pieces)
    (tmp_path / "j").write_bytes((tmp_path / "j").read_bytes().replace(b"bbbb", b"bbxb"))
    assert content_of(tmp_path / "j") == {1: "aaaa"}


def _hold(path, opened, release):
    with Journal(path, IDENTITY) as journal:
        journal.add(1, "theirs")
        opened.set()
        release.wait(30)


def test_while_another_process_writes_it_this_one_does_the_whole_job(tmp_path):
    context = multiprocessing.get_context("fork")
    opened, release = context.Event(), context.Event()
    process = context.Process(target=_hold, args=(tmp_path / "j", opened, release))
    process.start()
    assert opened.wait(30)
    with Journal(tmp_path / "j", IDENTITY) as journal:
        assert len(journal) == 0
        journal.add(1, "mine")
        journal.add(0, "too")
        assert list(journal.items()) == [(0, "too"), (1, "mine")]
        journal.remove()
    release.set()
    process.join()
    assert content_of(tmp_path / "j") == {1: "theirs"}
    assert [item.name for item in tmp_path.iterdir()] == ["j"]


def test_a_full_disk_keeps_what_is_there_and_says_how_many(tmp_path, monkeypatch):
    class Full(io.FileIO):
        def write(self, data):
            if b"too much" in bytes(data):
                super().write(bytes(data)[:5])
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return super().write(data)

    monkeypatch.setattr(io, "FileIO", Full)
    with Journal(tmp_path / "j", IDENTITY) as journal:
        journal.add(1, "a")
        with pytest.raises(JobError, match=r"No space left on device; 1 finished images are kept"):
            journal.add(2, "too much")
        journal.add(3, "c")
    monkeypatch.undo()
    assert content_of(tmp_path / "j") == {1: "a", 3: "c"}


def test_a_journal_that_cannot_be_written_is_a_failed_job(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(JobError, match="cannot write"):
        Journal(tmp_path / "file" / "j", IDENTITY)


def test_it_lies_beside_what_will_be_written_and_is_removed(tmp_path):
    path = unfinished_path(tmp_path / "labels.json")
    assert path == tmp_path / "labels.json.unfinished"
    filled(path, {1: "a"})
    with Journal(path, IDENTITY) as journal:
        journal.remove()
    assert list(tmp_path.iterdir()) == []


def test_the_digest_of_files_follows_names_order_lengths_and_times(tmp_path):
    for name in "ab":
        (tmp_path / name).write_text("x")
    first = files_digest(["a", "b"], tmp_path)
    assert files_digest(["a", "b"], tmp_path) == first
    assert files_digest(["b", "a"], tmp_path) != first
    os.utime(tmp_path / "a", ns=(0, 5))
    later = files_digest(["a", "b"], tmp_path)
    assert later != first
    (tmp_path / "b").unlink()
    assert files_digest(["a", "b"], tmp_path) not in (first, later)
