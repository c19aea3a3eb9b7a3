"""The fake-quantised network with the arithmetic of the integers, in torch.

Training rounds floats; here the same modules run on integers held in floats, requantised as the
hardware does it (docs/numerics.md), so that every tensor equals the golden model's to the last bit.
Accuracies that are reported are this network's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from quant.errors import QuantError
from quant.quant_layer import QuantLayer
from quant.quant_network import QuantNetwork
from quant.quantizer import ActQuantizer, ActRange, quantise_activation
from quant.requant import average_multiplier, requantiser, summand_multipliers

_EXACT_IN_FLOAT32 = 1 << 24
Requantised = Callable[[ActRange | None], tuple[Tensor, float]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Ints:
    """Integers of a tensor, float32 [N, C, H, W] or [N, C], and what they stand for."""

    values: Tensor
    range: ActRange


@dataclass(frozen=True, kw_only=True, eq=False)
class Pending:
    """A value not yet requantised: given the range of the result, its integers and scale."""

    finish: Requantised


class ExactNetwork(nn.Module):
    """A calibrated network, computed in integers.

    Parameters
    ----------
    quantised : QuantNetwork
        With all activation ranges; left as it is.

    Raises
    ------
    QuantError
        If an operation has no integer counterpart; names the node.
    """

    def __init__(self, quantised: QuantNetwork) -> None:
        super().__init__()
        self.module = integer_form(quantised)
        self._names = {path: tensor for tensor, path in quantised.act_quantizers.items()}

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """Map images, float [N, C, H, W], to logits, float [N, classes]."""
        return self._run(x, {})

    @torch.no_grad()
    def tensors(self, x: Tensor) -> dict[str, Tensor]:
        """Integers of every quantised tensor by name, the logits as ``logits``."""
        seen: dict[str, Tensor] = {}
        self._run(x, seen)
        return seen

    def _run(self, x: Tensor, seen: dict[str, Tensor]) -> Tensor:
        interpreter = _Interpreter(self.module, self._names, seen)
        result = interpreter.run(x)
        if not isinstance(result, Pending):
            raise QuantError(
                "output: must come from a layer to be exported, not from anything else"
            )
        values, scale = result.finish(None)
        seen["logits"] = values
        return values.to(torch.float64).mul(scale)


def integer_form(quantised: QuantNetwork) -> fx.GraphModule:
    """Return the graph of a network whose operations all have an integer counterpart.

    Raises
    ------
    QuantError
        If one has none.
    """
    if not quantised.plain or not isinstance(quantised.module, fx.GraphModule):
        raise QuantError("network must have only operations with an integer form; see its gaps")
    return quantised.module


class _Interpreter(fx.Interpreter):
    """Runs the graph on `Ints` and `Pending`."""

    def __init__(
        self, module: fx.GraphModule, names: dict[str, str], seen: dict[str, Tensor]
    ) -> None:
        super().__init__(module)
        self._names = names
        self._seen = seen

    def call_module(self, target: Any, args: Any, kwargs: Any) -> Any:
        module, value = self.fetch_attr(target), args[0]
        if isinstance(module, ActQuantizer):
            return self._quantised(str(target), module, value)
        if not isinstance(value, Ints):
            raise QuantError(f"{target}: must read a quantised tensor, not another")
        if isinstance(module, QuantLayer):
            return _layer(module, value)
        if isinstance(module, nn.AvgPool2d | nn.AdaptiveAvgPool2d):
            return _average(module, value, str(target))
        return Ints(values=module(value.values), range=value.range)  # max pooling, flatten

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        maps = [value for value in args if isinstance(value, Ints)]
        if len(maps) == 2:
            return _sum(*maps)
        if len(maps) != 1:
            raise QuantError(f"{getattr(target, '__name__', target)}: must read quantised tensors")
        values = super().call_function(target, (maps[0].values, *args[1:]), kwargs)  # flatten
        return Ints(values=values, range=maps[0].range)

    def call_method(self, target: Any, args: Any, kwargs: Any) -> Any:
        if target in ("add", "add_"):
            return self.call_function(torch.add, args, kwargs)
        values = super().call_method(target, (args[0].values, *args[1:]), kwargs)
        return Ints(values=values, range=args[0].range)

    def _quantised(self, target: str, module: ActQuantizer, value: Any) -> Ints:
        assert module.range is not None
        if isinstance(value, Pending):
            values, _ = value.finish(module.range)
        else:
            values = quantise_activation(value, module.range).to(torch.float32)
        self._seen[self._names[target]] = values
        return Ints(values=values, range=module.range)


def _layer(layer: QuantLayer, source: Ints) -> Pending:
    def finish(target: ActRange | None) -> tuple[Tensor, float]:
        how = requantiser(layer.integers(), source.range, target.scale if target else None)
        weight = torch.from_numpy(how.weight).to(torch.float64)
        largest = float(weight.abs().flatten(1).sum(dim=1).max()) * source.range.largest
        dtype = torch.float32 if largest < _EXACT_IN_FLOAT32 else torch.float64
        # padding is the zero point: shifted by it, it is 0, and the bias takes it back
        zero = source.range.zero_point
        acts, weight = _centred(source, dtype), weight.to(dtype)
        if isinstance(layer.layer, nn.Conv2d):
            c = layer.layer
            sums = functional.conv2d(acts, weight, None, c.stride, c.padding, c.dilation, c.groups)
        else:
            sums = functional.linear(acts, weight)
        shape = (1, -1) + (1,) * (sums.ndim - 2)
        bias = torch.from_numpy(how.bias).to(torch.float64)
        if zero:
            bias += zero * weight.to(torch.float64).flatten(1).sum(dim=1)
        factor = torch.from_numpy(how.multiplier * 2.0 ** -how.shift.astype("float64"))
        scaled = sums.to(torch.float64).add_(bias.reshape(shape)).mul_(factor.reshape(shape))
        return _rounded(scaled, target), how.scale

    return Pending(finish=finish)


def _sum(left: Ints, right: Ints) -> Pending:
    def finish(target: ActRange | None) -> tuple[Tensor, float]:
        if target is None:
            raise QuantError("output: must come from a layer to be exported, not from a sum")
        a, b, shift = summand_multipliers(left.range.scale, right.range.scale, target.scale)
        total = _centred(left, torch.float64).mul(a * 2.0**-shift)
        total.add_(_centred(right, torch.float64), alpha=b * 2.0**-shift)
        return _rounded(total, target), target.scale

    return Pending(finish=finish)


def _average(pool: nn.AvgPool2d | nn.AdaptiveAvgPool2d, source: Ints, name: str) -> Pending:
    window = pool_window(pool, tuple(source.values.shape[2:]), name)

    def finish(target: ActRange | None) -> tuple[Tensor, float]:
        if target is None:
            raise QuantError("output: must come from a layer to be exported, not from a pooling")
        multiplier, shift = average_multiplier(
            source.range.scale, target.scale, window.kernel[0] * window.kernel[1]
        )
        centred = _centred(source, torch.float64)
        sums = functional.avg_pool2d(
            centred, window.kernel, window.stride, window.padding, divisor_override=1
        )
        return _rounded(sums.mul_(multiplier * 2.0**-shift), target), target.scale

    return Pending(finish=finish)


def _centred(source: Ints, dtype: torch.dtype) -> Tensor:
    """Integers less their zero point; not to be changed in place."""
    values, zero = source.values.to(dtype), source.range.zero_point
    return values - zero if zero else values


def _rounded(values: Tensor, target: ActRange | None) -> Tensor:
    """Round to nearest, halves up, and clamp; every product before was exact in float64."""
    values = values.add_(0.5).floor_()
    if target is None:
        return values  # their scale holds all of them
    if target.zero_point:
        values.add_(target.zero_point)
    return values.clamp_(0, target.largest).to(torch.float32)


@dataclass(frozen=True, kw_only=True)
class Window:
    """Windows of a pooling: (height, width) of kernel and padding, one stride."""

    kernel: tuple[int, int]
    stride: int
    padding: tuple[int, int]


def pool_window(pool: nn.Module, size: tuple[int, ...], name: str) -> Window:
    """Windows of a pooling of maps of `size` (height, width).

    Raises
    ------
    QuantError
        If the integer network cannot say it.
    """
    if isinstance(pool, nn.AdaptiveAvgPool2d):
        wanted = _pair(pool.output_size)
        outputs = tuple(given or side for given, side in zip(wanted, size, strict=True))
        ratios = {side // output for side, output in zip(size, outputs, strict=True)}
        if any(side % output for side, output in zip(size, outputs, strict=True)):
            raise QuantError(f"{name}: output size must divide the map {size}, not {outputs}")
        kernel = (size[0] // outputs[0], size[1] // outputs[1])
        if len(ratios) > 1 and outputs != (1, 1):
            raise QuantError(f"{name}: windows must have one stride, not {kernel}")
        return Window(kernel=kernel, stride=kernel[0], padding=(0, 0))
    assert isinstance(pool, nn.AvgPool2d | nn.MaxPool2d)
    stride = _pair(pool.stride)
    odd = pool.ceil_mode or len(set(stride)) > 1
    if isinstance(pool, nn.MaxPool2d):
        odd = odd or _pair(pool.dilation) != (1, 1) or pool.return_indices
    else:
        padded = _pair(pool.padding) != (0, 0) and not pool.count_include_pad
        odd = odd or pool.divisor_override is not None or padded
    if odd:
        raise QuantError(
            f"{name}: pooling must have one stride, no ceil_mode, dilation or divisor of its own, "
            f"and count its padding, not {pool}"
        )
    return Window(kernel=_pair(pool.kernel_size), stride=stride[0], padding=_pair(pool.padding))


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if not isinstance(value, tuple | list) else (value[0], value[1])
