"""Which windows the head looks at, and the examples that the common scorer learns from."""

import numpy as np
import pytest
import torch

from proposal_builders import box_mask, prompts_at
from sapnet.proposals.builtin.asking import Asking
from sapnet.proposals.builtin.bag_features import BAG_FEATURES
from sapnet.proposals.builtin.boundary_network import BoundaryNetwork
from sapnet.proposals.builtin.candidate_features import FEATURES
from sapnet.proposals.builtin.prompt_head import PromptHead
from sapnet.proposals.builtin.query_windows import BOX_MARGIN, SIDES, windows_of_queries
from sapnet.proposals.builtin.ranking import Ranking
from sapnet.proposals.builtin.ranking_training import bag_examples
from sapnet.proposals.builtin.weights import BuiltinWeights
from sapnet.proposals.builtin.working_image import reduce_image
from sapnet.proposals.prompt_plan import plan_prompts

SIZE = (60, 80)
PLAN = {"max_negatives": 3, "negatives": "same-class", "jitter_pixels": 4.0, "jitter_count": 2, "seed": 0}
EDGES = np.broadcast_to(np.array([10.0, 20, 50, 40], dtype=np.float32)[:, None, None], (4, 120, 160))


def planned(kinds, boxes=None):
    prompts = prompts_at([(20, 30), (60, 10)])
    return plan_prompts(prompts, kinds=kinds, boxes=boxes, image_size=SIZE, **PLAN)


def test_a_point_gets_windows_about_itself_and_one_about_the_box_seen_there():
    plan = planned(["point"])
    windows = windows_of_queries(plan, np.arange(2), np.array([2.0, 2.0]), EDGES)
    assert windows.query.tolist() == [0] * 5 + [1] * 5
    assert windows.seen.tolist() == ([False] * 4 + [True]) * 2
    assert windows.prompts.centers[:4].tolist() == [[40, 60]] * 4
    assert windows.prompts.sides[:4].tolist() == list(SIDES)
    assert windows.prompts.centers[4].tolist() == [30, 30]
    assert windows.prompts.sides[4] == pytest.approx(40 * BOX_MARGIN)
    assert windows.prompts.point_xy[5:].tolist() == [[120, 20]] * 5
    assert windows.prompts.boxes.isnan().all()


def test_a_box_gets_one_window_about_itself():
    plan = planned(["box", "box+point"], np.array([[10.0, 10, 30, 20], [np.nan] * 4]))
    windows = windows_of_queries(plan, np.arange(2), np.array([2.0, 2.0]), EDGES)
    assert plan.num_queries == 2
    assert windows.prompts.centers.tolist() == [[40, 30]] * 2
    assert windows.prompts.sides.tolist() == pytest.approx([40 * BOX_MARGIN] * 2)
    assert windows.prompts.boxes[0].tolist() == [20, 20, 60, 40]
    assert windows.prompts.point_window.tolist() == [1]
    assert not windows.seen.any()


def test_negative_points_go_along_and_chosen_queries_keep_theirs():
    plan = planned(["point", "point+negatives"])
    windows = windows_of_queries(plan, np.array([1, 2]), np.ones(2), EDGES)
    assert set(windows.query.tolist()) == {1, 2}
    of_first = windows.prompts.point_window == 0
    assert windows.prompts.point_xy[of_first].tolist() == [[20, 30], [60, 10]]
    assert windows.prompts.point_positive[of_first].tolist() == [True, False]
    assert windows.prompts.point_xy[windows.prompts.point_window == 9].tolist() == [[60, 10]]


def test_no_queries_have_no_windows():
    windows = windows_of_queries(planned(["point"]), np.zeros(0, dtype=np.int64), np.ones(2), EDGES)
    assert len(windows.query) == len(windows.prompts.sides) == len(windows.prompts.point_xy) == 0


def test_examples_hold_the_overlap_of_every_candidate_with_the_object():
    torch.manual_seed(0)
    head = PromptHead().eval()
    torch.nn.init.normal_(head.mask_head.weight, std=0.5)
    torch.nn.init.zeros_(head.mask_head.bias)
    network = BoundaryNetwork().eval()
    count = len(FEATURES)
    shapes = {"mean": count, "deviation": count, "weight_1": (count, 2), "bias_1": 2, "weight_2": (2, 2)}
    shapes |= {"bias_2": 2, "weight_3": (2, 1), "bias_3": 1}
    ranking = Ranking.of_arrays({name: np.ones(shape, dtype=np.float32) for name, shape in shapes.items()})
    image = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    prompts = prompts_at([(20, 30)])
    mask = box_mask(SIZE, 10, 10, 40, 50)[None]
    working = reduce_image(image, network, head, long_side=80)
    asking = Asking(BuiltinWeights(network, ranking, head), ("hierarchy", "head"), ("point",), PLAN)
    examples = bag_examples(asking, working, prompts, mask, SIZE)
    [(features, overlaps)] = examples["hierarchy+head"]
    assert features.shape == (len(overlaps), len(BAG_FEATURES))
    [(_, _, bag)] = asking.candidates(working, prompts, SIZE)
    drawn = bag.masks(np.arange(len(overlaps)), working, SIZE)
    expected = (drawn & mask).sum((1, 2)) / (drawn | mask).sum((1, 2))
    # Overlaps are counted on every second row and column.
    assert np.abs(overlaps - expected).max() < 0.08
    [(_, by_head)] = examples["head"]
    assert by_head.tolist() == overlaps[bag.bag.from_head].tolist()
