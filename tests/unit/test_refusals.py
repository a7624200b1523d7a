"""What --skip-bad forgives, and what is told before any work."""

import json

import pytest

from data_builders import write_json
from sapnet import pipeline
from sapnet.cli.closing import summary_lines
from sapnet.cli.main import main
from sapnet.errors import DataError, InputError
from sapnet.importers.matching import _web_name
from sapnet.inference.predict import list_images
from sapnet.pipeline.refusals import load_clicks, refuse_bad_images
from training_builders import tiny_config, write_tiny_data


@pytest.fixture
def data(tmp_path):
    return write_tiny_data(tmp_path / "tiny")


def with_clicks(data, change):
    document = json.loads(data.points.read_text())
    change(document)
    return write_json(data.points, document)


def click_outside(document):
    document["annotations"][0]["point"] = [10000, 5]


def test_skip_bad_forgives_images_but_no_clicks(data):
    (data.images / "2.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"2\.png"):
        refuse_bad_images(data.points, data.images)
    refuse_bad_images(data.points, data.images, skip_bad=True)
    with_clicks(data, click_outside)
    with pytest.raises(DataError) as error:
        refuse_bad_images(data.points, data.images, skip_bad=True)
    assert len(error.value.problems) == 1
    assert "(10000, 5) is outside" in error.value.problems[0]


def test_skip_bad_does_not_train_on_nothing(data):
    for path in data.images.iterdir():
        path.rename(path.with_name(f"renamed-{path.name}"))
    with pytest.raises(DataError) as error:
        refuse_bad_images(data.points, data.images, skip_bad=True)
    assert error.value.problems[-1] == "no image is left"
    assert len(error.value.problems) == 5


def test_proposing_refuses_clicks_outside_and_devices_that_are_not_there(data, tmp_path, monkeypatch):
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    with pytest.raises(InputError, match="device: 'mps' is not available"):
        pipeline.propose(data.points, data.images, tmp_path / "s", tiny_config(device="mps"), quiet=True)
    with pytest.raises(InputError, match="device: 'mps' is not available"):
        pipeline.run(data.points, data.images, tmp_path / "s", tiny_config(device="mps"), quiet=True)
    with_clicks(data, click_outside)
    with pytest.raises(DataError, match="outside"):
        pipeline.propose(
            data.points,
            data.images,
            tmp_path / "s",
            tiny_config(),
            proposer="regions",
            skip_bad=True,
            quiet=True,
        )
    assert not (tmp_path / "s").exists()


def test_proposing_names_what_it_leaves_out(data, tmp_path, capsys):
    (data.images / "2.png").write_bytes(b"no image")
    pipeline.propose(
        data.points, data.images, tmp_path / "s", tiny_config(), proposer="regions", skip_bad=True
    )
    assert "left out: 2.png (image 2)" in capsys.readouterr().err


def test_hidden_files_are_no_images(tmp_path):
    for name in ("b.png", "._b.png", "a.JPG", "note.txt"):
        (tmp_path / name).write_bytes(b"")
    assert [path.name for path in list_images([tmp_path])] == ["a.JPG", "b.png"]


def test_a_column_is_shown_short_and_sentences_whole():
    sizes = ["small"] * 20
    assert list(summary_lines({"size": sizes})) == [f"size: {json.dumps(sizes[:8])} ... (20 in all)"]
    sentences = [f"image {number} is missing" for number in range(20)]
    assert len(list(summary_lines({"problems": sentences}))) == 20


def test_uploads_are_known_by_the_name_that_web_tools_give_them():
    stored = "WhatsApp_Image_2024-03-01_at_10.00.00_1.jpeg"
    assert _web_name("WhatsApp Image 2024-03-01 at 10.00.00 (1).jpeg") == stored == _web_name(stored)


def test_a_folder_that_may_not_be_read_is_bad_input(tmp_path, monkeypatch, capsys):
    def refuse(*_arguments, **_options):
        raise PermissionError(13, "Permission denied", "photos")

    monkeypatch.setattr("sapnet.pipeline.check_points_file", refuse)
    (tmp_path / "points.json").write_text("{}")
    assert main(["points", "check", str(tmp_path / "points.json"), "--images", str(tmp_path)]) == 2
    assert capsys.readouterr().err == "error: photos: no permission to read or write this\n"


def test_a_damaged_points_file_is_refused_with_what_is_wrong_with_its_images(tmp_path):
    data = write_tiny_data(tmp_path)
    content = json.loads(data.points.read_text())
    content["annotations"][0]["category_id"] = 99
    data.points.write_text(json.dumps(content))
    (data.images / "3.png").unlink()
    with pytest.raises(DataError) as refused:
        load_clicks(data.points, data.images)
    assert "category_id 99" in str(refused.value)
    assert "3.png" in str(refused.value)
    with pytest.raises(DataError, match="category_id 99") as forgiving:
        load_clicks(data.points, data.images, skip_bad=True)
    assert "no image is left" not in str(forgiving.value)
