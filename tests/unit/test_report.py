"""The report: complete, self-contained, escaped, honest about what is missing or simulated."""

import html.parser
import json
import re
import shutil
import subprocess

import numpy as np
import pytest

from run_builder import NASTY, build_run
from sapnet.config import Config
from sapnet.errors import InputError
from sapnet.report import write_report
from sapnet.report.figures import bar_chart, line_chart, nice_ticks, thin_out
from sapnet.report.markup import Markup, percent, table, tag
from sapnet.report.pictures import Album, crop_around, panel
from sapnet.report.sections import config_differences


class Page(html.parser.HTMLParser):
    """Collects elements and checks that they are nested properly."""

    def __init__(self, text):
        super().__init__()
        self.open, self.found, self.words = [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, name, attributes):
        self.found.append((name, dict(attributes)))
        if name not in ("meta", "img", "br"):
            self.open.append(name)

    def handle_startendtag(self, name, attributes):
        self.found.append((name, dict(attributes)))

    def handle_endtag(self, name):
        assert self.open.pop() == name

    def handle_data(self, data):
        self.words.append(data)

    def all(self, name):
        return [attributes for element, attributes in self.found if element == name]

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.words))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return build_run(tmp_path_factory.mktemp("complete"))


@pytest.fixture(scope="module")
def document(run):
    defaults = Config().model_dump(mode="json")
    return write_report(run, run / "report.html", default_settings=defaults).read_text()


def test_a_complete_run_has_every_section_and_nothing_missing_but_the_damaged_line(document):
    page = Page(document)
    names = [attributes["id"] for attributes in page.all("section")]
    assert names == [
        "headline", "examples", "labels", "segmenter", "curves", "training-images", "validation-images",
        "settings", "missing",
    ]  # fmt: skip
    assert [link["href"] for link in page.all("a")] == [f"#{name}" for name in names]
    assert "metrics.jsonl: 1 damaged lines were left out." in page.text
    assert page.text.count("damaged") == 1
    assert "Worst picks" in page.text
    assert "Largest gains over the top score" in page.text
    assert "training.epochs" in page.text
    assert "training.mode" not in page.text


def test_the_file_loads_nothing_and_is_small(document):
    page = Page(document)
    assert len(document) < 8_000_000
    assert re.findall(r"https?://", document) == []
    assert all(image["src"].startswith("data:image/jpeg;base64,") for image in page.all("img"))
    assert page.all("script") == page.all("link") == []
    assert "url(" not in document
    assert "@import" not in document


def test_every_picture_has_words_and_every_table_a_caption_and_scopes(document):
    page = Page(document)
    assert len(page.all("img")) > 20
    assert all(len(image["alt"]) > 5 for image in page.all("img"))
    assert all(drawing["aria-label"] for drawing in page.all("svg"))
    assert len(page.all("table")) == len(page.all("caption"))
    assert all(cell.get("scope") in ("row", "col") for cell in page.all("th"))
    assert page.all("html") == [{"lang": "en"}]


def test_labels_by_score_say_whether_sorting_helps(document):
    tables = re.findall(r"<table.*?</table>", document, flags=re.DOTALL)
    (parts,) = [found for found in tables if "five equal parts" in found]
    rows = re.findall(r"<tr>(.*?)</tr>", parts, flags=re.DOTALL)[1:]
    # Five labels, one in each part: a part of 4 x 4 of the object's 10 x 10 pixels, the object, the group ...
    shown = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, flags=re.DOTALL) for row in rows]
    assert [cells[0] for cells in shown] == [f"{0.2 + 0.1 * k:.3f} to {0.2 + 0.1 * k:.3f}" for k in range(5)]
    assert [cells[1] for cells in shown] == ["1"] * 5
    assert [cells[2] for cells in shown][:2] == ["16.0", "100.0"]
    assert "Rank correlation of score and IoU" in document


def test_the_report_says_how_many_labels_are_good(document):
    tables = re.findall(r"<table.*?</table>", document, flags=re.DOTALL)
    (found,) = [table for table in tables if "by the mask IoU of their labels" in table]
    rows = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in re.findall(r"<tr>(.*?)</tr>", found)]
    assert rows[0] == ["Pick", "IoU at least 0.5", "IoU at least 0.75", "IoU at least 0.9"]
    # Two of the five labels are the object itself.
    assert rows[1] == ["Labels of this run", "40.0", "40.0", "40.0"]
    assert rows[-1] == ["Best proposal (oracle)", "100.0", "100.0", "100.0"]


def test_text_of_users_is_escaped(document):
    assert NASTY not in document
    assert "&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt;" in document


def test_simulated_proposals_are_called_so_wherever_their_figures_appear(run, document):
    page = Page(document)
    assert "simulated: drawn from ground truth" in page.text
    captions = re.findall(r"<caption>(.*?)</caption>", document)
    of_figures = [caption for caption in captions if "mIoU" in caption or "AP" in caption or "Gap" in caption]
    assert len(of_figures) >= 6
    assert all("simulated" in caption for caption in of_figures)
    cards = re.findall(r'<div class="card">(.*?)</div></div>', document)
    assert any("simulated" in card for card in cards if "mIoU" in card)


def test_real_proposals_are_not_called_simulated(tmp_path):
    run = build_run(tmp_path, proposer="regions")
    page = Page(write_report(run, tmp_path / "out" / "report.html").read_text())
    assert "simulated" not in page.text.lower()
    assert "proposer regions" in page.text
    assert "training.mode" in page.text, "without the defaults all settings are listed"


def test_without_ground_truth_the_least_certain_picks_come_first(tmp_path):
    run = build_run(tmp_path, truth=False)
    page = Page(write_report(run, run / "report.html").read_text())
    assert "Least certain picks" in page.text
    assert "No ground truth was given" in page.text
    assert "not evaluated against ground truth" in page.text
    order = re.findall(r"annotation (\d+) in", page.text)
    assert list(dict.fromkeys(order))[:2] == ["10", "11"]


@pytest.mark.parametrize(
    "absent", ["labels.json", "evaluation.json", "metrics.jsonl", "proposals", "predictions.json"]
)
def test_a_missing_piece_is_said_and_the_rest_is_shown(tmp_path, absent):
    run = build_run(tmp_path)
    path = run / absent
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    page = Page(write_report(run, run / "report.html").read_text())
    assert "What is missing" in page.text
    assert absent.split(".")[0] in page.text
    assert "What was run" in page.text


def test_damaged_and_odd_files_are_said_and_not_fatal(tmp_path):
    run = build_run(tmp_path)
    (run / "labels.json").write_text("{")
    (run / "config.yaml").write_text("a: [")
    (run / "evaluation.json").write_text("[]")
    (run / "predictions.json").write_bytes(b"\xff\xfe")
    (tmp_path / "images" / "1.jpg").write_text("no image")
    page = Page(write_report(run, run / "report.html").read_text())
    for name in ("labels.json", "config.yaml", "evaluation.json", "predictions.json"):
        assert name in page.text


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        write_report(tmp_path / "absent", tmp_path / "report.html")
    with pytest.raises(InputError, match="none of"):
        write_report(tmp_path, tmp_path / "report.html")
    (tmp_path / "bench.json").write_text("[]")
    with pytest.raises(InputError, match="rows"):
        write_report(tmp_path, tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_a_benchmark_becomes_a_table_of_means_and_spreads(tmp_path):
    metrics = {"mIoU": {"mean": 0.664, "spread": 0.004, "values": [0.66, 0.668]}, "AP": {"mean": 0.1}}
    rows = [
        {"label": "SAPNet & co", "metrics": metrics},
        {"label": "top score", "metrics": {"mIoU": {"mean": 0.568, "spread": 0.0, "values": [0.568]}}},
        {"label": "nothing", "metrics": {}},
    ]
    content = {"name": "street4", "rows": rows, "proposer": "simulated", "seeds": [0, 1]}
    (tmp_path / "bench.json").write_text(json.dumps(content))
    document = write_report(tmp_path, tmp_path / "report.html").read_text()
    page = Page(document)
    assert "0.664 ± 0.004 (2)" in page.text
    assert "0.568 (1)" in page.text
    assert "SAPNet &amp; co" in document
    assert "street4, simulated proposals" in page.text
    (tmp_path / "bench.json").write_text(json.dumps({"name": "empty", "rows": []}))
    assert "Benchmark empty" in Page(write_report(tmp_path, tmp_path / "report.html").read_text()).text


def test_elements_escape_what_is_not_markup():
    assert (
        tag("p", "<b>", Markup("<i>x</i>"), None, title='"&')
        == '<p title="&quot;&amp;">&lt;b&gt;<i>x</i></p>'
    )
    assert tag("img", alt="a", hidden=True, id=None) == '<img alt="a" hidden/>'
    assert "<td>\N{EN DASH}</td>" in table("c", ["a", "b"], [["x", None]])
    assert percent(0.1234) == "12.3"
    assert percent(None) == "\N{EN DASH}"


def test_ticks_are_round_and_cover_the_range():
    assert nice_ticks(0.0, 1.0, 4) == pytest.approx([0.0, 0.5, 1.0])
    assert nice_ticks(3.0, 3.0, 4) == [3.0]
    assert nice_ticks(0, 2000, 5) == pytest.approx([0, 500, 1000, 1500, 2000])


def test_charts_leave_out_what_is_not_finite_and_say_when_nothing_is_left():
    drawn = line_chart("loss", {"a": [(0, 1.0), (1, float("nan")), (2, 0.5)], "b": [(0, 2.0)]})
    assert "nan" not in drawn
    assert drawn.count("<polyline") == 2
    assert "from 1 to 0.5" in drawn
    assert "No values were recorded" in line_chart("loss", {"a": [(0, float("inf"))], "b": []})
    assert "36%" not in bar_chart("bars", [("x", None, "none"), ("y", 3.0, "3")])


def test_long_curves_are_thinned_by_means():
    points = thin_out([(float(x), float(x % 2)) for x in range(2000)], 400)
    assert len(points) == 400
    assert {round(y, 1) for _, y in points} == {0.4, 0.6}
    assert thin_out([]) == []


def test_pictures_stop_at_the_limit_of_bytes(rng):
    album = Album(limit=6000)
    image = rng.integers(0, 255, (40, 60, 3), dtype=np.uint8)
    shown = [album.picture(image, "noise", long_side=50) for _ in range(6)]
    assert 0 < album.left_out < 6
    assert shown[-1] == '<p class="note">picture left out</p>'
    assert 'width="50" height="33"' in shown[0]


@pytest.mark.parametrize("boxes", [[[0, 0, 1, 1]], [[75, 55, 80, 60]], [[0, 0, 80, 60]], [[-20, 5, 200, 9]]])
def test_crops_stay_in_the_image_and_hold_the_boxes(boxes):
    rows, columns = crop_around(boxes, (60, 80))
    assert 0 <= rows.start < rows.stop <= 60
    assert 0 <= columns.start < columns.stop <= 80
    assert columns.start <= max(boxes[0][0], 0)
    assert columns.stop >= min(boxes[0][2], 80)
    image = np.zeros((60, 80, 3), np.uint8)
    assert max(panel(image, (rows, columns), mask=image[..., 0] > 0, click=(1.0, 2.0), side=90).shape) == 90


def test_only_settings_that_differ_are_listed():
    defaults = {"a": 1, "b": {"c": (1, 2), "d": None}}
    assert config_differences({"a": 1, "b": {"c": [1, 2], "d": 3}, "e": 4}, defaults) == [
        ["b.d", "3", "None"],
        ["e", "4", "\N{EN DASH}"],
    ]


@pytest.mark.slow
def test_a_browser_renders_the_report(run, document, tmp_path):
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium to render with")
    picture = tmp_path / "page.png"
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--screenshot={picture}"]
    subprocess.run([*command, (run / "report.html").as_uri()], capture_output=True, timeout=60, check=False)
    assert picture.stat().st_size > 10_000
