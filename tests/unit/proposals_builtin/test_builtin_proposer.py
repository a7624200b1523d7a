"""The built-in proposer as a proposer."""

import pickle

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from proposal_builders import prompts_at, same_proposals
from sapnet.errors import CheckpointError, InputError
from sapnet.proposals.builtin.bag_features import BAG_FEATURES
from sapnet.proposals.builtin.boundary_maps import BoundaryMaps
from sapnet.proposals.builtin.boundary_network import BoundaryNetwork
from sapnet.proposals.builtin.candidate_features import FEATURES
from sapnet.proposals.builtin.click_bags import SOURCES
from sapnet.proposals.builtin.prompt_head import PromptHead
from sapnet.proposals.builtin.proposer import BuiltinProposer
from sapnet.proposals.builtin.ranking import Ranking
from sapnet.proposals.builtin.weights import BuiltinWeights, load_weights, save_weights
from sapnet.proposals.proposer import Proposer


def some_ranking(features=FEATURES, units=4):
    rng = np.random.default_rng(0)
    shapes = {"weight_1": (len(features), units), "bias_1": (units,), "weight_2": (units, units)}
    shapes |= {"bias_2": (units,), "weight_3": (units, 1), "bias_3": (1,)}
    arrays = {name: rng.normal(size=shape).astype(np.float32) / 3 for name, shape in shapes.items()}
    ones = np.ones(len(features), dtype=np.float32)
    return Ranking.of_arrays({"mean": 0 * ones, "deviation": ones, **arrays})


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    scorers = {name: some_ranking(BAG_FEATURES) for name in ("hierarchy", "head", "hierarchy+head")}
    head = PromptHead().eval()
    # An untrained head draws nothing; this one draws blots.
    torch.nn.init.normal_(head.mask_head.weight, std=0.5)
    torch.nn.init.zeros_(head.mask_head.bias)
    save_weights(path, BuiltinWeights(BoundaryNetwork(), some_ranking(), head, scorers))
    return path


@pytest.fixture(scope="module")
def proposer(weights):
    return BuiltinProposer(working_long_side=64, masks_per_point=5, weights=weights, sources=SOURCES)


@pytest.fixture
def image():
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return np.repeat(np.repeat(blocks, 16, axis=0), 16, axis=1)


def test_it_is_a_proposer(proposer):
    assert isinstance(proposer, Proposer)
    assert proposer.name == "builtin"
    assert len(proposer.checkpoint_digest) == 64


def test_every_region_holds_its_click_or_nearly_so(weights, image):
    prompts = prompts_at([(20, 20), (100.5, 70.5)])
    proposer = BuiltinProposer(
        sources=("hierarchy",), working_long_side=64, masks_per_point=5, weights=weights
    )
    proposals = proposer.propose(image, prompts)
    assert proposals.image_size == (96, 128)
    assert set(proposals.prompt_index.tolist()) == {0, 1}
    masks = proposals.masks()
    for mask, owner in zip(masks, proposals.prompt_index, strict=True):
        x, y = prompts.xy[owner].astype(int)
        assert mask[y - 1 : y + 2, x - 1 : x + 2].any()
    assert ((proposals.scores > 0) & (proposals.scores <= 1)).all()
    assert all(np.bincount(proposals.prompt_index) <= 5)


def test_proposals_are_the_same_again_and_in_another_process(proposer, image):
    prompts = prompts_at([(20, 20), (90, 50)])
    first = proposer.propose(image, prompts)
    copy = pickle.loads(pickle.dumps(proposer))
    assert len(pickle.dumps(proposer)) < 10_000
    assert same_proposals(first, proposer.propose(image, prompts))
    assert same_proposals(first, copy.propose(image, prompts))


def test_no_clicks_give_no_proposals_and_need_no_weights(weights, image):
    fresh = BuiltinProposer(weights=weights)
    assert fresh.propose(image, prompts_at([])).num_proposals == 0


def test_clicks_off_the_image_and_flat_images_get_a_proposal(proposer):
    proposals = proposer.propose(np.full((40, 50, 3), 99, dtype=np.uint8), prompts_at([(-5, 3), (60, 60)]))
    assert set(proposals.prompt_index.tolist()) == {0, 1}
    assert proposer.propose(np.zeros((1, 1, 3), dtype=np.uint8), prompts_at([(0.5, 0.5)])).num_proposals == 1


@pytest.fixture
def _many_regions(monkeypatch):
    """The network sees boundaries all over."""

    def noise(network, head, image):
        rng = np.random.default_rng(0)
        size = image.shape[:2]
        maps = [rng.uniform(0, 1, size).astype(np.float32) for _ in range(3)]
        return BoundaryMaps(*maps, np.zeros((4, *size), dtype=np.float32)), None

    monkeypatch.setattr("sapnet.proposals.builtin.boundary_maps.image_maps", noise)


def pixel_of_some(masks):
    """A pixel (x, y) that the second but not the first of the masks covers."""
    row, column = np.argwhere(masks[1] & ~masks[0])[0]
    return np.array([[column + 0.5, row + 0.5]]), int(row), int(column)


@pytest.mark.usefixtures("_many_regions")
def test_what_covers_a_negative_point_is_left_out(proposer, image):
    xy, row, column = pixel_of_some(proposer.propose(image, prompts_at([(20, 20)])).masks())
    prompts = prompts_at([(20, 20)], negative_xy=xy, negative_owner=np.array([0]))
    # Half a pixel of the reduced image is lost and won at the rim of a mask.
    masks = proposer.propose(image, prompts).masks()
    assert len(masks)
    assert not masks[:, row, column].all()


@pytest.mark.usefixtures("_many_regions")
def test_what_misses_a_further_point_is_scored_lower(proposer, image):
    before = proposer.propose(image, prompts_at([(20, 20)]))
    xy, row, column = pixel_of_some(before.masks())
    prompts = prompts_at([(20, 20)], extra_xy=xy, extra_owner=np.array([0]))
    after = proposer.propose(image, prompts)
    assert not before.masks()[0, row, column]
    assert after.scores[~after.masks()[:, row, column]].max(initial=0) < 0.2


def test_a_thousand_clicks_are_answered(weights):
    small = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    xy = np.random.default_rng(0).uniform(0, [16, 12], (1000, 2))
    regions_alone = BuiltinProposer(sources=("hierarchy",), weights=weights, masks_per_point=1)
    assert len(set(regions_alone.propose(small, prompts_at(xy)).prompt_index.tolist())) == 1000


@pytest.mark.parametrize("sources", [("hierarchy",), ("head",), ("head", "hierarchy")])
def test_kinds_tell_the_prompt_and_the_source(weights, image, sources):
    kinds = ("point", "point+negatives", "box+point", "jittered")
    proposer = BuiltinProposer(sources=sources, kinds=kinds, working_long_side=64, weights=weights)
    proposals = proposer.propose(image, prompts_at([(20, 20), (90, 50)]))
    found = {tuple(kind.split("/")) for kind in proposals.kinds}
    assert {source for _, source in found} <= set(sources)
    assert {kind for kind, _ in found} <= set(kinds)
    if "head" in sources:
        assert len(found) > 1
        # The masks are drawn anew at the original size.
        assert proposals.masks().any((1, 2)).all()


def test_a_point_alone_knows_nothing_of_the_other_clicks(weights, image):
    proposer = BuiltinProposer(sources=SOURCES, kinds=("point",), working_long_side=64, weights=weights)
    alone = proposer.propose(image, prompts_at([(20, 20)]))
    among = proposer.propose(image, prompts_at([(20, 20), (24, 22), (90, 50)]))
    rows = among.of_prompt(0)
    assert alone.counts == among.counts[rows]
    assert np.allclose(alone.scores, among.scores[rows], atol=1e-5)


@pytest.mark.parametrize("source", SOURCES)
def test_other_clicks_matter_where_they_are_negatives(weights, image, source):
    proposer = BuiltinProposer(
        sources=(source,), kinds=("point+negatives",), working_long_side=64, weights=weights
    )
    alone = proposer.propose(image, prompts_at([(20, 20)]))
    among = proposer.propose(image, prompts_at([(20, 20), (24, 22)]))
    rows = among.of_prompt(0)
    assert alone.counts != among.counts[rows] or not np.allclose(alone.scores, among.scores[rows])


def test_a_box_is_answered_where_it_lies(weights, image):
    proposer = BuiltinProposer(sources=SOURCES, kinds=("box",), working_long_side=64, weights=weights)
    assert proposer.uses_boxes
    assert not BuiltinProposer(kinds=("point",), weights=weights).uses_boxes
    box = np.array([[60.0, 40, 120, 90]])
    given = proposer.propose(image, prompts_at([(20, 20)], boxes=box))
    assert {kind.split("/")[0] for kind in given.kinds} == {"box"}
    by_head = [i for i, kind in enumerate(given.kinds) if kind == "box/head"]
    # The head's window is the box's longer side times 1.3 about its middle.
    assert (given.boxes[by_head, 0] >= 90 - 39 - 1).all()
    assert (given.boxes[by_head, 2] <= 90 + 39 + 1).all()
    missing = proposer.propose(image, prompts_at([(20, 20)], boxes=np.full((1, 4), np.nan)))
    assert missing.num_proposals
    assert missing.counts == proposer.propose(image, prompts_at([(20, 20)])).counts


def test_more_clicks_than_are_gathered_at_a_time(weights):
    small = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    xy = np.random.default_rng(0).uniform(0, [32, 24], (40, 2))
    proposer = BuiltinProposer(sources=SOURCES, kinds=("point", "box"), masks_per_point=2, weights=weights)
    assert len(set(proposer.propose(small, prompts_at(xy)).prompt_index.tolist())) == 40


def test_wrong_settings_are_all_named(weights):
    with pytest.raises(InputError, match="did you mean 'hierarchy'"):
        BuiltinProposer(sources=("hierachy",), weights=weights)
    with pytest.raises(InputError, match="no source"):
        BuiltinProposer(sources=(), weights=weights)
    with pytest.raises(InputError, match="did you mean 'point'"):
        BuiltinProposer(kinds=("pint",), weights=weights)


def test_a_file_without_a_head_serves_the_hierarchy_alone(tmp_path, image):
    torch.manual_seed(0)
    path = tmp_path / "w.safetensors"
    save_weights(path, BuiltinWeights(BoundaryNetwork(), some_ranking()))
    assert BuiltinProposer(sources=("hierarchy",), weights=path).propose(image, prompts_at([(5, 5)])).counts
    with pytest.raises(CheckpointError, match="no promptable head"):
        BuiltinProposer(sources=("head",), weights=path).propose(image, prompts_at([(5, 5)]))


def test_missing_and_damaged_weights_are_named(tmp_path, weights):
    with pytest.raises(CheckpointError, match=r"nowhere.safetensors"):
        BuiltinProposer(weights=tmp_path / "nowhere.safetensors")
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="not a readable safetensors file"):
        load_weights(damaged)
    with pytest.raises(CheckpointError, match="no such file"):
        load_weights(tmp_path / "nowhere.safetensors")


def test_weights_of_another_version_are_refused(weights, tmp_path):
    with safe_open(weights, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    save_file(tensors, tmp_path / "w.safetensors", metadata={"features": "size"})
    with pytest.raises(CheckpointError, match="other features"):
        load_weights(tmp_path / "w.safetensors")
    del tensors["ranking.mean"]
    save_file(tensors, tmp_path / "w.safetensors")
    with pytest.raises(CheckpointError, match="does not hold the built-in proposer's weights"):
        load_weights(tmp_path / "w.safetensors")


def test_weights_survive_the_file(weights, tmp_path):
    save_weights(tmp_path / "again.safetensors", load_weights(weights))
    assert (tmp_path / "again.safetensors").read_bytes() == weights.read_bytes()


def test_settings_need_no_torch(run_python):
    code = "import sys, sapnet.proposals.builtin.proposer as p; assert 'torch' not in sys.modules"
    result = run_python("-c", code)
    assert result.returncode == 0, result.stderr
