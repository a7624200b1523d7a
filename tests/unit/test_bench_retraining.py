"""Mask R-CNN on labels: what it is shown, and that an interrupted training ends the same."""

import numpy as np
import pytest
import torch

from sapnet.bench import retraining
from sapnet.bench.data import training_data
from sapnet.bench.mask_rcnn import RatedParts, build_mask_rcnn
from sapnet.bench.retraining import mask_rcnn_figures
from sapnet.bench.trainings import with_fixed
from sapnet.data.annotations import load_instances, load_points
from sapnet.labels.label import top_score_picks
from sapnet.proposals.store import ProposalStore
from training_builders import tiny_config, write_tiny_data

CONFIG = tiny_config(
    training={"epochs": 2, "selection_warmup_epochs": 0, "checkpoint_steps": 1},
    data={"flip_probability": 0.5},
)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return write_tiny_data(tmp_path_factory.mktemp("tiny") / "data", num_images=2, clicks_per_image=1)


@pytest.fixture(autouse=True)
def few_regions(monkeypatch):
    monkeypatch.setattr("sapnet.bench.mask_rcnn._PROPOSED_REGIONS", 8)
    monkeypatch.setattr("sapnet.bench.mask_rcnn._SAMPLED_REGIONS", 8)


@pytest.fixture
def learned(tiny):
    points = load_points(tiny.points)

    class Bench:
        images = tiny.images

    data = training_data(Bench, points, ProposalStore.open(tiny.store, points))
    return with_fixed(data, top_score_picks(points))


def test_boxes_are_mirrored_with_their_masks(tiny):
    instances = load_instances(tiny.instances)
    always = CONFIG.model_copy(update={"data": CONFIG.data.model_copy(update={"flip_probability": 1.0})})
    generator = torch.Generator().manual_seed(0)
    for config in (CONFIG, always):
        shown = retraining._Labelled(instances, tiny.images, config)
        image, target = shown.sample(0, generator)
        assert image.shape == (3, 64, 64)
        assert 0 <= image.min() <= image.max() <= 1
        rows, columns = np.nonzero(target["masks"][0].numpy())
        tight = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert target["boxes"][0].tolist() == pytest.approx(tight)
        assert target["labels"].tolist() == [int(instances.annotation_labels[0]) + 1]


def test_the_backbone_has_its_own_learning_rate():
    model = build_mask_rcnn(CONFIG, num_classes=2)
    parts = RatedParts(model)
    assert len(list(parts.parameters())) == len(list(model.parameters()))
    stages = {id(item) for item in parts.backbone.parameters()}
    pyramid = {id(item) for item in model.backbone.pyramid.parameters()}
    assert stages and pyramid and not stages & pyramid


def test_an_interrupted_training_ends_at_the_same_network(learned, tiny, tmp_path, monkeypatch):
    validation = load_instances(tiny.instances)
    seen = []

    def remember(model, *_arguments, **_options):
        seen.append({name: value.clone() for name, value in model.state_dict().items()})
        return []

    monkeypatch.setattr(retraining, "segment_image", remember)
    figures = mask_rcnn_figures(learned, validation, CONFIG, tmp_path / "whole", quiet=True)
    assert figures["AP"] == 0
    step, calls = retraining._step, []

    def stop_once(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return step(*arguments)

    monkeypatch.setattr(retraining, "_step", stop_once)
    with pytest.raises(KeyboardInterrupt):
        mask_rcnn_figures(learned, validation, CONFIG, tmp_path / "parts", quiet=True)
    assert list((tmp_path / "parts").glob("mask-rcnn-seed-0-*/checkpoints/*.pt"))
    mask_rcnn_figures(learned, validation, CONFIG, tmp_path / "parts", quiet=True)
    assert not list((tmp_path / "parts").glob("*/checkpoints"))
    for name, value in seen[0].items():
        assert torch.equal(value, seen[-1][name]), name
