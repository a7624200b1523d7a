"""Samples and batches: complete, reproducible, independent of their neighbours."""

from __future__ import annotations

from dataclasses import fields, replace
from functools import partial

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from data_builders import (
    FakeStore,
    box_mask,
    click,
    image_entry,
    point_set,
    proposals,
    training_dataset,
    write_image,
)
from sapnet.data.collate import collate, on_canvas, pad_images
from sapnet.data.dataset import PredictionDataset, image_generator
from sapnet.errors import DataError
from sapnet.structures import ProposalBags

SIZE = (48, 64)
IMAGES = [image_entry(1, "a.png"), image_entry(2, "b.png", (64, 40)), image_entry(3, "empty.png")]
CLICKS = [
    click(11, (10, 10), 1),
    click(12, (40, 12), 1),
    click(13, (12, 40), 1, 7),
    click(21, (20, 30), 2),
]
batch_of = partial(collate, size_divisor=32, mask_stride=4)


def store():
    whole = box_mask(SIZE, 0, 0, 64, 48)
    return FakeStore(
        {
            1: proposals(
                1,
                SIZE,
                {
                    12: [(box_mask(SIZE, 36, 8, 46, 18), 0.5)],
                    11: [
                        (box_mask(SIZE, 4, 4, 16, 16), 0.2),
                        (box_mask(SIZE, 4, 4, 44, 16), 0.9),
                        (box_mask(SIZE, 9, 9, 12, 12), 0.1),
                        (whole, 0.4),
                    ],
                },
            ),
            2: proposals(2, (64, 40), {21: [(box_mask((64, 40), 10, 20, 30, 40), 0.7)]}),
        }
    )


@pytest.fixture
def dataset(tmp_path):
    for entry in IMAGES:
        write_image(tmp_path / entry["file_name"], (entry["height"], entry["width"]), seed=entry["id"])
    return partial(training_dataset, point_set(CLICKS, images=IMAGES), tmp_path, store())


def tensors(structure):
    return {field.name: getattr(structure, field.name) for field in fields(structure)}


def assert_same_bags(one: ProposalBags, other: ProposalBags):
    for name, value in tensors(one).items():
        assert torch.equal(value, getattr(other, name)), name


def test_bags_hold_the_best_scores_first_and_follow_the_order_of_the_clicks(dataset):
    sample = dataset(training=False, short_sides=(48,))[0]
    assert sample.bags.scores.tolist() == [
        pytest.approx([0.9, 0.4, 0.2]),
        pytest.approx([0.5, 0, 0]),
        [0, 0, 0],
    ]
    assert sample.bags.valid.tolist() == [[True] * 3, [True, False, False], [False] * 3]
    assert sample.bags.boxes[0].tolist() == [[4, 4, 44, 16], [0, 0, 64, 48], [4, 4, 16, 16]]
    assert sample.bags.area[0].tolist() == [480, 3072, 144]
    assert sample.bags.masks.shape == (3, 3, 12, 16)


def test_only_clicks_of_the_same_class_count_as_covered(dataset):
    bags = dataset(training=False, short_sides=(48,))[0].bags
    # The click of the dog lies under the whole image's mask, but is of another class.
    distance = np.hypot(30, 2)
    assert bags.covered_points[0].tolist() == [True, True, False]
    assert bags.covered_distance[0].tolist() == pytest.approx([distance, distance, 0])
    assert not bags.covered_points[1].any()


def test_distances_and_areas_scale_with_the_picture(dataset):
    plain = dataset(training=False, short_sides=(48,))[0].bags
    doubled = dataset(training=False, short_sides=(96,), max_long_side=256)[0].bags
    assert torch.allclose(doubled.covered_distance, 2 * plain.covered_distance)
    assert torch.allclose(doubled.area, 4 * plain.area)
    assert torch.allclose(doubled.boxes, 2 * plain.boxes)
    assert torch.equal(doubled.covered_points, plain.covered_points)


def test_an_image_without_clicks_is_a_sample_without_prompts_and_needs_no_store(dataset):
    data = dataset()
    sample = data[2]
    assert sample.prompts.xy.shape == (0, 2)
    assert sample.bags.valid.shape == (0, 1)
    assert sample.part_draws.shape == (0, 2, 4)
    assert data.store.asked == []


def test_only_the_images_own_bag_is_read(dataset):
    data = dataset()
    data[1]
    assert data.store.asked == [2]


def test_a_sample_depends_on_seed_epoch_and_image_alone(dataset):
    data, again = dataset(), dataset()
    data[2], data[1]
    first, second = data[0], again[0]
    assert torch.equal(first.image, second.image)
    assert torch.equal(first.background_draws, second.background_draws)
    assert torch.equal(first.part_draws, second.part_draws)
    assert_same_bags(first.bags, second.bags)
    data.set_epoch(1)
    assert not torch.equal(data[0].background_draws, first.background_draws)
    assert not torch.equal(dataset(seed=1)[0].background_draws, first.background_draws)


def test_sizes_and_flips_vary_over_epochs_in_training_only(dataset):
    data, still = dataset(), dataset(training=False)
    seen, fixed = set(), set()
    for epoch in range(12):
        data.set_epoch(epoch)
        still.set_epoch(epoch)
        moved = data[1]
        mirrored = bool(moved.prompts.xy[0, 0] * 2 > moved.image.shape[2] + 1e-3)
        seen.add((moved.image.shape[1:], float(moved.prompts.xy[0, 0]), mirrored))
        fixed.add((still[1].image.shape[1:], float(still[1].prompts.xy[0, 0])))
    assert len({size for size, _, _ in seen}) == 3
    assert fixed == {(torch.Size([38, 24]), 12.0)}


def test_flipping_moves_clicks_boxes_and_masks_with_the_picture(dataset):
    plain = dataset(flip_probability=0.0, short_sides=(48,))[0]
    flipped = dataset(flip_probability=1.0, short_sides=(48,))[0]
    assert torch.allclose(plain.image.flip(-1), flipped.image)
    assert torch.allclose(64 - plain.prompts.xy[:, 0], flipped.prompts.xy[:, 0])
    assert torch.equal(plain.bags.masks.flip(-1), flipped.bags.masks)
    assert torch.equal(plain.bags.covered_distance, flipped.bags.covered_distance)


def test_an_unreadable_image_is_named(dataset, tmp_path):
    data = dataset()
    (tmp_path / "a.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"a\.png"):
        data[0]


def test_an_image_of_another_size_is_refused(dataset, tmp_path):
    data = dataset()
    write_image(tmp_path / "a.png", (50, 64))
    with pytest.raises(DataError, match=r"a\.png \(image id 1\): is 64 x 50 pixels .* says 64 x 48"):
        data[0]


def test_proposals_of_another_size_are_refused(dataset):
    data = dataset()
    data.store.content[1] = proposals(1, (24, 32), {11: [(np.ones((24, 32), dtype=bool), 1)]})
    with pytest.raises(DataError, match="proposals were made at 32 x 24"):
        data[0]


def test_proposals_of_other_annotations_are_left_out(dataset):
    data = dataset()
    data.store.content[2] = proposals(2, (64, 40), {99: [(np.ones((64, 40), dtype=bool), 1)]})
    assert not data[1].bags.valid.any()


def test_a_batch_of_two_is_two_batches_of_one(dataset):
    data = dataset()
    samples = [data[0], data[1]]
    both, alone = batch_of(samples), [batch_of([sample]) for sample in samples]
    start = 0
    for index, single in enumerate(alone):
        height, width = single.image_sizes[0].tolist()
        assert both.image_sizes[index].tolist() == [height, width]
        assert torch.equal(both.images[index, :, :height, :width], single.images[0, :, :height, :width])
        assert both.images[index, :, height:].abs().sum() == 0
        assert torch.equal(both.background_draws[index], single.background_draws[0])
        count, slots = single.bags.valid.shape
        rows = slice(start, start + count)
        assert (both.prompts.image_index[rows] == index).all()
        for name in ("xy", "labels", "annotation_ids"):
            assert torch.equal(getattr(both.prompts, name)[rows], getattr(single.prompts, name))
        assert torch.equal(both.part_draws[rows], single.part_draws)
        for name, value in tensors(single.bags).items():
            part = getattr(both.bags, name)[rows, :slots]
            if name == "masks":
                tall, wide = min(part.shape[2], value.shape[2]), min(part.shape[3], value.shape[3])
                assert part.sum() == value.sum()
                part, value = part[..., :tall, :wide], value[..., :tall, :wide]
            assert torch.equal(part, value), name
        assert not both.bags.valid[rows, slots:].any()
        start += count
    assert both.image_ids == (1, 2)
    assert both.file_names == ("a.png", "b.png")


def test_the_mask_canvas_is_the_padded_size_over_the_stride(dataset):
    data = dataset()
    batch = batch_of([data[0], data[2], data[1]])
    assert batch.images.shape[-1] % 32 == batch.images.shape[-2] % 32 == 0
    assert batch.bags.masks.shape[-2:] == (batch.images.shape[-2] // 4, batch.images.shape[-1] // 4)
    assert batch.prompts.image_index.tolist() == [0, 0, 0, 2]


def test_a_batch_on_a_larger_canvas_is_what_it_is_beside_a_larger_image(dataset):
    data = dataset()
    alone = batch_of([data[0]])
    beside = batch_of([data[0], replace(data[2], image=torch.zeros(3, 96, 128))])
    grown = on_canvas(alone, (96, 128))
    assert grown.images.shape[-2:] == beside.images.shape[-2:]
    assert torch.equal(grown.images, beside.images[:1])
    assert torch.equal(grown.bags.masks, beside.bags.masks)
    assert torch.equal(grown.image_sizes, alone.image_sizes)
    assert on_canvas(alone, tuple(alone.images.shape[-2:])) is alone
    for size in ((96, 100), (32, 32)):
        with pytest.raises(ValueError, match="no canvas"):
            on_canvas(alone, size)


def test_a_batch_without_any_click_is_legal(dataset):
    batch = batch_of([dataset()[2]])
    assert batch.bags.boxes.shape == (0, 1, 4)
    assert batch.part_draws.shape == (0, 2, 4)


def test_collating_nothing_or_with_a_wrong_divisor_is_an_error(dataset):
    with pytest.raises(ValueError, match="at least one"):
        batch_of([])
    with pytest.raises(ValueError, match="multiple"):
        collate([dataset()[2]], size_divisor=30, mask_stride=4)
    assert pad_images([torch.ones(3, 5, 9)], size_divisor=8)[0].shape == (1, 3, 8, 16)


def test_worker_processes_see_the_epoch_and_give_the_same_samples(dataset):
    data = dataset()
    loader = DataLoader(data, batch_size=2, collate_fn=batch_of, num_workers=1, persistent_workers=True)
    for epoch in (0, 1):
        data.set_epoch(epoch)
        batches = list(loader)
        assert torch.equal(batches[0].images, batch_of([data[0], data[1]]).images)


def test_a_thousand_clicks_on_one_image_work(tmp_path):
    write_image(tmp_path / "a.png")
    places = np.random.default_rng(0).uniform(0, 48, (1000, 2))
    bags = {
        i: [(box_mask(SIZE, 0, 0, 1 + i % 64, 40), 0.5), (box_mask(SIZE, 0, 0, 64, 48), 1)]
        for i in range(1000)
    }
    points = point_set([click(i, place) for i, place in enumerate(places.tolist())])
    sample = training_dataset(points, tmp_path, FakeStore({1: proposals(1, SIZE, bags)}))[0]
    assert sample.bags.valid.shape == (1000, 2)
    assert sample.bags.covered_points[:, 0].all()


def test_prediction_images_keep_their_way_back(tmp_path):
    write_image(tmp_path / "a.png", (50, 100))
    data = PredictionDataset(
        [tmp_path / "a.png"], short_side=25, max_long_side=40, mean=(0,) * 3, std=(1,) * 3
    )
    item = data[0]
    assert len(data) == 1
    assert item.image.shape == (3, 20, 40)
    assert item.geometry.original_size == (50, 100)
    assert item.geometry.area_scale == pytest.approx(0.16)
    assert item.path == tmp_path / "a.png"
    with pytest.raises(DataError, match=r"none\.png"):
        PredictionDataset(
            [tmp_path / "none.png"], short_side=2, max_long_side=4, mean=(0,) * 3, std=(1,) * 3
        )[0]


def test_image_generators_differ_by_every_one_of_their_keys():
    states = [
        image_generator(*key).initial_seed()
        for key in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 0, -1)]
    ]
    assert len(set(states)) == 5
