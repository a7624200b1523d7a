"""Data and training of the boundary network."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from proposal_builders import box_mask, document, instance
from sapnet.data.instances import instances_from_json
from sapnet.errors import CheckpointError, DataError
from sapnet.proposals.builtin.boundary_data import BoundaryCrops, object_photographs, region_photographs
from sapnet.proposals.builtin.boundary_training import train_boundaries
from sapnet.proposals.builtin.strides import OBJECT_CHANNEL, REGION_CHANNEL
from sapnet.proposals.builtin.training_loop import TrainingSettings, rate_factor

SETTINGS = TrainingSettings(steps=2, batch_size=1, checkpoint_steps=1, log_steps=1)


@pytest.fixture
def photographs(tmp_path, rng):
    regions, objects = tmp_path / "regions", tmp_path / "objects"
    for folder in (regions, objects):
        folder.mkdir()
    pixels = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(regions / "1.jpg")
    labels = np.zeros((48, 64), dtype=np.uint8)
    labels[:, 30:] = 1
    Image.fromarray(labels).save(regions / "1.seg0.png")
    Image.fromarray(pixels).save(objects / "a.png")
    masks = instances_from_json(document([instance(1, box_mask((48, 64), 10, 10, 40, 40))]), "i.json")
    return region_photographs([regions]), object_photographs(masks, objects, np.array([True]))


def crops_of(pools, seed=0):
    return BoundaryCrops(pools, [0.5, 0.5], side=32, seed=seed)


def test_a_crop_depends_on_its_number_and_the_seed_alone(photographs):
    first, second = crops_of(photographs), crops_of(photographs)
    second[3]
    assert np.array_equal(first[5].image, second[5].image)
    assert np.array_equal(first[5].targets.boundary, second[5].targets.boundary)
    assert not np.array_equal(first[5].image, crops_of(photographs, seed=1)[5].image)


def test_crops_come_from_all_pools(photographs):
    weights = np.array(
        [
            crop.targets.boundary_weight.max((1, 2))
            for crop in map(crops_of(photographs).__getitem__, range(12))
        ]
    )
    assert weights[:, REGION_CHANNEL].max() == weights[:, OBJECT_CHANNEL].max() == 1
    assert (weights.sum(1) <= 1).all()


def test_missing_segments_are_all_named(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "bare").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "bare" / "7.jpg")
    with pytest.raises(DataError) as caught:
        region_photographs([tmp_path / "empty", tmp_path / "bare"])
    assert "empty" in str(caught.value)
    assert "7.seg0.png" in str(caught.value)


def test_a_resumed_training_ends_like_an_uninterrupted_one(photographs, tmp_path):
    crops = crops_of(photographs)
    whole = train_boundaries(crops, tmp_path / "whole", SETTINGS, pretrained=False)

    class Killed(Exception):
        pass

    def kill(line):
        if line["step"] == 2:
            raise Killed

    with pytest.raises(Killed):
        train_boundaries(crops, tmp_path / "parts", SETTINGS, pretrained=False, report=kill)
    parts = train_boundaries(crops, tmp_path / "parts", SETTINGS, pretrained=False)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, parts.state_dict()[name]), name
    lines = [json.loads(line) for line in (tmp_path / "parts" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2]


def test_other_settings_do_not_continue_a_training(photographs, tmp_path):
    done = TrainingSettings(steps=0, batch_size=1)
    train_boundaries(crops_of(photographs), tmp_path, done, pretrained=False)
    torch.save({"settings": {}}, tmp_path / "checkpoint.pt")
    with pytest.raises(CheckpointError, match="not a checkpoint of this training"):
        train_boundaries(crops_of(photographs), tmp_path, done, pretrained=False)


def test_the_rate_rises_and_falls():
    settings = TrainingSettings(steps=100, warmup_steps=10)
    factors = [rate_factor(step, settings) for step in range(100)]
    assert factors[0] == pytest.approx(0.1)
    assert np.argmax(factors) == 9
    assert factors[-1] < 0.001


def test_a_label_map_of_another_size_is_named(photographs):
    regions, _ = photographs
    Image.fromarray(np.zeros((48, 60), dtype=np.uint8)).save(regions[0].segmentations[0])
    with pytest.raises(DataError, match=r"1\.seg0\.png"):
        BoundaryCrops([regions], [1.0], side=32, seed=0)[0]
