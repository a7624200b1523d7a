"""The experiment `bags`: its rows, what is kept, and what becomes of it in Markdown and in the report."""

import json
import shutil

import numpy as np
import pytest

from sapnet.bench import BenchOptions, bags, run_bench
from sapnet.bench.bags import BagRow, run_bags
from sapnet.bench.kept import read_kept
from sapnet.cli.main import main
from sapnet.data.annotations import load_points
from sapnet.data.image_subset import every_nth_image
from sapnet.errors import CheckpointError, DataError, InputError
from sapnet.report import write_report
from training_builders import tiny_config, write_tiny_data

CONFIG = tiny_config(proposals={"regions": {"grabcut": False}})
ROWS = (
    BagRow("regions", "regions"),
    BagRow("regions again", "regions"),
    BagRow("simulated SAM", "simulated"),
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Laid out like the shared data: the images lie beside the folder. Image 1 has two clicks of a class."""
    folder = tmp_path_factory.mktemp("sets")
    tiny = write_tiny_data(folder / "tiny", clicks_per_image=3)
    (tiny.images).rename(folder / "images")
    for name in ("points_train.json", "points_train_random.json"):
        shutil.copy(tiny.points, folder / "tiny" / name)
    random = json.loads(tiny.points.read_text())
    for click in random["annotations"]:
        click["point"][0] += 6.0
    (folder / "tiny" / "points_train_random.json").write_text(json.dumps(random))
    shutil.copy(tiny.instances, folder / "tiny" / "instances_train.json")
    return folder / "tiny"


@pytest.fixture(scope="module")
def done(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("bench")
    return out, run_bags(data, out, CONFIG, quiet=True, rows=ROWS)


def test_every_row_is_measured_for_both_kinds_of_points(done):
    out, content = done
    found = [(row["points"], row["label"], row["simulated"]) for row in content["rows"]]
    expected = [(row.label, row.source == "simulated") for row in ROWS]
    assert found == [(kind, *row) for row in expected for kind in ("quasi-centre", "random")]
    first, simulated = content["rows"][0], content["rows"][4]
    assert first["quality"]["all"]["clicks"] == 12
    assert set(first["quality"]["kinds"]) <= {"region-tree", "square"}
    assert first["seconds_per_image"] > 0
    assert simulated["seconds_per_image"] is None
    assert json.loads((out / "bags" / "bench.json").read_text()) == content


def test_clicks_without_another_of_their_class_do_not_count_among_neighbours(done):
    # Of three clicks of two classes, in turn, two share a class in every image.
    assert done[1]["rows"][0]["neighbours"]["all"]["clicks"] == 8


def test_rows_of_the_same_proposer_share_a_store(done):
    rows = done[1]["rows"]
    assert rows[0]["store"] == rows[2]["store"] != rows[1]["store"]
    assert rows[0]["quality"] == rows[2]["quality"]
    assert len(list((done[0] / "proposals").iterdir())) == 4


def test_the_tables_hold_the_figures(done):
    content = done[1]
    captions = [table["caption"] for table in content["tables"]]
    assert captions[0] == "Mask mIoU, quasi-centre points (12 clicks)"
    assert len(captions) == 10
    masks = content["tables"][0]
    row = dict(zip(masks["header"], masks["rows"][0], strict=True))
    whole = content["rows"][0]["quality"]["all"]
    assert row["best of 6"] == whole["mask"]["best_of_6"]
    assert row["best under 0.5"] == whole["below_half"]
    text = (done[0] / "bags" / "bags.md").read_text()
    assert f"| regions | {whole['mask']['top1']:.3f} |" in text
    assert text.count("### ") == 10


def test_a_second_run_measures_nothing_again_and_refuses_other_settings(data, done, monkeypatch):
    def refuse(*_arguments, **_options):
        raise AssertionError("proposed again")

    monkeypatch.setattr(bags, "generate_proposals", refuse)
    assert run_bags(data, done[0], CONFIG, quiet=True, rows=ROWS) == done[1]
    other = tiny_config(proposals={"regions": {"grabcut": False, "masks_per_point": 3}})
    with pytest.raises(CheckpointError, match="masks_per_point: it was measured with 12, now it is 3"):
        run_bags(data, done[0], other, quiet=True, rows=ROWS)


def test_the_report_shows_tables_and_bags_side_by_side(done, tmp_path):
    out, content = done
    page = write_report(out / "bags", tmp_path / "report.html").read_text()
    assert all(table["caption"] in page for table in content["tables"])
    for words in ("Bags, quasi-centre points", "Bags, random points", "Clicks without a good proposal"):
        assert words in page
    assert "simulated-part, IoU 0." in page
    assert page.count("data:image/jpeg") > 50


def test_lost_stores_are_said_in_the_report(done, tmp_path):
    content = done[1]
    (tmp_path / "bags").mkdir()
    lost = {**content, "inputs": {**content["inputs"], "stores": str(tmp_path / "nowhere")}}
    (tmp_path / "bags" / "bench.json").write_text(json.dumps(lost))
    page = write_report(tmp_path / "bags", tmp_path / "report.html").read_text()
    assert "They cannot be shown" in page
    assert content["tables"][0]["caption"] in page


def test_every_second_image_alone_is_measured_and_said(data, done, tmp_path):
    out = tmp_path / "bench"
    content = run_bags(data, out, CONFIG, quiet=True, rows=ROWS[:1], every=2)
    first = content["rows"][0]
    assert content["every"] == first["every"] == 2
    assert first["quality"]["all"]["clicks"] == 6
    assert first["store"].startswith("regions-every-2-")
    assert content["tables"][0]["caption"] == "Mask mIoU, quasi-centre points, 1 image in 2 (6 clicks)"
    assert (out / "rows" / "bags-regions-quasi-centre-every-2").is_dir()
    page = write_report(out / "bags", tmp_path / "report.html").read_text()
    assert "1 image in 2" in page
    assert "They cannot be shown" not in page
    with pytest.raises(CheckpointError, match="every"):
        shutil.copytree(done[0] / "rows" / "bags-regions-quasi-centre", tmp_path / "kept")
        read_kept(
            tmp_path / "kept",
            json.loads((out / "rows" / "bags-regions-quasi-centre-every-2" / "result.json").read_text())[
                "measured_with"
            ],
        )


def test_the_clicks_of_every_nth_image_keep_their_ids_places_and_classes(data):
    points = load_points(data / "points_train.json")
    part = every_nth_image(points, 3)
    assert part.images.ids.tolist() == points.images.ids.tolist()[::3]
    of_them = np.isin(points.images.ids[points.annotation_image_index], part.images.ids)
    assert part.annotation_ids.tolist() == points.annotation_ids[of_them].tolist()
    assert (part.xy == points.xy[of_them]).all()
    assert (
        part.images.ids[part.annotation_image_index]
        == points.images.ids[points.annotation_image_index[of_them]]
    ).all()
    assert len(part.negative_points) == len(part.extra_points) == len(part)
    assert every_nth_image(points, 1) is points


def test_what_the_data_lack_is_listed_at_once(tmp_path):
    with pytest.raises(DataError) as error:
        run_bags(tmp_path, tmp_path / "out", CONFIG, quiet=True)
    assert [problem.split(":")[0].rpartition("/")[2] for problem in error.value.problems] == [
        "instances_train.json",
        "points_train.json",
        "points_train_random.json",
        "images",
    ]
    assert not (tmp_path / "out").exists()


def test_bags_have_no_seeds_and_a_mistyped_name_is_told(data, tmp_path):
    with pytest.raises(InputError, match="leave out --seeds 2"):
        run_bench("bags", data, tmp_path, CONFIG, BenchOptions(seeds=2))
    with pytest.raises(InputError, match="--every 2 is for bags"):
        run_bench("stages", data, tmp_path, CONFIG, BenchOptions(every=2))
    with pytest.raises(InputError, match="did you mean 'bags'"):
        run_bench("bag", data, tmp_path, CONFIG, BenchOptions())


def test_a_store_has_a_report_with_its_bags(data, done, tmp_path, capsys):
    out, content = done
    store = out / "proposals" / content["rows"][0]["store"]
    given = ["report", str(store), "--out", str(tmp_path / "store.html")]
    assert main(given) == 2
    assert "needs --points and --images" in capsys.readouterr().err
    given += ["--points", str(data / "points_train.json"), "--images", str(data.parent / "images")]
    assert main([*given, "--quiet"]) == 0
    plain = (tmp_path / "store.html").read_text()
    assert "Random clicks" in plain
    assert "IoU 0." not in plain
    assert main([*given, "--instances", str(data / "instances_train.json"), "--quiet"]) == 0
    assert "Mask mIoU, given points (12 clicks)" in (tmp_path / "store.html").read_text()


def test_a_store_of_other_points_and_options_for_no_store_are_refused(data, done, tmp_path, capsys):
    out, content = done
    store = out / "proposals" / content["rows"][0]["store"]
    given = ["--points", str(data / "points_train_random.json"), "--images", str(data.parent / "images")]
    assert main(["report", str(store), "--out", str(tmp_path / "store.html"), *given]) == 2
    assert "made from other points" in capsys.readouterr().err
    assert main(["report", str(out / "bags"), "--out", str(tmp_path / "store.html"), *given]) == 2
    assert "It is no proposal store" in capsys.readouterr().err
    assert not (tmp_path / "store.html").exists()
