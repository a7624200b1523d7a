"""What supervises the SOLOv2 branch where no selection is trained."""

import torch

from sapnet.build import build_dataset, build_model
from sapnet.data.annotations import load_points
from sapnet.data.collate import collate
from sapnet.proposals.store import ProposalStore
from training_builders import tiny_config, write_tiny_data


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
