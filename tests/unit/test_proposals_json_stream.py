"""Large JSON files are read entry by entry and written atomically."""

from __future__ import annotations

import hashlib
import json
import os
import tracemalloc

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sapnet.errors import DataError, JobError
from sapnet.proposals import json_stream
from sapnet.proposals.json_stream import JsonScan, read_element, write_text_parts_atomic

DOCUMENT = {
    "info": {"a": [1, {"b": 'quo"te\\ ]}'}]},
    "none": None,
    "annotations": [{"id": 12, "x": [1.5e3, -2]}, 345, "é", [], {}, True, [[]]],
    "empty": [],
    "número": -12.25,
}

values = st.recursive(
    st.none() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=1), inner, max_size=2),
    max_leaves=6,
)


def written(tmp_path, text):
    path = tmp_path / "file.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def reread(path):
    """The document, put together from its elements, each read again at its place."""
    document = {}
    scan = JsonScan(path)
    with path.open("rb") as file:
        for element in scan:
            value = read_element(file, element.offset, element.length)
            if element.number is None:
                document[element.section] = value
            else:
                assert element.number == len(document.setdefault(element.section, []))
                document[element.section].append(value)
    for section in scan.sections:
        document.setdefault(section, [])
    return document


@pytest.mark.parametrize("chunk", [1, 2, 7, 1 << 20])
@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_the_elements_are_the_document_whatever_is_read_at_a_time(
    tmp_path, monkeypatch, chunk, indent, ascii_only
):
    monkeypatch.setattr(json_stream, "_CHUNK", chunk)
    text = json.dumps(DOCUMENT, indent=indent, ensure_ascii=ascii_only)
    found = reread(written(tmp_path, f" \n{text}\n"))
    # Keys are only compared where they are plain.
    del found[next(key for key in found if key.startswith("n") and key != "none")]
    assert found == {key: value for key, value in DOCUMENT.items() if key != "número"}


@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.text("abc", min_size=1), values, max_size=4), st.integers(1, 9))
def test_random_documents_survive(tmp_path, monkeypatch, document, chunk):
    monkeypatch.setattr(json_stream, "_CHUNK", chunk)
    assert reread(written(tmp_path, json.dumps(document))) == document


def test_the_digest_is_that_of_the_file_each_time(tmp_path, monkeypatch):
    monkeypatch.setattr(json_stream, "_CHUNK", 5)
    path = written(tmp_path, json.dumps(DOCUMENT))
    scan = JsonScan(path)
    for _ in range(2):
        assert len(list(scan)) == 10
        assert scan.digest == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_byte_order_mark_is_stepped_over(tmp_path):
    assert reread(written(tmp_path, b'\xef\xbb\xbf{"a": [1, 2]}')) == {"a": [1, 2]}


def test_not_a_number_reads_as_nothing(tmp_path):
    assert reread(written(tmp_path, '{"a": [NaN, {"b": Infinity}]}')) == {"a": [None, {"b": None}]}


@pytest.mark.parametrize("chunk", [3, 1 << 20])
def test_a_file_that_is_cut_off_anywhere_is_refused(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(json_stream, "_CHUNK", chunk)
    text = json.dumps(DOCUMENT)
    for end in range(0, len(text), 2):
        with pytest.raises(DataError, match=r"not valid JSON at byte \d+"):
            list(JsonScan(written(tmp_path, text[:end])))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "byte 0: the file seems cut off"),
        ("[1]", "byte 0: found '[', expected '{'"),
        ('{"a": [1 2]}', "byte 9: found '2', expected ',' or ']'"),
        ('{"a": 1,}', "byte 8: found '}', expected '\"'"),
        ('{"a": 1} {', "byte 9: there is something after"),
        ('{"a": [' + "x" * 100 + "]}", "byte 7: Expecting value"),
        ('{"a": [' + "9" * 5000 + "]}", "byte 7: Exceeds"),
        ('{"a": [{"b": ' + "[" * 200_000, "nested too deeply"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path, text, message):
    with pytest.raises(DataError) as caught:
        list(JsonScan(written(tmp_path, text)))
    assert message in str(caught.value)


def test_a_missing_file_is_named_with_its_nearest_neighbour(tmp_path):
    (tmp_path / "proposals.json").write_text("{}")
    with pytest.raises(DataError, match=r"did you mean 'proposals.json'"):
        list(JsonScan(tmp_path / "proposal.json"))
    with pytest.raises(DataError, match="cannot be read"):
        list(JsonScan(tmp_path))


def test_memory_is_that_of_an_entry_and_not_of_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(json_stream, "_CHUNK", 1 << 14)
    path = written(tmp_path, '{"a": [' + ",".join(['{"text": "' + "x" * 1000 + '"}'] * 4000) + "]}")
    tracemalloc.start()
    assert sum(1 for _ in JsonScan(path)) == 4000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 500_000 < path.stat().st_size


def test_parts_are_written_one_after_the_other(tmp_path):
    path = tmp_path / "new" / "file.json"
    write_text_parts_atomic(path, (f"é{i}\n" for i in range(3)))
    assert path.read_bytes() == "é0\né1\né2\n".encode()
    assert [item.name for item in path.parent.iterdir()] == ["file.json"]


def test_an_error_in_a_part_leaves_the_old_file(tmp_path):
    def parts():
        yield "new"
        raise DataError("store", ["damaged"])

    path = written(tmp_path, "old")
    with pytest.raises(DataError):
        write_text_parts_atomic(path, parts())
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    def full(_descriptor):
        raise OSError(28, os.strerror(28))

    path = written(tmp_path, "old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(JobError, match="No space left"):
        write_text_parts_atomic(path, ["new"])
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1
