"""The nearest code, for any number of codes and values."""

import numpy as np
import pytest
import torch
from sklearn.metrics import pairwise_distances_argmin

from sktok._torch.nearest import distances, nearest


@pytest.mark.parametrize("n_codes", [1, 2, 255, 256, 257, 1000])
@pytest.mark.parametrize("dim", [1, 10, 16, 33])
def test_the_nearest_code_is_found(n_codes, dim):
    rng = np.random.default_rng(0)
    values, codes = rng.normal(size=(4000, dim)), rng.normal(size=(n_codes, dim))
    expected = pairwise_distances_argmin(values, codes)
    found = nearest(torch.from_numpy(values), torch.from_numpy(codes))
    assert found.dtype == torch.int64
    np.testing.assert_array_equal(found.numpy(), expected)


def test_of_equally_near_codes_it_is_the_first():
    codes = torch.tensor([[5.0], [1.0]]).repeat(400, 1)
    assert nearest(torch.tensor([[1.2], [4.9]]), codes).tolist() == [1, 0]


def test_distances_lack_the_same_number_in_each_row():
    values, codes = torch.randn(20, 3), torch.randn(7, 3)
    lacking = torch.cdist(values, codes).square() - distances(values, codes)
    torch.testing.assert_close(lacking, values.square().sum(1, True).expand(20, 7))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e38])
def test_distances_that_are_not_finite_are_noticed(value):
    codes = torch.tensor([[10.0, 10.0], [-10.0, 3.0]])
    with pytest.raises(FloatingPointError, match="not finite"):
        nearest(torch.tensor([[0.0, 0.0], [value, -value]]), codes)
