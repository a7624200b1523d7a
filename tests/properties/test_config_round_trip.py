"""Whatever is valid survives dumping and reading; whatever is not is refused with a message."""

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from sapnet.config import Config
from sapnet.config_loader import differences, dump_config, load_config
from sapnet.errors import ConfigError

NAMED_WEIGHTS = {"bundled", "none", "timm"}

positive = st.floats(1e-12, 1e12, allow_nan=False)
share = st.floats(0, 1)
paths = st.text(st.characters(exclude_categories=["C", "Zl", "Zp"]), min_size=1, max_size=12).filter(
    lambda text: text == str(Path(text))
)


@settings(deadline=None, max_examples=25)
@given(
    rate=positive, decay=share, seed=st.integers(0, 2**63), sides=st.lists(st.integers(1, 4000)), path=paths
)
def test_valid_settings_survive_dumping_and_reading(tmp_path_factory, rate, decay, seed, sides, path):
    config = Config()
    weights = path if path in NAMED_WEIGHTS else Path(path)
    backbone = config.model.backbone.model_copy(update={"weights": weights})
    config = config.model_copy(
        update={
            "optim": config.optim.model_copy(update={"learning_rate": rate, "decay": decay}),
            "data": config.data.model_copy(update={"train_short_sides": tuple(sides)}),
            "model": config.model.model_copy(update={"backbone": backbone}),
            "seed": seed,
        }
    )
    file = tmp_path_factory.mktemp("settings") / "config.yaml"
    file.write_text(dump_config(config), encoding="utf-8")
    assert differences(load_config(file), config) == []


scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5))
keys = st.sampled_from(["seed", "model", "data", "optim", "backbone", "weights", "mean", "zzz"])
trees = st.recursive(
    scalars, lambda inner: st.dictionaries(keys, inner) | st.lists(inner, max_size=4), max_leaves=8
)


@settings(deadline=None, max_examples=50)
@given(st.text(max_size=60) | trees.map(repr))
def test_no_text_makes_the_loader_fail_otherwise_than_with_a_config_error(tmp_path_factory, text):
    file = tmp_path_factory.mktemp("settings") / "config.yaml"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        assert isinstance(load_config(file), Config)
    except ConfigError as error:
        assert error.problems
