"""Which images make up which batch."""

import pytest

from sapnet.engine.batches import epoch_batches, num_batches


def flat(batches):
    return [row for batch in batches for row in batch]


@pytest.mark.parametrize("num_images", [0, 1, 2, 7, 8])
def test_every_image_comes_once_per_epoch(num_images):
    batches = epoch_batches(num_images, 2, seed=0, epoch=0)
    assert sorted(flat(batches)) == list(range(num_images))
    assert len(batches) == num_batches(num_images, 2)


def test_seed_and_epoch_decide_the_order():
    first = epoch_batches(20, 2, seed=0, epoch=0)
    assert epoch_batches(20, 2, seed=0, epoch=0) == first
    assert epoch_batches(20, 2, seed=0, epoch=1) != first
    assert epoch_batches(20, 2, seed=1, epoch=0) != first


def test_two_processes_share_the_batches_of_one_with_twice_the_batch():
    whole = epoch_batches(12, 4, seed=3, epoch=2)
    shares = [epoch_batches(12, 2, seed=3, epoch=2, rank=rank, num_processes=2) for rank in (0, 1)]
    assert [first + second for first, second in zip(*shares, strict=True)] == whole


@pytest.mark.parametrize("num_images", [1, 2, 5, 9])
def test_all_processes_have_equally_many_full_batches(num_images):
    shares = [epoch_batches(num_images, 2, seed=0, epoch=0, rank=r, num_processes=3) for r in range(3)]
    assert {len(share) for share in shares} == {num_batches(num_images, 2, num_processes=3)}
    assert {len(batch) for share in shares for batch in share} == {2}
    assert set(flat(flat(shares))) == set(range(num_images))


def test_tall_images_share_batches_with_tall_ones():
    tall = [row % 2 == 0 for row in range(12)]
    batches = epoch_batches(12, 3, seed=0, epoch=0, tall=tall)
    assert sorted(flat(batches)) == list(range(12))
    assert all(len({tall[row] for row in batch}) == 1 for batch in batches)
