"""Tables measured in parts: what is put together is what one measurement of everything would have been."""

import json

import pytest

from sapnet.bench.combining import Measured, combined, overlaps_of, what_differs
from sapnet.bench.paired import ImageSums
from sapnet.bench.rows import Row
from sapnet.bench.summary import RowResults, table_rows

OVERLAPS = {
    "SAM-top1": {0: [0.2, 0.4, 0.6], 1: [0.3, 0.3, 0.6], 2: [0.1, 0.3, 0.5]},
    "picks": {0: [0.5, 0.4, 0.6], 1: [0.6, 0.3, 0.9], 2: [0.4, 0.4, 0.5]},
    "best proposal": {0: [0.9, 0.8, 0.7], 1: [0.8, 0.9, 0.9], 2: [0.7, 0.7, 1.0]},
}
PRECISIONS = {"picks": {0: 0.1, 1: 0.3}, "full supervision": {0: 0.2, 1: 0.4}}
ROWS = {
    "SAM-top1": Row("SAM-top1", labels="top-score"),
    "picks": Row("picks", segmenter="fixed"),
    "best proposal": Row("best proposal", labels="oracle"),
    "full supervision": Row("full supervision", labels="truth", segmenter="fixed", source="ground-truth"),
}


def row_results(label, seeds):
    """Two images with two and one object, of the seeds that are measured."""
    found = RowResults(ROWS[label], "simulated", clicks=3 if label in OVERLAPS else None)
    for seed, values in OVERLAPS.get(label, {}).items():
        if seed in seeds:
            found.images[seed] = ImageSums.of([1, 1, 2], values)
            found.figures[seed] = {"mask mIoU": sum(values) / 3, "Gap": values[0]}
    for seed, value in PRECISIONS.get(label, {}).items():
        if seed in seeds:
            found.figures.setdefault(seed, {})["AP"] = value
    return found


def measured(wanted, commit="one"):
    """A table of the seeds wanted of each label, as if read from its files."""
    results = [row_results(label, wanted.get(label, ())) for label in ROWS]
    seeds = range(1 + max(seed for seeds in wanted.values() for seed in seeds))
    content = {
        "format": 3,
        "name": "stages",
        "source": "simulated",
        "simulated": True,
        "seeds": list(seeds),
        "segmenter_seeds": min(2, len(seeds)),
        "planned": list(ROWS),
        "command": f"sapnet bench stages --seeds {len(seeds)}",
        "settings": {},
        "commits": [commit],
        "rows": table_rows(results),
    }
    return Measured(*json.loads(json.dumps([content, overlaps_of(results)])))


EVERYTHING = dict.fromkeys(ROWS, (0, 1, 2))


@pytest.mark.parametrize(
    "parts",
    [
        [dict.fromkeys(ROWS, (0,)), dict.fromkeys(ROWS, (1, 2))],
        [dict.fromkeys(ROWS, (2,)), dict.fromkeys(ROWS, (0,)), dict.fromkeys(ROWS, (1,))],
        [
            {"best proposal": (0, 1, 2), "full supervision": (0, 1)},
            {"SAM-top1": (0, 1, 2), "picks": (0, 1, 2)},
        ],
        [{"picks": (0, 1), "best proposal": (0, 1)}, EVERYTHING],
    ],
    ids=["seeds", "seeds in another order", "rows", "some measured twice"],
)
def test_parts_make_the_table_that_is_measured_at_once(parts):
    whole = measured(EVERYTHING)
    found = measured(parts[0])
    for part in parts[1:]:
        found = combined(found, measured(part))
    assert rounded(found.content["rows"]) == rounded(whole.content["rows"])
    for key in ("seeds", "segmenter_seeds", "command"):
        assert found.content[key] == whole.content[key]
    assert found.overlaps["images"] == whole.overlaps["images"]
    assert found.overlaps["rows"] == {
        label: {seed: rows[seed] for seed in sorted(rows)} for label, rows in whole.overlaps["rows"].items()
    }


def rounded(value):
    """Kept overlaps are rounded, which moves the last digits of what is computed from them."""
    return json.loads(json.dumps(value), parse_float=lambda text: round(float(text), 6))


def test_a_row_is_compared_with_the_row_above_it_in_the_plan_whoever_was_measured_first():
    found = combined(measured({"best proposal": (0,)}), measured({"SAM-top1": (0,), "picks": (0,)}))
    best = found.content["rows"][-1]
    assert best["differences"]["above"]["of"] == "picks"
    assert best["differences"]["above"]["mask mIoU"]["mean"] == pytest.approx(0.3)


def test_where_overlaps_are_lost_the_difference_over_more_seeds_stays():
    earlier = measured({"SAM-top1": (0, 1), "picks": (0, 1)})
    lost = Measured(earlier.content, {"images": [], "rows": {}})
    before = earlier.content["rows"][1]["differences"]["first"]
    fewer = combined(lost, measured({"SAM-top1": (2,), "picks": (2,)}))
    picks = fewer.content["rows"][1]
    assert picks["metrics"]["mask mIoU"]["seeds"] == [0, 1, 2]
    assert picks["differences"]["first"]["mask mIoU"] == before["mask mIoU"]
    assert list(fewer.overlaps["rows"]["picks"]) == ["2"]
    more = combined(lost, measured(EVERYTHING))
    assert more.content["rows"][1]["differences"]["first"]["mask mIoU"]["values"] == pytest.approx(
        [0.1, 0.2, 0.4 / 3]
    )
    # A difference to another row than now is of no use.
    between = combined(lost, measured({"best proposal": (0,)}))
    assert "mask mIoU" not in between.content["rows"][2]["differences"]["above"]


def test_the_later_figures_win_and_overlaps_of_replaced_labels_go(monkeypatch):
    earlier = measured({"SAM-top1": (0,), "picks": (0,)})
    monkeypatch.setitem(OVERLAPS, "picks", {0: [1.0, 1.0, 1.0]})
    later = measured({"picks": (0,)}, commit="two")
    found = combined(earlier, Measured(later.content, {"images": [], "rows": {}}))
    assert found.content["rows"][1]["metrics"]["mask mIoU"]["values"] == [1.0]
    assert found.content["commits"] == ["one", "two"]
    assert list(found.overlaps["rows"]) == ["SAM-top1"]


def test_rows_that_are_no_longer_planned_are_left_out():
    later = measured({"picks": (0,)})
    planned = [label for label in ROWS if label != "SAM-top1"]
    found = combined(measured(EVERYTHING), Measured({**later.content, "planned": planned}, later.overlaps))
    assert [row["label"] for row in found.content["rows"]] == planned


def test_a_seed_alone_can_be_added():
    first = measured({"picks": (0,)})
    later = measured({"picks": (2,)})
    alone = Measured(
        {**later.content, "seeds": [2], "settings": {"seed": 2}, "segmenter_seeds": 0}, later.overlaps
    )
    found = combined(Measured({**first.content, "settings": {}}, first.overlaps), alone).content
    assert (found["seeds"], found["segmenter_seeds"]) == ([0, 2], 1)
    assert found["rows"][0]["metrics"]["mask mIoU"]["seeds"] == [0, 2]


def test_what_keeps_two_tables_apart_is_named():
    content = {
        **measured(EVERYTHING).content,
        "settings_digest": "a",
        "digests": {"points": "x"},
        "settings": {},
    }
    other = {**content, "commits": ["two"], "seeds": [0], "rows": [], "command": "another"}
    assert what_differs(content, other) == []
    assert what_differs(content, {**other, "settings": {"seed": 2}}) == []
    assert what_differs(content, {**other, "settings": {"training.epochs": 2}}) == ["settings"]
    assert what_differs(content, {**other, "settings_digest": "b", "digests": {}}) == [
        "settings_digest",
        "digests",
    ]


def test_a_longer_training_is_measured_against_ground_truth_of_the_same_length():
    truth = {"labels": "truth", "segmenter": "fixed", "source": "ground-truth"}
    rows = {
        "picks": (Row("picks", segmenter="fixed"), 0.1),
        "truth": (Row("truth", **truth), 0.2),
        "picks, longer": (Row("picks, longer", segmenter="fixed", longer=3), 0.3),
        "truth, longer": (Row("truth, longer", **truth, longer=3), 0.4),
        "picks, longest": (Row("picks, longest", segmenter="fixed", longer=6), 0.5),
    }
    results = [RowResults(row, "simulated", figures={0: {"AP": value}}) for row, value in rows.values()]

    def shares(found):
        return {row["label"]: row["metrics"].get("AP of full", {}).get("mean") for row in found}

    expected = {
        "picks": 0.1 / 0.2,
        "truth": 1,
        "picks, longer": 0.3 / 0.4,
        "truth, longer": 1,
        "picks, longest": None,
    }
    assert shares(table_rows(results)) == pytest.approx(expected)
    content = {**measured(EVERYTHING).content, "planned": list(rows)}
    parts = [
        Measured({**content, "rows": table_rows(some)}, {"images": [], "rows": {}})
        for some in (results[:2] + results[3:], results[2:3])
    ]
    assert shares(combined(*parts).content["rows"]) == pytest.approx(expected)
