"""`sapnet propose` with a member of the SAM family, and with files of SAPNet's authors."""

import json

import pytest

from sam_builders import save_checkpoint
from sapnet.cli.main import main
from sapnet.proposals.store import ProposalStore
from training_builders import write_tiny_data


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_tiny_data(tmp_path_factory.mktemp("data"))


def propose(data, out, *arguments):
    given = [
        "--points",
        str(data.points),
        "--images",
        str(data.images),
        "--out",
        str(out),
        "--quiet",
        "--json",
    ]
    return main(["propose", *given, *map(str, arguments)])


def test_a_sam_in_a_local_folder_fills_a_store_and_measures_it(data, tmp_path, capsys):
    folder = save_checkpoint("sam", tmp_path / "weights")
    options = ("--proposer", "sam", "--checkpoint", folder, "--instances", data.instances)
    assert propose(data, tmp_path / "store", *options) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["proposer"] == "sam"
    manifest = ProposalStore.open(tmp_path / "store").manifest
    assert manifest["proposer"]["settings"]["kinds"] == ["point", "point+negatives"]
    assert manifest["checkpoint_digest"].startswith("sha256:")


def test_weights_of_another_member_are_refused_with_the_name_that_fits(data, tmp_path, capsys):
    folder = save_checkpoint("sam2", tmp_path / "weights")
    assert propose(data, tmp_path / "store", "--proposer", "sam", "--checkpoint", folder) == 2
    assert "use --proposer sam2" in capsys.readouterr().err
    assert not (tmp_path / "store").exists()


def test_a_hub_id_that_is_not_cached_names_the_download_command(data, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    assert propose(data, tmp_path / "store", "--proposer", "sam", "--checkpoint", "nobody/nothing") == 2
    assert "hf download nobody/nothing" in capsys.readouterr().err


def test_corrupt_weights_are_bad_input_and_leave_no_store(data, tmp_path, capsys):
    folder = save_checkpoint("sam", tmp_path / "weights")
    (folder / "model.safetensors").write_bytes(b"no tensors")
    assert propose(data, tmp_path / "store", "--proposer", "sam", "--checkpoint", folder) == 2
    assert "may be corrupt" in capsys.readouterr().err
    assert not (tmp_path / "store").exists()


def test_a_store_survives_the_way_through_the_authors_file(data, tmp_path, capsys):
    exported = tmp_path / "proposals.json"
    assert propose(data, tmp_path / "first", "--proposer", "regions", "--export-json", exported) == 0
    given = ["--points", str(data.points), "--import-json", str(exported), "--quiet", "--json"]
    assert main(["propose", *given, "--out", str(tmp_path / "second")]) == 0
    first, second = (ProposalStore.open(tmp_path / name) for name in ("first", "second"))
    for before, after in zip(first, second, strict=True):
        assert before.image_id == after.image_id
        for prompt in range(len(before.annotation_ids)):
            rows, copies = before.of_prompt(prompt), after.of_prompt(prompt)
            assert before.counts[rows][:6] == after.counts[copies]
    capsys.readouterr()


def test_without_images_or_a_file_there_is_nothing_to_propose_from(data, tmp_path, capsys):
    assert main(["propose", "--points", str(data.points), "--out", str(tmp_path / "store")]) == 2
    assert "--images is needed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("setting", "asked"),
    [
        ("proposals.second_opinion=auto", True),
        ("proposals.second_opinion=none", False),
        ("model.picking.opinion_exponent=0", False),
    ],
)
def test_the_builtin_proposer_is_asked_about_regions_unless_told_otherwise(data, tmp_path, setting, asked):
    assert propose(data, tmp_path / "store", "--proposer", "regions", setting) == 0
    store = ProposalStore.open(tmp_path / "store")
    assert ("second_opinion" in store.manifest["proposer"]["settings"]) == asked
    for proposals in store:
        assert (proposals.opinions is not None) == asked
        if asked:
            assert ((proposals.opinions >= 0) & (proposals.opinions <= 1)).all()
    # Where the built-in proposer found anything at all, it agrees with something.
    assert not asked or any((proposals.opinions > 0).any() for proposals in store)
