"""Damaged files of every format yield clear errors or valid points files, never a traceback."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from sapnet.importers.formats import FORMATS

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def harness():
    spec = importlib.util.spec_from_file_location("fuzz_importers", ROOT / "benchmarks" / "fuzz_importers.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_format_is_fuzzed(harness):
    assert set(harness.SOURCES) == set(FORMATS)


@pytest.mark.parametrize("name", FORMATS)
def test_damaged_files_yield_clear_errors(harness, name):
    result = harness.fuzz((name,), 40, seed=7)[name]
    assert result["failures"] == []
    assert result["accepted"] + result["refused"] == 40
