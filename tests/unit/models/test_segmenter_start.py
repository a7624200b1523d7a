"""What the pyramid and the SOLOv2 branch start from."""

import math

import pytest
import torch
from safetensors.torch import load_file, save_file

from sapnet.build import build_model
from sapnet.config import Config
from sapnet.errors import CheckpointError, ConfigError
from sapnet.models.segmenter_start import BUNDLED_START, fits_segmenter_start, load_segmenter_start
from training_builders import tiny_config

CLASSES = 3


def default_model(**solov2):
    """A network of default shape with three classes, always from the same random numbers."""
    model = Config().model
    section = model.solov2.model_copy(update=solov2)
    torch.manual_seed(0)
    return build_model(
        model.model_copy(update={"solov2": section}), num_classes=CLASSES, mask_stride=4, pretrained=True
    )


def tiny_model(weights, *, classes=1, **model):
    torch.manual_seed(0)
    config = tiny_config(model={"solov2": {"weights": str(weights)}, **model})
    return build_model(config.model, num_classes=classes, mask_stride=4)


def saved_start(path, *, classes=1):
    """A file with the parts of a tiny random network of some classes, and that network."""
    network = tiny_model("none", classes=classes)
    with torch.no_grad():
        for part in (network.pyramid, network.segmentation):
            for parameter in part.parameters():
                parameter.add_(torch.randn_like(parameter))
    kept = {k: v for k, v in network.state_dict().items() if k.startswith(("pyramid.", "segmentation."))}
    save_file(kept, path)
    return network


def test_by_default_pyramid_and_branch_start_from_the_bundled_weights():
    model, tensors = default_model(), load_file(BUNDLED_START)
    state = model.state_dict()
    shared = [name for name in tensors if "category_output" not in name]
    assert shared
    assert all(torch.equal(state[name], tensors[name].float()) for name in shared)


def test_only_pyramid_and_branch_differ_from_a_random_start():
    started, random = default_model().state_dict(), default_model(weights="none").state_dict()
    different = {name.split(".")[0] for name in random if not torch.equal(started[name], random[name])}
    assert different == {"pyramid", "segmentation"}


def test_every_class_starts_as_any_object_and_all_together_expect_as_many(tmp_path):
    file = tmp_path / "start.safetensors"
    source = saved_start(file).segmentation
    found = tiny_model(file, classes=CLASSES).segmentation
    for kernel in found.category_output.weight:
        torch.testing.assert_close(kernel, source.category_output.weight[0])
    torch.testing.assert_close(
        found.category_output.bias, (source.category_output.bias - math.log(CLASSES)).repeat(CLASSES)
    )


def test_a_network_of_one_class_is_the_one_that_was_saved(tmp_path):
    file = tmp_path / "start.safetensors"
    source, found = saved_start(file), tiny_model(file)
    images = torch.rand(1, 3, 64, 64)
    expected, got = source.eval().segment(images), found.eval().segment(images)
    torch.testing.assert_close(got.mask_features, expected.mask_features)
    torch.testing.assert_close(got.category_logits, expected.category_logits)


def test_auto_leaves_a_network_of_another_shape_random():
    assert_same = torch.testing.assert_close
    assert_same(tiny_model("auto").state_dict(), tiny_model("none").state_dict(), rtol=0, atol=0)
    narrow = default_model(head_channels=32), default_model(head_channels=32, weights="none")
    assert_same(narrow[0].state_dict(), narrow[1].state_dict(), rtol=0, atol=0)


def test_auto_leaves_a_network_with_another_backbone_random():
    model = Config().model
    other = model.model_copy(update={"backbone": model.backbone.model_copy(update={"weights": "none"})})
    torch.manual_seed(0)
    network = build_model(other, num_classes=1, mask_stride=4)
    name = "segmentation.kernel_output.weight"
    assert not torch.equal(network.state_dict()[name], load_file(BUNDLED_START)[name].float())


def test_bundled_weights_asked_for_where_they_do_not_fit_are_refused():
    with pytest.raises(ConfigError, match=r"model.solov2.*\n.*expected 'none', 'auto'"):
        tiny_model("bundled")


def test_weights_of_several_classes_or_other_shapes_are_refused_by_name(tmp_path):
    file = tmp_path / "start.safetensors"
    saved_start(file, classes=2)
    with pytest.raises(CheckpointError, match="class-agnostic"):
        tiny_model(file)
    saved_start(file)
    with pytest.raises(CheckpointError, match="has shape"):
        tiny_model(file, pyramid={"channels": 16})
    with pytest.raises(CheckpointError, match="No such file"):
        tiny_model(tmp_path / "absent.safetensors")


def test_whether_weights_fit_does_not_depend_on_the_classes(tmp_path):
    file = tmp_path / "start.safetensors"
    saved_start(file)
    same, narrow = tiny_model("none", classes=CLASSES), tiny_model("none", pyramid={"channels": 16})
    tensors = load_file(file)
    assert fits_segmenter_start(same.pyramid, same.segmentation, tensors)
    assert not fits_segmenter_start(narrow.pyramid, narrow.segmentation, tensors)
    load_segmenter_start(same.pyramid, same.segmentation, tensors, str(file))


def test_a_network_that_is_loaded_afterwards_needs_no_start():
    torch.manual_seed(0)
    model = Config().model
    bare = model.model_copy(update={"backbone": model.backbone.model_copy(update={"weights": "none"})})
    torch.manual_seed(0)
    expected = build_model(bare, num_classes=1, mask_stride=4).state_dict()
    torch.manual_seed(0)
    found = build_model(model, num_classes=1, mask_stride=4, pretrained=False).state_dict()
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
