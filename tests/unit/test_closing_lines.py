"""What a whole run says at its end."""

from sapnet.cli.closing import closing_lines

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
