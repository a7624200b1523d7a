"""What is wrong with a checkpoint is said in one sentence, with the command that mends it."""

import hashlib
import json
import shutil
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from sam_builders import FAMILY_NAMES, set_model_type
from sapnet.errors import CheckpointError, InputError
from sapnet.proposals.sam.checkpoints import checkpoint_digest, find_checkpoint
from sapnet.proposals.sam.families import SAM_FAMILIES, family_named
from sapnet.proposals.sam.loading import load_sam

hub = pytest.importorskip("huggingface_hub")
pytest.importorskip("transformers")


@pytest.fixture
def folder(checkpoints, tmp_path):
    """A copy of the tiny SAM that a test may damage."""
    return shutil.copytree(checkpoints["sam"], tmp_path / "sam")


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    """The hub's local cache, empty, with nothing behind it."""
    cache = tmp_path / "hub"
    monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", str(cache))
    return cache


def problem_of(name, checkpoint, act=None, **more):
    """The only problem that finding (or, with load_sam, loading) a checkpoint has."""
    with pytest.raises(InputError) as caught:
        if act is None:
            find_checkpoint(family_named(name), checkpoint, **more)
        else:
            act(name, checkpoint, **more)
    assert len(caught.value.problems) == 1
    return caught.value.problems[0]


def test_an_unknown_member_is_refused_with_the_nearest_name():
    with pytest.raises(InputError, match="did you mean 'edgetam'"):
        family_named("edgetan")


def test_without_the_extra_the_message_is_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    assert "pip install 'sapnet[sam]'" in problem_of("sam", "facebook/sam-vit-huge")


def test_a_transformers_without_the_class_is_to_be_upgraded(monkeypatch, checkpoints):
    import types

    monkeypatch.setitem(sys.modules, "transformers", types.ModuleType("transformers"))
    assert "pip install -U 'sapnet[sam]'" in problem_of("sam", checkpoints["sam"], load_sam)


def test_a_path_that_is_not_there_is_no_hub_id(tmp_path):
    for path in (tmp_path / "no" / "where", "./nowhere", "weights/sam_vit_b.pth", "nowhere"):
        assert "no such folder or file" in problem_of("sam", path)


def test_a_folder_without_config_says_what_to_give(folder):
    (folder / "config.json").unlink()
    assert f"hf download facebook/sam-vit-huge --local-dir {folder}" in problem_of("sam", folder)
    (folder / "sam_vit_b.pth").write_bytes(b"x")
    assert "give the file itself" in problem_of("sam", folder)


def test_everything_that_a_folder_lacks_is_listed_at_once(folder):
    (folder / "processor_config.json").unlink()
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError) as caught:
        find_checkpoint(family_named("sam"), folder)
    assert len(caught.value.problems) == 2
    assert all("hf download" in problem for problem in caught.value.problems)


@pytest.mark.parametrize("text", ["{", "[]"])
def test_a_damaged_config_is_refused(folder, text):
    (folder / "config.json").write_text(text)
    assert "config.json" in problem_of("sam", folder)


def test_a_checkpoint_of_another_member_names_the_proposer_that_fits(checkpoints):
    for name in FAMILY_NAMES:
        for other in FAMILY_NAMES:
            if other != name:
                assert f"use --proposer {other}." in problem_of(name, checkpoints[other])


def test_a_checkpoint_of_something_else_says_what_it_is(folder):
    set_model_type(folder, "resnet")
    assert "model_type 'resnet', expected sam for --proposer sam" in problem_of("sam", folder)


@pytest.mark.parametrize("size", [0, 100, 20_000])
def test_cut_off_weights_are_corrupt(folder, size):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:size])
    assert "may be corrupt; get them again: hf download" in problem_of("sam", folder, load_sam)


def test_weights_that_lack_tensors_are_not_filled_with_random_numbers(folder):
    tensors = load_file(folder / "model.safetensors")
    del tensors["mask_decoder.iou_token.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    assert "lack 1 tensors of SAM, such as mask_decoder.iou_token.weight" in problem_of(
        "sam", folder, load_sam
    )


def test_damaged_image_processor_settings_are_named(folder):
    (folder / "processor_config.json").write_text("{")
    assert "image processor settings cannot be read" in problem_of("sam", folder, load_sam)


def test_an_unknown_precision_is_refused(checkpoints):
    assert "did you mean 'bf16'" in problem_of("sam", checkpoints["sam"], load_sam, precision="bf61")


def test_offline_a_hub_id_that_is_not_in_the_cache_says_how_to_get_it(empty_cache):
    for family in SAM_FAMILIES:
        problem = problem_of(family.name, None)
        assert f"hf download {family.hub_id}" in problem
        assert ("hf auth login" in problem) == (family.name == "sam3")


def test_a_hub_id_in_the_cache_needs_no_network(checkpoints, empty_cache):
    repository = empty_cache / "models--someone--tiny-sam"
    shutil.copytree(checkpoints["sam"], repository / "snapshots" / "abc")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc")
    found = find_checkpoint(family_named("sam"), "someone/tiny-sam")
    assert [path.name for path in found.weight_files] == ["model.safetensors"]
    assert load_sam("sam", "someone/tiny-sam").family.name == "sam"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            "GatedRepoError",
            "accept its licence on https://huggingface.co/facebook/sam3, then run: hf auth login",
        ),
        ("RepositoryNotFoundError", "no model of that name"),
        ("LocalEntryNotFoundError", "Try again, or run hf download facebook/sam3"),
    ],
)
def test_what_the_hub_refuses_is_told_with_the_way_out(monkeypatch, empty_cache, error, expected):
    def refuse(_name, local_files_only=False, **_):
        if local_files_only:
            raise hub.errors.LocalEntryNotFoundError("nothing here")
        kind = getattr(hub.errors, error)
        # Made without the response of a server, which its constructor asks for.
        raise kind.__new__(kind)

    monkeypatch.setattr(hub, "snapshot_download", refuse)
    assert expected in problem_of("sam3", "facebook/sam3", offline=False)


def test_the_digest_is_of_the_weights_alone(folder):
    found = find_checkpoint(family_named("sam"), folder)
    content = (folder / "model.safetensors").read_bytes()
    assert checkpoint_digest(found) == f"sha256:{hashlib.sha256(content).hexdigest()}"
    (folder / "README.md").write_text("more")
    assert checkpoint_digest(find_checkpoint(family_named("sam"), folder)) == checkpoint_digest(found)
    (folder / "model.safetensors").write_bytes(content[:-1] + b"x")
    assert checkpoint_digest(found) != f"sha256:{hashlib.sha256(content).hexdigest()}"


@pytest.mark.parametrize("name", ["sam2", "edgetam"])
def test_the_image_half_of_a_video_checkpoint_loads(checkpoints, tmp_path, name):
    # Checkpoints on the hub are of the video model, with a memory that images do not need.
    folder = shutil.copytree(checkpoints[name], tmp_path / name)
    set_model_type(folder, f"{name}_video")
    tensors = load_file(folder / "model.safetensors")
    save_file(
        {**tensors, "memory_attention.layer.weight": torch.zeros(1)},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
    loaded = load_sam(name, folder).model.state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in tensors.items() if key in loaded)


def test_the_tracker_inside_a_sam_3_video_checkpoint_loads(checkpoints, tmp_path):
    folder = shutil.copytree(checkpoints["sam3"], tmp_path / "sam3")
    renamed = {}
    for name, value in load_file(folder / "model.safetensors").items():
        # transformers puts its prefix before all names when it saves; on the hub only the tracker has it.
        inner = name.removeprefix("tracker_model.")
        renamed[inner if inner.startswith(("detector_model.", "tracker_neck.")) else name] = value
    assert {name.split(".")[0] for name in renamed} == {"tracker_model", "tracker_neck", "detector_model"}
    save_file(renamed, folder / "model.safetensors", metadata={"format": "pt"})
    tracker = json.loads((folder / "config.json").read_text())
    tracker["model_type"] = "sam3_tracker_video"
    (folder / "config.json").write_text(json.dumps({"model_type": "sam3_video", "tracker_config": tracker}))
    loaded = load_sam("sam3", folder).model.state_dict()
    original = load_sam("sam3", checkpoints["sam3"]).model.state_dict()
    assert loaded.keys() == original.keys()
    assert all(torch.equal(loaded[key], original[key]) for key in original)
