"""`sapnet propose` on much: a thousand clicks in one image, many images in bounded memory, bad images, progress."""

import json
import re
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from proposal_builders import BoxProposer
from sam_builders import save_checkpoint
from sapnet import progress
from sapnet.cli.main import main
from sapnet.data.annotations import load_points
from sapnet.proposals.generate import generate_proposals
from sapnet.proposals.store import ProposalStore
from training_builders import write_tiny_data

SETTINGS = ("data.num_workers=0", "device=cpu", "proposals.second_opinion=none")


def write_data(folder, *, images, clicks, size=(48, 64)):
    """Noise with random clicks, in files that share one picture."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    Image.fromarray(random.integers(0, 255, (*size, 3), dtype=np.uint8)).save(folder / "a.png")
    height, width = size
    document = {
        "images": [{"id": i, "file_name": "a.png", "width": width, "height": height} for i in range(images)],
        "categories": [{"id": 1, "name": "thing"}],
        "annotations": [
            {"id": i * clicks + j, "image_id": i, "category_id": 1, "point": [float(x), float(y)]}
            for i in range(images)
            for j, (x, y) in enumerate(random.uniform((0, 0), (width, height), (clicks, 2)))
        ],
    }
    (folder / "points.json").write_text(json.dumps(document))
    return folder / "points.json"


def propose(points, out, *words):
    given = ["--points", points, "--images", points.parent, "--out", out, *words]
    return main(["propose", *map(str, given), *SETTINGS])


@pytest.mark.parametrize("name", ["regions", "sam"])
def test_a_thousand_clicks_in_one_image_are_all_answered(tmp_path, name):
    points = write_data(tmp_path / "data", images=1, clicks=1000)
    words = ["--proposer", name, "--quiet"]
    words += ["proposals.regions.grabcut=false"] if name == "regions" else ["proposals.sam.prompts=[point]"]
    if name == "sam":
        pytest.importorskip("transformers")
        words += ["--checkpoint", save_checkpoint("sam", tmp_path / "sam")]
    assert propose(points, tmp_path / "store", *words) == 0
    found = ProposalStore.open(tmp_path / "store").of_image(0)
    assert found.annotation_ids.tolist() == list(range(1000))
    assert np.bincount(found.prompt_index, minlength=1000).min() >= 1


def test_memory_does_not_grow_with_the_number_of_images(tmp_path):
    def peak(number):
        points = load_points(write_data(tmp_path / str(number), images=number, clicks=20))
        tracemalloc.start()
        try:
            generate_proposals(points, tmp_path / str(number), BoxProposer(), tmp_path / f"store-{number}")
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(2)  # what is imported and cached on first use
    few, many = peak(20), peak(200)
    # A place in the index takes about 150 bytes while the store is finished; an image's record, 2 kB or more.
    assert many - few < 180 * 500


def test_the_progress_line_has_images_per_second_and_the_time_left(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    points = write_data(tmp_path / "data", images=6, clicks=2)
    words = ("--proposer", "regions", "proposals.regions.grabcut=false")
    assert propose(points, tmp_path / "store", *words) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("propose ")]
    assert any(re.fullmatch(r"propose  3/6 \(50 %\)  \d+\.\d/s  ETA \d+:\d\d", line) for line in lines)
    assert re.fullmatch(r"propose  6/6 \(100 %\)  done after \d+:\d\d", lines[-1])


def test_images_of_an_interrupted_run_do_not_count_as_speed(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    points = write_data(tmp_path / "data", images=30, clicks=1)
    with pytest.raises(KeyboardInterrupt):
        generate_proposals(
            load_points(points), points.parent, BoxProposer(interrupt_at=28), tmp_path / "store"
        )
    now = iter(np.arange(0.0, 1e6, 1.0).tolist())
    with progress.Progress(30, "propose", clock=lambda: next(now)) as shown:
        generate_proposals(
            load_points(points),
            points.parent,
            BoxProposer(),
            tmp_path / "store",
            progress=lambda done, _total, _proposals: shown.reach(done),
        )
        assert shown.done == 30
        assert shown.rate <= 1.0
    first = capsys.readouterr().err.splitlines()[0]
    assert re.fullmatch(r"propose  29/30 \(96 %\)  [01]\.\d/s  ETA 0:0\d", first)


def test_bad_images_are_skipped_counted_and_named_on_demand(tmp_path, capsys):
    data = write_tiny_data(tmp_path / "data")
    (data.images / "2.png").write_bytes(b"no image")
    (data.images / "3.png").unlink()
    given = ["--points", data.points, "--images", data.images, "--proposer", "regions"]
    given += ["--out", tmp_path / "store", "--quiet", "proposals.regions.grabcut=false", *SETTINGS]
    words = ["propose", *map(str, given)]
    assert main(words) == 2
    error = capsys.readouterr().err
    assert "3.png (image 3) is missing" in error
    assert not (tmp_path / "store").exists()
    assert main([*words, "--skip-bad", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert (figures["images"], figures["skipped"]) == (2, 2)
    assert sorted(ProposalStore.open(tmp_path / "store").skipped) == [2, 3]


def test_the_quality_of_bags_is_printed_in_columns_by_size_and_kind(tmp_path, capsys):
    data = write_tiny_data(tmp_path / "data")
    given = ["--points", data.points, "--images", data.images, "--proposer", "regions"]
    given += ["--out", tmp_path / "store", "proposals.regions.grabcut=false", *SETTINGS]
    assert main(["propose", *map(str, given), "--instances", str(data.instances)]) == 0
    text = capsys.readouterr().err
    assert re.search(
        r"mean IoU with the ground truth +all +small +medium +large\n +clicks +8 +8 +0 +0\n", text
    )
    assert re.search(r"masks: best of 6 +\d\.\d{3} +\d\.\d{3} +- +-\n", text)
    assert "kind region-tree: " in text
    assert "share with no mask of 0.5" in text
