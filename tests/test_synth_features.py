"""What operands do to a PE, and the energy model that is fitted to it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hw.booth import digits as booth_digits
from hw.config import ArrayConfig, PEKind
from hw.precision import WeightMode
from synth.costs.activity import EnergyModel
from synth.features import FEATURES, Features, digits, features
from synth.model import fit, run_features
from synth.operands import load

OPERANDS = Path(__file__).parents[1] / "synth" / "operands"
CONFIG = ArrayConfig(rows=2, cols=2, lanes=2, group=2)


@pytest.mark.parametrize("mode", list(WeightMode))
@pytest.mark.parametrize("kind", list(PEKind))
def test_digits_times_places_are_the_weight(kind: PEKind, mode: WeightMode) -> None:
    weights = np.arange(mode.min, mode.max + 1)
    values, places = digits(weights, mode, kind)
    offset = 1 << (mode.bits - 1) if kind is PEKind.RADIX4_DIGIT else 0
    np.testing.assert_array_equal((values * places).sum(axis=(1, 2)) - offset, weights)


@pytest.mark.parametrize("mode", list(WeightMode))
def test_booth_digits_are_those_of_the_gateware(mode: WeightMode) -> None:
    weights = np.arange(mode.min, mode.max + 1)
    found = digits(weights, mode, PEKind.BOOTH_DIGIT)[0][:, :, 0]
    assert found.tolist() == [list(booth_digits(int(w), mode)) for w in weights]


def test_features_by_hand() -> None:
    # two chunks of two lanes at 2 bit, a step each: bits of 1 are (1, 0), of -2 (0, 1), of -1 both
    found = features([(np.array([3, 0, 1, 0]), np.array([1, -2, -1, -2]))], WeightMode.W2, CONFIG)
    assert found.acts == 1.0  # 3 to 1 is one bit, 0 to 0 none
    assert found.weights == 1.0  # (1, 0) to (1, 1), the other lane holds
    # low: 3 to 1, one bit; high: 0 to 1, one bit
    assert found.products == 2.0
    # 3, then 3 - 1 = 2: one bit
    assert found.sums == 1.0
    assert found.tiles == 0.5


def test_sums_begin_anew_with_each_dot_product_whatever_its_length() -> None:
    first, second = (np.array([3]), np.array([1])), (np.array([1, 0, 1]), np.array([-1, -2, 1]))
    found = features([first, second], WeightMode.W2, CONFIG)
    # sums are 3; -1, -1 + 1 = 0: from ..0011 to ..1111 are 30 bits of 32, to ..0000 all 32
    assert found.sums == (30 + 32) / 2
    assert found.tiles == 2 / 3


def test_zero_activations_are_silent_in_products_and_sums() -> None:
    random = np.random.default_rng(0)
    dots = [(np.zeros(8, dtype=np.int64), random.integers(-128, 128, 8)) for _ in range(4)]
    found = features(dots, WeightMode.W8, CONFIG)
    assert (found.acts, found.products, found.sums) == (0.0, 0.0, 0.0)
    assert found.weights > 0


def test_features_need_operands() -> None:
    with pytest.raises(ValueError, match=r"^features need at least one dot product$"):
        features([], WeightMode.W8, CONFIG)


def _random_features(count: int) -> list[Features]:
    random = np.random.default_rng(1)
    return [
        Features(**dict(zip(FEATURES, random.uniform(0, 20, len(FEATURES)), strict=True)))
        for _ in range(count)
    ]


def test_fit_finds_the_energies_that_made_the_runs() -> None:
    truth = EnergyModel(
        base_pj=2.0, per_change_pj={"products": 0.03, "sums": 0.1}, fit_error=0, largest_fit_error=0
    )
    runs = _random_features(12)
    model = fit(runs, [truth.step_pj(run) for run in runs])
    assert model.base_pj == pytest.approx(2.0)
    assert model.per_change_pj == pytest.approx({"products": 0.03, "sums": 0.1}, abs=1e-6)
    assert model.largest_fit_error < 1e-6


def test_fit_never_gives_negative_energies() -> None:
    runs = _random_features(12)
    model = fit(runs, [5.0 - 0.1 * run.acts for run in runs])
    assert "acts" not in model.per_change_pj
    assert model.fit_error > 0.01


def test_model_refuses_unknown_features() -> None:
    with pytest.raises(ValueError, match=r"per_change_pj must name some of acts, .*, not colours"):
        EnergyModel(base_pj=1, per_change_pj={"colours": 1.0}, fit_error=0, largest_fit_error=0)


def test_every_sampled_layer_has_features_and_one_is_thinned() -> None:
    operands = load(OPERANDS / "resnet8.npz")
    found = run_features(operands, WeightMode.W4, ArrayConfig(), products=4000)
    assert list(found) == list(operands.layers)
    (thinned,) = (name for name, layer in operands.layers.items() if layer.share == 0)
    whole = thinned.removesuffix(", thinned")
    assert found[thinned].acts == found[whole].acts
    assert found[thinned].products < 0.4 * found[whole].products


def test_layers_thinned_weights_are_an_eighth() -> None:
    operands = load(OPERANDS / "resnet8.npz")
    (thinned,) = (layer for layer in operands.layers.values() if layer.share == 0)
    kept = (thinned.weight[WeightMode.W8] != 0).mean(axis=0)
    assert np.all(kept <= 1 / 8 + 1e-9)
    assert replace(thinned, share=1.0).act.shape[1] == thinned.weight[WeightMode.W8].shape[0]
