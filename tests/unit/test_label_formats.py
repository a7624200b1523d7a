"""``sapnet label --format``: picks go straight into another tool's format."""

from types import SimpleNamespace

import pytest

from export_builders import label_document, square
from sapnet.config import Config
from sapnet.errors import InputError
from sapnet.exporters.export import ExportOptions
from sapnet.pipeline import labelling

SIZE = (6, 8)


@pytest.fixture
def picked(monkeypatch):
    """A model that picks two masks, without a model; counts how often it was loaded."""
    objects = [(0, square(SIZE, 0, 0, 3, 3), {"score": 0.5}), (7, square(SIZE, 4, 4, 6, 8), {"score": 0.25})]
    document = {**label_document([(SIZE, objects)]), "unlabelled": [9]}
    loaded = []
    config = Config()
    categories = ((0, "cat"), (7, "a dog"))
    card = SimpleNamespace(config=config, categories=categories)
    points = SimpleNamespace(
        categories=[SimpleNamespace(id=number, name=name) for number, name in categories]
    )
    monkeypatch.setattr(labelling, "load_labeller", lambda path: loaded.append(path) or (None, card))
    monkeypatch.setattr(labelling, "load_training_data", lambda *_: SimpleNamespace(points=points))
    monkeypatch.setattr(labelling, "refuse_bad_images", lambda *_, **__: None)
    monkeypatch.setattr(labelling, "tell_missing_opinion", lambda *_, **__: None)
    monkeypatch.setattr(labelling, "picked_labels", lambda *_: document)
    return loaded


def test_labels_go_straight_into_another_format(picked, tmp_path):
    figures = labelling.label("run", "points.json", "photos", "store", tmp_path / "out", to="voc")
    assert (figures["labels"], figures["unlabelled"], figures["format"]) == (2, 1, "voc")
    assert (tmp_path / "out" / "SegmentationObject" / "0.png").is_file()


def test_what_the_format_cannot_do_is_refused_before_the_model_is_loaded(picked, tmp_path):
    with pytest.raises(InputError):
        labelling.label("run", "p", "i", "s", tmp_path, to="yolo", options=ExportOptions(shapes="mask"))
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InputError):
        labelling.label("run", "p", "i", "s", tmp_path, to="yolo")
    assert picked == []
