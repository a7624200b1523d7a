"""A mistyped --out is refused before any work and leaves everything as it was."""

import argparse

import pytest

from data_builders import write_json
from sapnet.cli.main import main
from sapnet.cli.output_paths import PHOTOGRAPHS, refuse_bad_outputs
from sapnet.errors import InputError
from sapnet.inference.predict import IMAGE_SUFFIXES
from training_builders import write_tiny_data


@pytest.fixture
def data(tmp_path):
    return write_tiny_data(tmp_path / "tiny")


def refused(capsys, *words):
    assert main([*map(str, words), "--quiet"]) == 2
    return capsys.readouterr().err


def test_inputs_are_not_written_over(data, tmp_path, capsys):
    run = tmp_path / "run"
    write_json_of_a_run(run)
    photograph = data.images / "1.png"
    commands = {
        data.instances: ["points", "sample", "--instances", data.instances],
        data.points: ["report", run],
        photograph: ["predict", "--model", run, *sorted(data.images.glob("*.png"))],
        run / "model.json": ["predict", "--model", run, data.images],
        run / "model.safetensors": ["report", run],
    }
    given = {data.points: ["--points", data.points, "--images", data.images]}
    for path, words in commands.items():
        before = path.read_bytes()
        text = refused(capsys, *words, *given.get(path, []), "--out", path)
        assert f"--out {path}:" in text
        assert path.read_bytes() == before


def write_json_of_a_run(run):
    run.mkdir()
    (run / "model.safetensors").write_bytes(b"weights")
    write_json(run / "model.json", {})


def test_a_file_of_the_folder_that_is_imported_is_not_written_over(tmp_path, capsys):
    source = tmp_path / "labelme"
    source.mkdir()
    write_json(source / "a.json", {"shapes": []})
    text = refused(capsys, "points", "import", source, "--images", source, "--out", source / "a.json")
    assert "would be written over the source given to read" in text


@pytest.mark.parametrize(
    ("verb", "out", "message"),
    [
        (["points", "sample", "--instances", "gt"], "", "is a folder, expected a file to write"),
        (["points", "sample", "--instances", "gt"], "note.txt/x.json", "note.txt is a file"),
        (["demo"], "note.txt", "is a file, expected a folder"),
        (["bench", "stages", "--data", "."], "note.txt", "is a file, expected a folder"),
    ],
)
def test_what_cannot_be_written_is_told_at_once(tmp_path, capsys, verb, out, message):
    (tmp_path / "note.txt").write_text("mine")
    assert message in refused(capsys, *verb, "--out", tmp_path / out)
    assert [item.name for item in tmp_path.iterdir()] == ["note.txt"]


def test_a_folder_without_permission_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda *_: False)
    args = argparse.Namespace(command=main, out=tmp_path / "new" / "x.json")
    with pytest.raises(InputError, match="no permission to write"):
        refuse_bad_outputs(args)


def test_what_is_written_again_and_again_is_not_refused(data, tmp_path):
    assert (
        main(["points", "sample", "--instances", str(data.instances), "--out", str(tmp_path / "p.json")]) == 0
    )
    assert (
        main(["points", "sample", "--instances", str(data.instances), "--out", str(tmp_path / "p.json")]) == 0
    )
    for name in ("labels.json", "report.html", "preds.json"):
        (tmp_path / name).write_text("{}")
        refuse_bad_outputs(argparse.Namespace(command=main, out=tmp_path / name, run=tmp_path))


def test_pictures_are_what_predict_takes_for_pictures():
    assert PHOTOGRAPHS == IMAGE_SUFFIXES
