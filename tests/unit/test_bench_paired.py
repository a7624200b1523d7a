"""Paired differences: the same seeds and images, and an interval over images."""

import numpy as np
import pytest

from oracles import bootstrap
from sapnet.bench import paired
from sapnet.bench.paired import ImageSums, bootstrap_interval, paired_difference


def overlaps(random, *, seeds, images, gain=0.0):
    return {
        seed: {image: (random.uniform(0, 0.8, 1 + image % 3) + gain).tolist() for image in images}
        for seed in seeds
    }


def summed(table):
    return {
        seed: ImageSums.of(
            [image for image, values in images.items() for _ in values],
            [value for values in images.values() for value in values],
        )
        for seed, images in table.items()
    }


def test_overlaps_are_added_up_by_image():
    found = ImageSums.of([7, 3, 7], [0.5, 0.25, 0.125])
    assert found.image_ids.tolist() == [3, 7]
    assert found.sums.tolist() == [0.25, 0.625]
    assert found.objects.tolist() == [1, 2]


@pytest.mark.parametrize("case", ["the same", "other images", "other seeds"])
def test_difference_and_interval_are_those_of_the_slow_way(case, monkeypatch):
    monkeypatch.setitem(bootstrap_interval.__kwdefaults__, "resamples", 1200)
    random = np.random.default_rng(3)
    ours = overlaps(random, seeds=(0, 1), images=range(9))
    theirs = overlaps(
        random,
        seeds=(1, 2) if case == "other seeds" else (0, 1),
        images=range(4, 12) if case == "other images" else range(9),
    )
    found = paired_difference(summed(ours), summed(theirs), seed=5)
    assert found.mean == pytest.approx(bootstrap.paired_mean(ours, theirs))
    expected = bootstrap.interval(ours, theirs, seed=5, resamples=1200)
    assert (found.low, found.high) == pytest.approx(expected)
    assert len(found.values) == (1 if case == "other seeds" else 2)
    assert found.images == (5 if case == "other images" else 9)


def test_images_of_which_not_the_same_objects_were_judged_are_left_out():
    ours = {0: ImageSums.of([1, 1, 2], [0.5, 0.5, 0.75])}
    theirs = {0: ImageSums.of([1, 2], [0.0, 0.5])}
    found = paired_difference(ours, theirs)
    assert (found.mean, found.images) == (0.25, 1)


def test_rows_without_a_common_seed_or_image_have_no_difference():
    one = ImageSums.of([1], [0.5])
    assert paired_difference({0: one}, {1: one}) is None
    assert paired_difference({0: one}, {0: ImageSums.of([2], [0.5])}) is None
    assert paired_difference({}, {0: one}) is None


def test_the_same_gain_everywhere_leaves_no_doubt():
    counts = np.array([1.0, 3.0, 2.0])
    assert bootstrap_interval(0.25 * counts, counts, seed=0) == pytest.approx((0.25, 0.25))


def test_the_interval_is_as_wide_as_theory_says():
    random = np.random.default_rng(0)
    gains = random.normal(0.02, 0.3, 400)
    low, high = bootstrap_interval(gains, np.ones(400), seed=1)
    half = 1.96 * gains.std() / 20
    assert low == pytest.approx(gains.mean() - half, abs=0.1 * half)
    assert high == pytest.approx(gains.mean() + half, abs=0.1 * half)


def test_kept_drawings_change_nothing(monkeypatch):
    random = np.random.default_rng(2)
    gains, counts = random.normal(size=50), random.integers(1, 9, 50).astype(float)
    kept = [bootstrap_interval(gains, counts, seed=3) for _ in range(2)]
    monkeypatch.setattr(paired, "_KEPT_VALUES", 0)
    assert kept == [bootstrap_interval(gains, counts, seed=3)] * 2
    assert bootstrap_interval(gains, counts, seed=4) != kept[0]
