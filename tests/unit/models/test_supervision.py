"""What supervises the SOLOv2 branch where no selection is trained."""

import torch

from sapnet.build import build_dataset, build_model, label_rule_of
from sapnet.data.annotations import load_points
from sapnet.data.collate import collate
from sapnet.proposals.store import ProposalStore
from training_builders import network_that_tells_apart, tiny_config, write_tiny_data


def mask_sum(data, phase, **multi_mask):
    config = tiny_config(model={"multi_mask": multi_mask})
    points = load_points(data.points)
    store = ProposalStore.open(data.store, points)
    dataset = build_dataset(config, points, data.images, store, training=False)
    torch.manual_seed(0)
    network = build_model(config.model, num_classes=2, mask_stride=4, pretrained=False).eval()
    return network(collate([dataset[0]], size_divisor=32, mask_stride=4), phase).mask


def test_the_first_proposal_supervises_alone_without_a_selection(tmp_path):
    data = write_tiny_data(tmp_path / "tiny")
    with_alternates = {"enabled": True, "ranks": [1, 2], "respect_neighbours": False}
    assert torch.equal(
        mask_sum(data, "segmentation", **with_alternates), mask_sum(data, "segmentation", enabled=False)
    )
    assert mask_sum(data, "joint", **with_alternates) > mask_sum(data, "joint", enabled=False)


def test_what_supervises_is_what_one_view_is_labelled_with(tmp_path):
    """The masks that reach the segmentation loss are the cells that the labelling rule votes for."""
    data = write_tiny_data(tmp_path / "tiny", clicks_per_image=3, crowded=True)
    config = tiny_config(model={"supervision": {"overlap_temperature": 4.0, "vote_share_large": 0.2}})
    points = load_points(data.points)
    store = ProposalStore.open(data.store, points)
    dataset = build_dataset(config, points, data.images, store, training=False)
    batch = collate([dataset[0], dataset[1]], size_divisor=32, mask_stride=4)
    network = network_that_tells_apart(config)
    loss, seen = network.segmentation_sums, []
    network.segmentation_sums = lambda outputs, labels: seen.append(labels) or loss(outputs, labels)
    network(batch, "joint")
    found = network.pick(batch, rule=label_rule_of(config.model.supervision))
    bags, (labels,) = batch.bags, seen
    share = torch.einsum("gm,gmhw->ghw", found.votes, bags.masks.float())
    there = labels.mask_valid[:, 0]
    assert there.tolist() == (found.proposal_index >= 0).tolist()
    assert (found.needed[there] < 0.5).any()
    voted = (share > found.needed[:, None, None] + 1e-6) & there[:, None, None]
    kept = voted.flatten(1).any(dim=1)
    assert kept.any()
    assert torch.equal(labels.masks[kept, 0], voted[kept])
    own = bags.masks[torch.arange(len(kept)), found.proposal_index.clamp_min(0)]
    assert (own[kept] != voted[kept]).any()  # the vote has a say
