import pytest

from sam_builders import FAMILY_NAMES, save_checkpoint


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory):
    """One tiny checkpoint of every member, by proposer name; not to be changed."""
    pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("sam")
    return {name: save_checkpoint(name, folder / name) for name in FAMILY_NAMES}
