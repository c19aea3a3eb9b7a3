"""Making any network ready for quantisation: traced if possible, else watched while it runs."""

from __future__ import annotations

from torch import Tensor, nn

from quant.errors import QuantError
from quant.graph import trace
from quant.hooks import watched
from quant.network import Network
from quant.tracing import run


def capture(model: nn.Module, example: Tensor) -> Network:
    """Find the layers of a network.

    Parameters
    ----------
    model : nn.Module
        Maps one tensor to logits, with parameters in float32, in evaluation mode.
    example : float32 [N, C, H, W]
        Inputs. Where tracing fails, the network is run on all of them at once and on each alone.

    Returns
    -------
    Network
        Its `notes` say what has no integer form; why it was not traced is the first of them.

    Raises
    ------
    QuantError
        If the network does not run, or there is nothing to quantise.
    """
    for name, parameter in model.named_parameters():
        if parameter.is_floating_point() and parameter.dtype != example.dtype:
            raise QuantError(
                f"{name}: parameter must be {example.dtype}, not {parameter.dtype}; convert it"
            )
    run(model, example)
    try:
        return trace(model, example)
    except QuantError as error:
        return watched(model, [example, *example[:, None]], reason=str(error))
