import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from oracles import mil_losses as oracle
from sapnet.losses.total import LossCounts, total_loss
from sapnet.structures import LossSums

WEIGHTS = {"selection_weight": 0.25, "refinement_weight": 1.0, "mask_weight": 3.0, "category_weight": 1.0}
NAMES = tuple(LossSums.__dataclass_fields__)


def sums_of(values):
    return LossSums(*[torch.tensor(float(v), dtype=torch.float64) for v in values])


@settings(deadline=None, max_examples=20)
@given(values=st.lists(st.integers(0, 9), min_size=9, max_size=9), alpha=st.sampled_from([0.0, 0.25, 1.0]))
def test_the_total_equals_the_formula_also_with_counts_of_zero(values, alpha):
    total = total_loss(sums_of(values), refinement_positive_weight=alpha, **WEIGHTS).total
    expected = oracle.total(dict(zip(NAMES, values, strict=True)), alpha=alpha, **WEIGHTS)
    assert total.item() == pytest.approx(expected)


def test_shares_of_two_processes_add_up_to_the_joint_batch():
    first, second = sums_of([3, 1, 4, 1, 5, 9, 2, 6, 5]), sums_of([2, 7, 1, 8, 2, 1, 0, 4, 1])
    joint = LossSums(**{n: getattr(first, n) + getattr(second, n) for n in NAMES})
    counts = LossCounts.of(joint)
    shares = total_loss(first, counts).total + total_loss(second, counts).total
    torch.testing.assert_close(shares, total_loss(joint).total)


def test_gradients_reach_every_sum_and_no_count():
    tensors = {name: torch.tensor(2.0, requires_grad=True) for name in NAMES}
    total_loss(LossSums(**tensors)).total.backward()
    counts = {"num_prompts", "num_negatives", "num_positive_cells", "selected_score_sum"}
    assert {name for name, tensor in tensors.items() if tensor.grad is None} == counts
