"""What batch norms are corrected by: moments over batches, gains that stay within reason."""

import numpy as np
import pytest
import torch
from torch import nn

from quant.ptq.norms import MOST_GAIN, Moments, absorb, gain_between

torch.set_num_threads(1)


def test_moments_of_batches_are_those_of_all_values_together() -> None:
    random = np.random.default_rng(0)
    values = torch.from_numpy(random.normal(1000.0, [[0.1], [3.0]], (7000, 2, 1))[..., 0]).float()
    values = values.unsqueeze(2)  # [N, M, positions]
    sign = torch.tensor([1.0, -1.0])
    moments = Moments(sign)
    for batch in torch.split(values, 64):
        mean, variance = moments.add(batch)
    assert torch.allclose(mean, batch.mean(dim=(0, 2)) * sign)
    assert torch.allclose(variance, batch.var(dim=(0, 2), correction=0), rtol=1e-3)
    whole = values.double().transpose(0, 1).flatten(1)
    torch.testing.assert_close(moments.mean, whole.mean(dim=1) * sign, rtol=1e-7, atol=0)
    # float32 sums of squares of 1e6 would not know a variance of 0.01
    torch.testing.assert_close(moments.variance, whole.var(dim=1, correction=0), rtol=2e-2, atol=0)


def test_gains_are_ratios_of_deviations_within_limits() -> None:
    wanted = torch.tensor([4.0, 1.0, 1e6, 1e-6, 0.0, 1.0, 1e-13])
    found = torch.tensor([1.0, 4.0, 1.0, 1.0, 1.0, 0.0, 1e-13])
    expected = [2.0, 0.5, MOST_GAIN, 1 / MOST_GAIN, 1.0, 1.0, 1.0]
    assert gain_between(wanted, found).tolist() == pytest.approx(expected)


def test_a_norm_takes_up_gain_and_offset() -> None:
    torch.manual_seed(0)
    norm = nn.BatchNorm1d(3).eval()
    nn.init.uniform_(norm.running_mean)  # type: ignore[arg-type]
    nn.init.uniform_(norm.running_var, 0.5, 2.0)  # type: ignore[arg-type]
    x = torch.randn(50, 3)
    before = norm(x)
    worse = x * torch.tensor([0.5, 2.0, 1.0]) + torch.tensor([1.0, -1.0, 3.0])
    mean, variance = x.mean(dim=0), x.var(dim=0, correction=0)
    absorb(norm, (mean, variance), (worse.mean(dim=0), worse.var(dim=0, correction=0)))
    torch.testing.assert_close(norm(worse), before, rtol=1e-4, atol=1e-4)
