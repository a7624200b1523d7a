"""Crops, batches and training of the segmenter's class-agnostic start, and the file it leaves."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open

from proposal_builders import box_mask, document, instance
from sapnet.build import build_model
from sapnet.data.instances import instances_from_json
from sapnet.pretraining.crop_losses import crop_losses, stack_crops
from sapnet.pretraining.crops import ObjectCrop, ObjectCrops
from sapnet.pretraining.start_file import save_start
from sapnet.pretraining.training import train_segmenter
from sapnet.proposals.builtin.boundary_data import object_photographs
from sapnet.proposals.builtin.training_loop import TrainingSettings
from training_builders import tiny_config

SIZE = (48, 64)
SIDE = 64
SETTINGS = TrainingSettings(steps=3, batch_size=2, checkpoint_steps=1, log_steps=1)


@pytest.fixture
def photographs(tmp_path, rng):
    """One photograph, once with all its objects labelled and a crowd, once with one labelled object."""
    Image.fromarray(rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    one, other = box_mask(SIZE, 10, 10, 30, 40), box_mask(SIZE, 36, 12, 60, 30)
    crowd = instance(2, other) | {"iscrowd": 1}
    whole = instances_from_json(document([instance(1, one), crowd]), "i.json")
    alone = instances_from_json(document([instance(1, one)]), "i.json")
    return [
        object_photographs(masks, tmp_path, np.array([complete]))
        for masks, complete in ((whole, True), (alone, False))
    ]


def crops_of(pools, seed=0):
    return ObjectCrops(pools, [1.0] * len(pools), side=SIDE, seed=seed)


def tiny_network(frozen=4, classes=1):
    torch.manual_seed(0)
    config = tiny_config(model={"backbone": {"frozen_stages": frozen}})
    return build_model(config.model, num_classes=classes, mask_stride=4)


def crop_with(masks, known=1.0):
    """A gray crop with given shares of cells."""
    masks = np.asarray(masks, dtype=np.float32).reshape(-1, 16, 16)
    return ObjectCrop(
        np.full((SIDE, SIDE, 3), 127, dtype=np.uint8), masks, np.full((16, 16), known, dtype=np.float32)
    )


def test_a_crop_depends_on_its_number_and_the_seed_alone(photographs):
    first, second = crops_of(photographs), crops_of(photographs)
    second[3]
    for name in ("image", "masks", "known"):
        assert np.array_equal(getattr(first[5], name), getattr(second[5], name))
    assert not np.array_equal(first[5].image, crops_of(photographs, seed=1)[5].image)


def test_all_is_known_of_a_completely_labelled_photograph_but_its_crowds(photographs):
    for crop in map(crops_of(photographs[:1]).__getitem__, range(8)):
        assert set(np.unique(crop.known * 16 % 1)) == {0}
        assert crop.known.max() == 1
        # The crowd takes up a seventh of the photograph.
        assert 0.4 < crop.known.mean() < 1
        assert (crop.known[crop.masks.max(0, initial=0) == 1] == 1).all()


def test_beside_a_lone_object_little_and_away_from_it_nothing_is_known(photographs):
    for crop in map(crops_of(photographs[1:]).__getitem__, range(8)):
        assert len(crop.masks) == 1
        assert (crop.known[crop.masks[0] == 1] == 1).all()
        ground = crop.known[crop.masks[0] == 0]
        assert 0 < ground.max() < 0.5
        assert ground.min() == 0


def test_a_cell_belongs_to_an_object_that_covers_half_of_it_and_no_object_is_lost():
    shares = np.zeros((2, 16, 16))
    shares[0, 2:4, 3:6] = 0.5
    shares[0, 4, 3:6] = 0.4
    shares[1, 7, 8], shares[1, 7, 9] = 0.2, 0.3
    batch = stack_crops([crop_with([]), crop_with(shares)])
    first, second = batch.labels.masks[:, 0]
    assert first.nonzero().tolist() == [[row, column] for row in (2, 3) for column in (3, 4, 5)]
    assert second.nonzero().tolist() == [[7, 9]]
    assert batch.labels.boxes.tolist() == [[12, 8, 24, 16], [36, 28, 40, 32]]
    assert batch.labels.image_index.tolist() == [1, 1]
    assert batch.images.shape == (2, 3, SIDE, SIDE)
    assert (batch.images == 0).all()


def test_losses_of_crops_without_objects_are_finite_and_reach_every_output():
    network = tiny_network()
    batch = stack_crops([crop_with([])] * 2)
    losses = crop_losses(network.segment(batch.images), batch, network.segmentation_sums)
    losses["total"].backward()
    assert losses["mask"].item() == 0 < losses["category"].item()
    assert all(p.grad.isfinite().all() for p in network.segmentation.parameters())


def test_without_any_knowledge_only_objects_have_a_category_loss():
    network = tiny_network()
    shares = np.zeros((16, 16))
    shares[2:9, 3:9] = 1

    def losses(*crops):
        batch = stack_crops(crops)
        return crop_losses(network.segment(batch.images), batch, network.segmentation_sums)

    assert losses(crop_with([], known=0.0))["category"].item() == 0
    unknown, known = losses(crop_with(shares, known=0.0)), losses(crop_with(shares))
    assert 0 < unknown["category"].item() < known["category"].item()
    assert unknown["mask"].item() == known["mask"].item()
    expected = known["category"] + 3 * known["mask"]
    assert known["total"].item() == pytest.approx(expected.item())


def test_a_resumed_training_ends_like_an_uninterrupted_one_and_leaves_the_rest_as_it_was(
    photographs, tmp_path
):
    crops, start = crops_of(photographs), tiny_network().state_dict()
    whole, killed, parts = tiny_network(), tiny_network(), tiny_network()
    train_segmenter(whole, crops, tmp_path / "whole", SETTINGS)

    class Killed(Exception):
        pass

    def kill(line):
        if line["step"] == 2:
            raise Killed

    with pytest.raises(Killed):
        train_segmenter(killed, crops, tmp_path / "parts", SETTINGS, report=kill)
    train_segmenter(parts, crops, tmp_path / "parts", SETTINGS)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, parts.state_dict()[name]), name
        if not name.startswith(("pyramid.", "segmentation.")):
            assert torch.equal(value, start[name]), name
    assert not torch.equal(
        whole.segmentation.category_output.weight, start["segmentation.category_output.weight"]
    )
    lines = [json.loads(line) for line in (tmp_path / "parts" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3]


def test_a_backbone_that_is_not_frozen_is_refused(photographs, tmp_path):
    with pytest.raises(ValueError, match="frozen_stages"):
        train_segmenter(tiny_network(frozen=3), crops_of(photographs), tmp_path, SETTINGS)
    assert not list(tmp_path.glob("*.pt"))


def test_no_steps_leave_the_network_as_it_was(photographs, tmp_path):
    network = tiny_network()
    train_segmenter(network, crops_of(photographs), tmp_path, replace(SETTINGS, steps=0))
    start = tiny_network().state_dict()
    assert all(torch.equal(value, start[name]) for name, value in network.state_dict().items())


def test_the_file_holds_the_two_parts_and_fits_the_network(tmp_path):
    network = tiny_network()
    save_start(tmp_path / "start.safetensors", network)
    with safe_open(tmp_path / "start.safetensors", "pt") as file:
        assert file.metadata() == {"format": "sapnet-segmenter-start", "classes": "1"}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    assert {name.split(".")[0] for name in tensors} == {"pyramid", "segmentation"}
    assert all((t.dtype == torch.float16) == (t.dim() > 1) for t in tensors.values() if t.is_floating_point())

    torch.manual_seed(1)
    other = build_model(tiny_config().model, num_classes=1, mask_stride=4)
    missing, unexpected = other.load_state_dict(tensors, strict=False)
    assert unexpected == []
    assert {name.split(".")[0] for name in missing} == {"backbone", "selection"}
    for name, value in network.state_dict().items():
        if name in tensors:
            torch.testing.assert_close(other.state_dict()[name], value, rtol=1e-3, atol=1e-4)
