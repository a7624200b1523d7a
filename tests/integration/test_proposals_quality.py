"""Figures on real photographs: the simulated SAM's calibration and the weightless proposer's quality."""

from __future__ import annotations

import functools

import pytest

from sapnet.data.annotations import load_instances, load_points
from sapnet.data.images import read_image
from sapnet.proposals.proposer import prompts_of_image
from sapnet.proposals.quality import bag_quality
from sapnet.proposals.regions import RegionProposer
from sapnet.proposals.simulated import SimulatedProposer


@pytest.fixture(scope="module")
def street4(shared_data):
    folder = shared_data / "street4"
    return load_points(folder / "points_train.json"), load_instances(folder / "instances_train.json")


def proposals(points, folder, proposer, indices):
    for index in indices:
        yield proposer.propose(
            read_image(folder / points.images.file_names[index]), prompts_of_image(points, index)
        )


@pytest.mark.slow
def test_the_simulated_sam_is_as_good_as_published_for_sam(street4, shared_data):
    points, instances = street4
    run = functools.partial(proposals, points, shared_data / "images")
    quality = bag_quality(
        run(SimulatedProposer(instances, seed=0), range(0, len(points.images), 8)), instances
    )
    # SAM ViT-H with one centre click on COCO: 0.54. The window is 0.54 +- 0.02 on the whole set;
    # here every eighth photograph is used.
    assert 0.52 <= quality["all"]["mask"]["top1"] <= 0.56
    assert 0.74 <= quality["all"]["mask"]["best_of_3"] <= 0.80
    assert 0.40 <= quality["kinds"]["simulated-part"]["share_of_top1"] <= 0.45


@pytest.mark.slow
def test_the_weightless_proposer_holds_its_measured_quality(street4, shared_data):
    points, instances = street4
    run = functools.partial(proposals, points, shared_data / "images")
    quality = bag_quality(run(RegionProposer(), range(5, len(points.images), 60)), instances)
    assert quality["all"]["clicks"] > 20
    assert quality["all"]["mask"]["best_of_12"] > 0.42
    assert quality["all"]["mask"]["top1"] > 0.25
