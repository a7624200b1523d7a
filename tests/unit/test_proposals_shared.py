"""Several processes fill one store: every image once, interrupted or not, with the bytes of one process."""

import pytest

from proposal_builders import BoxProposer, small_points, write_images
from sapnet.errors import DataError, JobError, StoreError
from sapnet.proposals.generate import generate_proposals
from sapnet.proposals.shared import begin_shared_store, end_shared_store, propose_share

FILES = ("manifest.json", "proposals.bin", "index.npy")


class CountingProposer(BoxProposer):
    """Remembers the images that it was asked about."""

    def __init__(self, asked, **options):
        super().__init__(**options)
        self.asked = asked

    def propose(self, image, prompts):
        proposals = super().propose(image, prompts)
        self.asked.append(prompts.image_id)
        return proposals


@pytest.fixture(scope="module")
def points():
    return small_points()


@pytest.fixture(scope="module")
def images(points, tmp_path_factory):
    return write_images(points, tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def reference(points, images, tmp_path_factory):
    folder = tmp_path_factory.mktemp("store") / "s"
    generate_proposals(points, images, BoxProposer(), folder)
    return content(folder)


def content(folder):
    return [(folder / name).read_bytes() for name in FILES]


@pytest.mark.parametrize("count", [1, 2, 3, 9])
def test_shares_cover_every_image_once_and_give_the_bytes_of_one_process(
    points, images, tmp_path, reference, count
):
    out, asked = tmp_path / "s", []
    proposer = CountingProposer(asked)
    assert begin_shared_store(points, images, proposer, out) is None
    for rank in reversed(range(count)):
        assert propose_share(points, images, proposer, out, rank=rank, num_processes=count) == []
    end_shared_store(points, proposer, out, [])
    assert sorted(asked) == sorted(points.images.ids.tolist())
    assert content(out) == reference
    assert sorted(path.name for path in out.iterdir()) == sorted(FILES)


@pytest.mark.parametrize("later", [1, 2, 4])
def test_an_interrupted_run_goes_on_with_another_number_of_processes(
    points, images, tmp_path, reference, later
):
    out, asked = tmp_path / "s", []
    begin_shared_store(points, images, BoxProposer(), out)
    propose_share(points, images, CountingProposer(asked), out, rank=0, num_processes=3)
    with pytest.raises(JobError, match="no idea"):
        failing = CountingProposer(asked, fail_at=int(points.images.ids[4]))
        propose_share(points, images, failing, out, rank=1, num_processes=3)
    before = len(asked)
    assert 0 < before < len(points.images.ids)

    assert begin_shared_store(points, images, BoxProposer(), out) is None
    for rank in range(later):
        propose_share(points, images, CountingProposer(asked), out, rank=rank, num_processes=later)
    end_shared_store(points, BoxProposer(), out, [])
    assert sorted(asked) == sorted(points.images.ids.tolist())
    assert content(out) == reference


def test_one_process_continues_what_several_began(points, images, tmp_path, reference):
    out, asked = tmp_path / "s", []
    begin_shared_store(points, images, BoxProposer(), out)
    propose_share(points, images, CountingProposer(asked), out, rank=1, num_processes=2)
    generate_proposals(points, images, CountingProposer(asked), out)
    assert sorted(asked) == sorted(points.images.ids.tolist())
    assert content(out) == reference
    assert not list(out.glob(".share-*"))


def test_a_finished_store_is_left_alone(points, images, tmp_path, reference):
    generate_proposals(points, images, BoxProposer(), tmp_path / "s")
    assert begin_shared_store(points, images, BoxProposer(), tmp_path / "s") is not None
    assert content(tmp_path / "s") == reference


def test_unreadable_images_are_returned_by_the_process_that_met_them(points, images, tmp_path):
    broken = write_images(points, tmp_path / "images")
    name = points.images.file_names[2]
    (broken / name).write_bytes(b"no image")
    out = tmp_path / "s"
    begin_shared_store(points, broken, BoxProposer(), out)
    bad = [propose_share(points, broken, BoxProposer(), out, rank=r, num_processes=2) for r in range(2)]
    assert [item["file_name"] for item in bad[0]] == [name]
    assert bad[1] == []
    store = end_shared_store(points, BoxProposer(), out, bad[0])
    assert store.manifest["counts"]["skipped_images"] == 1


def test_missing_images_and_foreign_stores_are_refused_before_anything_is_written(points, images, tmp_path):
    with pytest.raises(DataError):
        begin_shared_store(points, tmp_path / "nowhere", BoxProposer(), tmp_path / "s")
    assert not (tmp_path / "s").exists()
    generate_proposals(points, images, BoxProposer(), tmp_path / "other")
    foreign = BoxProposer()
    foreign.settings = {"sides": [4]}
    with pytest.raises(StoreError, match="proposer"):
        begin_shared_store(points, images, foreign, tmp_path / "other")
