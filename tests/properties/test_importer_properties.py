"""Random points survive every pair of formats: written in one, imported, written in the other, imported."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from import_builders import clicks as clicks_of
from import_builders import import_file, make_image
from oracles.format_writers import WHOLE_PIXELS, WRITERS
from sapnet.importers.frames import Frame
from sapnet.importers.matching import ImageFolder
from sapnet.importers.sources import number_in_text

SIZES = {"a.png": (64, 48), "sub/b c.png": (7, 13), "empty.png": (5, 5)}
QUARTERS = st.builds(
    lambda name, x, y, label: (name, label, (x * SIZES[name][0] // 64 / 4, y * SIZES[name][1] // 48 / 4)),
    st.sampled_from(["a.png", "sub/b c.png"]),
    st.integers(0, 4 * 64 - 1),
    st.integers(0, 4 * 48 - 1),
    st.sampled_from(["cat", "big dog", "Ünï & <co>"]),
)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    for name, size in SIZES.items():
        make_image(folder / name, size)
    return folder


@pytest.fixture(scope="module")
def folder(images):
    return ImageFolder(images)


def passed_through(name, points, images, folder):
    """Write points in a format and import the file, its format detected."""
    folder.mkdir(parents=True, exist_ok=True)
    source, more = WRITERS[name](folder, points, SIZES)
    document, figures = import_file(source, images, folder / "points.out", **more)
    assert figures["format"] == name.split()[0]
    assert figures["left_out"] == []
    return [(file, label, xy) for file, label, xy, _, _ in clicks_of(document)]


def in_order(points):
    return sorted((name, label, round(x, 6), round(y, 6)) for name, label, (x, y) in points)


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    pair=st.sampled_from(sorted(itertools.permutations(WRITERS, 2))),
    points=st.lists(QUARTERS, min_size=1, max_size=5, unique=True),
)
def test_points_survive_a_pair_of_formats(tmp_path_factory, images, pair, points):
    folder = tmp_path_factory.mktemp("pair")
    if WHOLE_PIXELS & set(pair):
        points = list({(name, label, (x // 1, y // 1)): None for name, label, (x, y) in points})
    once = passed_through(pair[0], points, images, folder / "first")
    twice = passed_through(pair[1], once, images, folder / "second")
    assert in_order(once) == in_order(points)
    assert in_order(twice) == in_order(points)


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_carries_the_corners_of_an_image(tmp_path, images, name):
    points = [
        ("a.png", "cat", (0.0, 0.0)),
        ("a.png", "cat", (63.0, 47.0)),
        ("sub/b c.png", "dog", (6.0, 12.0)),
    ]
    assert in_order(passed_through(name, points, images, tmp_path)) == in_order(points)


@settings(max_examples=50, deadline=None)
@given(
    orientation=st.integers(1, 8),
    width=st.integers(1, 500),
    height=st.integers(1, 500),
    share=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_a_turned_point_stays_inside_and_units_agree(orientation, width, height, share):
    frame = Frame(width, height, orientation)
    x, y = frame.to_upright(*share, "fraction")
    assert 0 <= x <= width
    assert 0 <= y <= height
    assert frame.to_upright(share[0] * 100, share[1] * 100, "percent") == pytest.approx((x, y))
    stored = (height, width) if orientation >= 5 else (width, height)
    assert frame.to_upright(share[0] * stored[0], share[1] * stored[1], "pixel") == pytest.approx((x, y))


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(name=st.text("ab c.png/\\%?=d0123456789-ABü\0\ud800", max_size=20))
def test_any_name_can_be_asked_for(folder, name):
    match = folder.match(name)
    assert match.file is None or match.file in SIZES
    assert match.file is not None or match.text


@settings(max_examples=50, deadline=None)
@given(st.floats(allow_nan=True, allow_infinity=True))
def test_a_number_in_text_is_the_number_or_none(value):
    if value - value == 0:
        assert number_in_text(repr(value)) == value
    else:
        assert number_in_text(repr(value)) is None
