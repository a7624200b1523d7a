"""What verbs say at their end."""

from sapnet.cli.closing import bench_lines, closing_lines, proposal_lines

FIGURES = {
    "report": "out/report.html",
    "model": "out/model.safetensors",
    "labels": {"out": "out/labels.json", "labels": 7},
    "headline": {
        "mask_miou_selected": 0.5,
        "mask_miou_top_score": 0.25,
        "mask_miou_oracle": 0.75,
        "AP": 0.125,
        "AP50": 0.25,
    },
}


def test_the_end_names_report_model_labels_and_headline_figures():
    text = "\n".join(closing_lines(FIGURES))
    for expected in ("out/report.html", "out/model.safetensors", "out/labels.json (7 masks)"):
        assert expected in text
    assert "this run's picks 0.500, highest proposer score 0.250, best proposal 0.750" in text
    assert "AP 0.125, AP50 0.250" in text


def test_without_ground_truth_only_the_places_are_named():
    nothing = dict.fromkeys(FIGURES["headline"])
    assert len(closing_lines(FIGURES | {"headline": nothing})) == 3


def test_a_process_that_is_not_the_first_says_nothing():
    assert closing_lines({}) == ()


def quality(value):
    depths = ("top1", "best_of_3", "best_of_6", "best_of_12", "oracle")
    size = {
        "clicks": 4,
        "below_half": 0.25,
        "mask": dict.fromkeys(depths, value),
        "box": dict.fromkeys(depths),
    }
    sizes = dict.fromkeys(("all", "small", "medium", "large"), size)
    kind = {"share": 0.5, "share_of_top1": 1.0, "mask_mean": 0.25, "mask_oracle": 0.5, **sizes}
    return {**sizes, "kinds": {"point": kind}, "proposals_per_click": 3.0}


def test_the_quality_of_bags_stands_in_columns_by_size_and_kind():
    lines = proposal_lines({"out": "store", "images": 2, "quality": quality(0.5)})
    assert lines[:2] == ("out: store", "images: 2")
    assert "  masks: best of 6                 0.500   0.500   0.500   0.500" in lines
    assert "  boxes: top-1                         -       -       -       -" in lines
    assert "  kind point: 0.500 of the proposals, 1.000 of top-1" in lines
    assert lines[-1] == "proposals per click: 3.0"


def test_unmeasured_bags_and_other_benchmarks_have_no_closing_of_their_own():
    assert proposal_lines({"out": "store"}) == ()
    assert bench_lines({"name": "segmenters", "rows": []}) == ()


def test_tables_of_a_benchmark_are_aligned():
    table = {"caption": "Masks", "header": ["Proposer", "top-1"], "rows": [["a", 0.5], ["longer name", None]]}
    assert bench_lines({"tables": [table]}) == (
        "Masks",
        "Proposer     top-1",
        "a            0.500",
        "longer name      -",
    )


def test_a_table_that_is_not_whole_says_how_much_of_it_is_there():
    rows = [{"label": "SAM-top1"}]
    assert (
        bench_lines({"name": "stages", "rows": rows, "planned": ["a row"] * 7})[-1]
        == "1 of 7 rows are measured"
    )
    assert bench_lines({"name": "stages", "rows": rows, "planned": ["a row"]}) == ()
