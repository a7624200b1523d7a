"""`sapnet propose` with weights that cannot be used: one message with what mends it, exit code 2, nothing written."""

import importlib
import shutil
import sys

import pytest
import torch

from sam_builders import FAMILY_NAMES, random_model, save_checkpoint, set_model_type
from sapnet.cli.main import main
from sapnet.proposals.sam.families import family_named
from training_builders import write_tiny_data

pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_tiny_data(tmp_path_factory.mktemp("data"), num_images=1)


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    folder = tmp_path_factory.mktemp("good")
    return {name: save_checkpoint(name, folder / name) for name in FAMILY_NAMES}


@pytest.fixture
def refusal(data, tmp_path, capsys, monkeypatch):
    """Propose with some words; return the message of the refusal, the words on one line."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(importlib.import_module("huggingface_hub.constants"), "HF_HUB_CACHE", str(tmp_path))

    def refuse(*words):
        out = tmp_path / "store"
        given = ["--points", data.points, "--images", data.images, "--out", out, *words]
        assert main(["propose", *map(str, given), "device=cpu", "data.num_workers=0"]) == 2
        found = capsys.readouterr()
        assert not out.exists()
        assert found.out == ""
        assert found.err.startswith("error: 1 problem in ")
        assert len(found.err.splitlines()) == 2
        assert "Traceback" not in found.err
        return found.err.splitlines()[1].strip()

    return refuse


def cut(name, share):
    def damage(folder):
        file = folder / name
        file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])

    return damage


def scramble(folder):
    file = folder / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[8:40] = b"\xff" * 32
    file.write_bytes(content)


DAMAGES = {
    "nearly whole weights": cut("model.safetensors", 0.99),
    "the start of the weights": cut("model.safetensors", 0.01),
    "empty weights": cut("model.safetensors", 0),
    "scrambled weights": scramble,
    "weights of the wrong kind": lambda folder: (folder / "model.safetensors").rename(
        folder / "pytorch_model.bin"
    ),
    "no weights": lambda folder: (folder / "model.safetensors").unlink(),
    "half a config": cut("config.json", 0.5),
    "no config": lambda folder: (folder / "config.json").unlink(),
    "no image processor": lambda folder: [file.unlink() for file in folder.glob("*processor_config.json")],
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", FAMILY_NAMES)
def test_a_damaged_folder_is_refused_with_the_command_that_gets_a_whole_one(
    good, refusal, tmp_path, name, damage
):
    folder = shutil.copytree(good[name], tmp_path / "weights")
    DAMAGES[damage](folder)
    message = refusal("--proposer", name, "--checkpoint", folder)
    assert f"hf download {family_named(name).hub_id} --local-dir {folder}" in message
    assert "weights_only" not in message


@pytest.mark.parametrize("name", FAMILY_NAMES)
def test_a_checkpoint_of_another_member_names_the_one_that_fits(good, refusal, name):
    other = FAMILY_NAMES[FAMILY_NAMES.index(name) - 1]
    assert f"use --proposer {other}." in refusal("--proposer", name, "--checkpoint", good[other])


@pytest.mark.parametrize("name", FAMILY_NAMES)
def test_a_checkpoint_of_something_else_says_what_it_is(good, refusal, tmp_path, name):
    folder = shutil.copytree(good[name], tmp_path / "weights")
    set_model_type(folder, "bert")
    assert "model_type 'bert', expected" in refusal("--proposer", name, "--checkpoint", folder)


@pytest.mark.parametrize("name", FAMILY_NAMES)
def test_weights_that_are_nowhere_come_with_the_command_that_gets_them(refusal, tmp_path, name):
    hub_id = family_named(name).hub_id
    assert f"hf download {hub_id}" in refusal("--proposer", name)
    assert "hf download some/where" in refusal("--proposer", name, "--checkpoint", "some/where")
    for path in (tmp_path / "nowhere" / "deep", "weights.pth", "./weights"):
        message = refusal("--proposer", name, "--checkpoint", path)
        assert message.startswith("There is no such folder or file")
        assert message.endswith(f"hf download {hub_id} --local-dir {name}")


def write_pth(path, kind):
    if kind in ("tensors of another model", "a list", "a pickled model"):
        contents = {"tensors of another model": {"a": torch.zeros(3)}, "a list": [1, 2]}
        torch.save(contents.get(kind) or random_model("sam"), path)
    elif kind == "a part":
        torch.save(random_model("sam").state_dict(), path)
        path.write_bytes(path.read_bytes()[:-5000])
    else:
        path.write_bytes({"nothing": b"", "garbage": b"garbage"}[kind])
    return path


@pytest.mark.parametrize(
    "kind", ["tensors of another model", "a list", "a pickled model", "a part", "nothing", "garbage"]
)
@pytest.mark.parametrize("name", FAMILY_NAMES)
def test_an_original_file_of_the_wrong_kind_is_refused_with_the_way_out(refusal, tmp_path, name, kind):
    path = write_pth(tmp_path / "x.pth", kind)
    message = refusal("--proposer", name, "--checkpoint", path)
    assert message.endswith(f"hf download {family_named(name).hub_id} --local-dir {name}")
    assert len(message) < 400


@pytest.mark.parametrize("name", FAMILY_NAMES)
def test_a_single_safetensors_file_is_to_be_given_as_its_folder(good, refusal, name):
    message = refusal("--proposer", name, "--checkpoint", good[name] / "model.safetensors")
    assert f"Give the folder that holds it ({good[name]})" in message


@pytest.mark.parametrize("name", FAMILY_NAMES)
def test_a_gated_repository_says_how_to_get_in(refusal, monkeypatch, name):
    import huggingface_hub
    from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError

    def gated(_label, *, local_files_only=False, **_settings):
        if local_files_only:
            raise LocalEntryNotFoundError("not cached")
        # Made without the response of a server, which its constructor asks for.
        raise GatedRepoError.__new__(GatedRepoError)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", gated)
    hub_id = family_named(name).hub_id
    message = refusal("--proposer", name, "proposals.sam.offline=false")
    assert f"accept its licence on https://huggingface.co/{hub_id}, then run: hf auth login" in message
    assert message.endswith(f"hf download {hub_id}")


@pytest.mark.parametrize("name", FAMILY_NAMES)
def test_without_the_extra_the_message_is_the_command_that_installs_it(good, refusal, monkeypatch, name):
    monkeypatch.setitem(sys.modules, "transformers", None)
    for words in ((), ("--checkpoint", good[name])):
        assert refusal("--proposer", name, *words).endswith("run: pip install 'sapnet[sam]'")


@pytest.mark.parametrize("kind", ["absent", "a folder", "empty", "cut off", "of another model"])
def test_unusable_weights_of_the_builtin_proposer_are_refused_with_the_way_out(good, refusal, tmp_path, kind):
    whole = good["sam"] / "model.safetensors"
    path = {"a folder": good["sam"], "of another model": whole}.get(kind, tmp_path / "x.safetensors")
    if kind in ("empty", "cut off"):
        path.write_bytes(b"" if kind == "empty" else whole.read_bytes()[:-100])
    message = refusal("--proposer", "builtin", "--checkpoint", path)
    assert message.endswith(
        "leave out --checkpoint (proposals.checkpoint) to use the weights that come with the package"
    )
    assert len(message) < 300


def test_regions_takes_no_weights(good, refusal):
    assert "regions has no weights" in refusal("--proposer", "regions", "--checkpoint", good["sam"])


def test_a_mistyped_proposer_gets_the_nearest_name(data, tmp_path, capsys):
    given = ["--points", str(data.points), "--images", str(data.images), "--out", str(tmp_path / "store")]
    assert main(["propose", *given, "--proposer", "sam-hd"]) == 2
    assert "sam-hq" in capsys.readouterr().err
