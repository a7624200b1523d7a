"""The clicks of a benchmark's rows: drawn anew, moved, of wrong classes, fewer; nested for one seed."""

from dataclasses import replace

import numpy as np
import pytest

from sapnet.bench.clicks import clicks_of
from sapnet.bench.rows import Clicks
from sapnet.data.annotations import load_instances, load_points
from sapnet.data.rle import decode_masks
from sapnet.errors import DataError
from training_builders import write_tiny_data


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    tiny = write_tiny_data(tmp_path_factory.mktemp("tiny") / "data", num_images=12, clicks_per_image=3)
    return load_points(tiny.points), load_instances(tiny.instances)


def test_the_clicks_of_the_data_set_are_left_alone(data):
    assert clicks_of(*data, Clicks(), seed=0) is data[0]


@pytest.mark.parametrize("kind", ["center", "random"])
def test_clicks_drawn_anew_lie_on_their_objects_and_keep_their_ids(data, kind):
    points, instances = data
    found = clicks_of(points, instances, Clicks(kind=kind), seed=1)
    assert found.annotation_ids.tolist() == points.annotation_ids.tolist()
    assert found.digest != points.digest
    for row, (x, y) in enumerate(found.xy):
        mask = decode_masks([instances.counts[row]], (64, 64))[0]
        assert mask[int(y), int(x)]


def test_clicks_in_another_order_than_the_ground_truth_get_their_own_point(data):
    points, instances = data
    order = np.arange(len(points))[::-1].copy()
    turned = replace(
        points,
        annotation_ids=points.annotation_ids[order],
        annotation_image_index=points.annotation_image_index[order],
        annotation_labels=points.annotation_labels[order],
        xy=points.xy[order],
    )
    wanted = Clicks(kind="random")
    assert (
        clicks_of(turned, instances, wanted, seed=2).xy[order] == clicks_of(*data, wanted, seed=2).xy
    ).all()


def test_more_noise_moves_the_same_clicks_further_the_same_way(data):
    points = data[0]
    little, much = (clicks_of(*data, Clicks(noise=share), seed=0).xy for share in (0.02, 0.04))
    assert much - points.xy == pytest.approx(2 * (little - points.xy))
    assert np.abs(clicks_of(*data, Clicks(noise=50.0), seed=0).xy).max() < 64


def test_noise_is_a_share_of_the_object_s_size(data):
    moved = clicks_of(*data, Clicks(noise=0.01), seed=0).xy - data[0].xy
    # All objects are 22 x 20 pixels: the deviation is 1 % of the root of the area.
    assert np.std(moved) == pytest.approx(0.01 * np.sqrt(440), rel=0.25)


def test_more_wrong_classes_contain_the_fewer_and_none_is_the_right_one(data):
    points = data[0]
    few, many = (clicks_of(*data, Clicks(wrong_classes=share), seed=0) for share in (0.2, 0.6))
    wrong_few = few.annotation_labels != points.annotation_labels
    wrong_many = many.annotation_labels != points.annotation_labels
    assert 0 < wrong_few.sum() < wrong_many.sum()
    assert wrong_many[wrong_few].all()
    everything = clicks_of(*data, Clicks(wrong_classes=1.0), seed=0)
    assert (everything.annotation_labels != points.annotation_labels).all()
    assert set(everything.annotation_labels.tolist()) == {0, 1}


def test_one_class_cannot_be_wrong(data):
    points = replace(data[0], categories=data[0].categories[:1])
    with pytest.raises(DataError, match="one class only"):
        clicks_of(points, data[1], Clicks(wrong_classes=0.1), seed=0)


def test_the_images_of_a_seed_are_nested_and_those_of_another_seed_are_others(data):
    sizes = (1 / 12, 1 / 4, 1 / 2)
    sets = [set(clicks_of(*data, Clicks(images=share), seed=0).images.ids.tolist()) for share in sizes]
    assert [len(ids) for ids in sets] == [1, 3, 6]
    assert sets[0] < sets[1] < sets[2]
    other = set(clicks_of(*data, Clicks(images=1 / 2), seed=1).images.ids.tolist())
    assert other != sets[2]
    half = clicks_of(*data, Clicks(images=1 / 2), seed=0)
    assert len(half) == 18


def test_clicks_without_ground_truth_are_named(data):
    points = replace(data[0], annotation_ids=data[0].annotation_ids + 100)
    with pytest.raises(DataError, match="no instance"):
        clicks_of(points, data[1], Clicks(kind="center"), seed=0)
    with pytest.raises(DataError, match="no instance of click 101"):
        clicks_of(points, data[1], Clicks(noise=0.1), seed=0)
