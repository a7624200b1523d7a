"""One step after the other: batches without images, and what processes tell each other."""

from types import SimpleNamespace

import pytest
import torch
from torch.nn.utils import parameters_to_vector

from sapnet.build import build_dataset, build_model
from sapnet.data.annotations import load_points
from sapnet.data.collate import collate
from sapnet.engine import loop as module
from sapnet.engine.devices import make_accelerator
from sapnet.engine.loop import LoopState, TrainingLoop
from sapnet.engine.optimizer import build_optimizer
from sapnet.engine.step import StepRunner
from sapnet.proposals.store import ProposalStore
from training_builders import network_that_tells_apart, tiny_config, write_tiny_data


@pytest.fixture
def case(tmp_path):
    """A runner that accumulates two batches, and a batch of one image."""
    data = write_tiny_data(tmp_path / "tiny")
    config = tiny_config(optim={"accumulation_steps": 2})
    points = load_points(data.points)
    store = ProposalStore.open(data.store, points)
    dataset = build_dataset(config, points, data.images, store, training=False)
    torch.manual_seed(0)
    network = build_model(config.model, num_classes=2, mask_stride=4, pretrained=False)
    accelerator = make_accelerator(config)
    model, optimizer = accelerator.prepare(network, build_optimizer(config.optim, network, batch_size=2))
    return SimpleNamespace(
        runner=StepRunner(model, optimizer, config, accelerator=accelerator, num_steps=4),
        batch=collate([dataset[0]], size_divisor=32, mask_stride=4),
        weights=lambda: parameters_to_vector(network.parameters()).detach().clone(),
    )


def test_without_any_readable_image_there_is_no_update(case, monkeypatch):
    def refuse():
        raise AssertionError("No inf checks were recorded for this optimizer.")  # as the scaler of fp16

    monkeypatch.setattr(case.runner.optimizer, "step", refuse)
    start = case.weights()
    assert case.runner.run(None, 0, "joint") is None
    assert case.runner.run(None, 1, "joint") is None
    assert torch.equal(case.weights(), start)
    case.runner.run(case.batch, 2, "joint")
    with pytest.raises(AssertionError, match="inf checks"):
        case.runner.run(None, 3, "joint")


def bare_loop(**attributes):
    loop = TrainingLoop.__new__(TrainingLoop)
    vars(loop).update(attributes)
    return loop


def test_what_the_other_processes_left_out_is_told_and_kept(monkeypatch):
    told = []
    progress = SimpleNamespace(message=told.append)
    state = LoopState(bad_images={"1.png: bad": None})
    loop = bare_loop(state=state, skip_bad=True, accelerator=SimpleNamespace(num_processes=2))
    monkeypatch.setattr(module, "gather_object", lambda own: [*own, "2.png: bad"])
    loop._share_bad(progress)
    loop._share_bad(progress)
    assert list(state.bad_images) == ["1.png: bad", "2.png: bad"]
    assert told == ["left out: 2.png: bad"]


def test_an_interrupted_process_waits_until_the_checkpoint_is_written(monkeypatch):
    events = []
    loop = bare_loop(
        state=LoopState(step=3),
        runner=SimpleNamespace(stops=True, is_update=lambda step: True),
        accelerator=SimpleNamespace(wait_for_everyone=lambda: events.append("wait")),
    )
    monkeypatch.setattr(loop, "_save", lambda progress: events.append("save"))
    with pytest.raises(KeyboardInterrupt):
        loop._stop_if_interrupted(None)
    assert events == ["save", "wait"]


def test_the_fused_optimiser_takes_the_steps_of_the_plain_one():
    config = tiny_config()
    weights = []
    for fused in (True, None):
        network = network_that_tells_apart(config)
        optimizer = build_optimizer(config.optim, network, batch_size=2)
        assert optimizer.defaults["fused"] is True
        for group in optimizer.param_groups:
            group["fused"] = fused
        for _ in range(3):
            for parameter in network.parameters():
                parameter.grad = torch.full_like(parameter, 0.5) * parameter
            optimizer.step()
        weights.append(dict(network.named_parameters()))
    torch.testing.assert_close(weights[0], weights[1])
