"""Every settings file that is shipped builds its network, without memory for the weights."""

from pathlib import Path

import pytest
import torch

from sapnet.build import build_model, build_postprocess, build_total_loss
from sapnet.config import Config
from sapnet.config_loader import load_config
from sapnet.engine.optimizer import build_optimizer

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted([*ROOT.glob("configs/*.yaml"), *ROOT.glob("src/sapnet/configs/*.yaml")])


@pytest.mark.parametrize("file", [None, *FILES], ids=lambda file: getattr(file, "name", "defaults"))
def test_every_settings_file_builds_on_the_meta_device(file):
    config = Config() if file is None else load_config(file)
    with torch.device("meta"):
        model = build_model(
            config.model, num_classes=80, mask_stride=config.data.mask_stride, pretrained=False
        )
    assert all(parameter.is_meta for parameter in model.parameters())
    build_total_loss(config.model)
    build_postprocess(config)
    optimizer = build_optimizer(config.optim, model, batch_size=config.optim.reference_batch)
    assert max(group["lr"] for group in optimizer.param_groups) == pytest.approx(config.optim.learning_rate)


def test_the_demo_s_settings_are_found_without_a_working_folder():
    from sapnet.cli.verbs import DEMO_SETTINGS

    assert DEMO_SETTINGS in FILES
