"""Watching a network run: which operation reads and makes which tensor, inside which module.

Tensors are told apart by the address of their memory, so a view counts as what it looks at; all of
them are kept until the run is over, so no address is used twice. Every operation of torch is seen,
also those that no module stands for (`torch.utils._python_dispatch`), and what leaves torch by
`numpy()` or `tolist()`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.hooks import RemovableHandle

from quant.tracing import run

Scope = tuple[str, ...]
"""Paths of the modules that are being called, the innermost last."""

_LEAVES = {Tensor.numpy, Tensor.tolist, Tensor.__array__}


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One operation of torch.

    Parameters
    ----------
    name : str
        For example ``convolution``.
    scope : tuple of str
        Modules that were being called.
    reads, makes : tuple of int
        Tensors.
    shapes : tuple of tuple of int
        Of what it reads.
    view : bool
        Whether it moves no value.
    """

    name: str
    scope: Scope
    reads: tuple[int, ...]
    makes: tuple[int, ...] = ()
    shapes: tuple[tuple[int, ...], ...] = ()
    view: bool = False

    @property
    def title(self) -> str:
        """Name it with its place."""
        return f"{self.name} in {self.scope[-1] or 'the network'}"


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call of a module.

    Parameters
    ----------
    module : str
        Path.
    reads, makes : int
        Its first input and its output.
    given, gave : int
        The very objects (`id`) of both, which views are not.
    shape : tuple of int
        Of its output.
    """

    module: str
    reads: int
    makes: int
    given: int
    gave: int
    shape: tuple[int, ...]


@dataclass(kw_only=True, eq=False)
class Recording:
    """What happened while some images went through a network.

    Parameters
    ----------
    images : int
        How many.
    image, output : int
        Tensors that went in and came out.
    operations : list of Operation
        In order.
    calls : list of Call
        Of modules that take a tensor and give one, in order of their ends.
    """

    images: int
    image: int = 0
    output: int = 0
    operations: list[Operation] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)

    def readers(self, tensor: int) -> list[Operation]:
        """Operations that read values of a tensor."""
        return [op for op in self.operations if tensor in op.reads and not op.view]

    def of(self, module: str) -> list[Call]:
        """Return the calls of a module."""
        return [call for call in self.calls if call.module == module]

    def written(self, tensor: int) -> bool:
        """Whether an operation made a tensor or wrote over it; not so for one that came in."""
        return any(tensor in op.makes and not op.view for op in self.operations)

    def maker(self, tensor: int) -> str:
        """Name the innermost module that gave a tensor, or else the operation that made it."""
        given_by = [call.module for call in self.calls if call.makes == tensor and call.module]
        if given_by:
            return given_by[0]
        made = [op for op in self.operations if tensor in op.makes and not op.view]
        if not made:
            return "the image" if tensor == self.image else "a constant"
        return made[-1].title


@torch.no_grad()
def record(model: nn.Module, images: Tensor) -> Recording:
    """Run a network and note every operation.

    Parameters
    ----------
    model : nn.Module
        In evaluation mode.
    images : float [N, C, H, W]
        Its input.

    Raises
    ------
    QuantError
        If the network does not run.
    """
    recording, scope = Recording(images=len(images), image=_tensor(images)), [""]
    kept: list[Tensor] = []
    with (
        _calls_noted(model, scope, recording, kept),
        _Leaves(scope, recording),
        _Operations(scope, recording, kept),
    ):
        output = run(model, images)
    recording.output = _tensor(output)
    return recording


class _Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self, scope: list[str], recording: Recording, kept: list[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.scope, self.recording, self.kept = scope, recording, kept

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        read = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        made = [x for x in tree_leaves(result) if isinstance(x, Tensor)]
        self.kept += [*read, *made]
        self.recording.operations.append(
            Operation(
                name=func.__name__.partition(".")[0],
                scope=tuple(self.scope),
                reads=tuple(map(_tensor, read)),
                makes=tuple(map(_tensor, made)),
                shapes=tuple(tuple(x.shape) for x in read),
                view=bool(func.is_view),
            )
        )
        return result


class _Leaves(TorchFunctionMode):
    """Notes values that leave torch, which is no operation."""

    def __init__(self, scope: list[str], recording: Recording) -> None:
        super().__init__()
        self.scope, self.recording = scope, recording

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func in _LEAVES:
            read = (_tensor(args[0]),)
            self.recording.operations.append(
                Operation(name=func.__name__, scope=tuple(self.scope), reads=read)
            )
        return func(*args, **(kwargs or {}))


@contextmanager
def _calls_noted(
    model: nn.Module, scope: list[str], recording: Recording, kept: list[Tensor]
) -> Iterator[None]:
    handles: list[RemovableHandle] = []
    for name, module in model.named_modules():
        handles.append(module.register_forward_pre_hook(lambda *_, n=name: scope.append(n)))
        handles.append(
            module.register_forward_hook(_noted(name, scope, recording, kept), with_kwargs=True)
        )
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _noted(
    name: str, scope: list[str], recording: Recording, kept: list[Tensor]
) -> Callable[..., None]:
    def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        scope.pop()
        given = [x for x in (*args, *kwargs.values()) if isinstance(x, Tensor)]
        if given and isinstance(output, Tensor):
            kept.extend([given[0], output])
            recording.calls.append(
                Call(
                    module=name,
                    reads=_tensor(given[0]),
                    makes=_tensor(output),
                    given=id(given[0]),
                    gave=id(output),
                    shape=tuple(output.shape),
                )
            )

    return hook


def _tensor(x: Tensor) -> int:
    return x.untyped_storage().data_ptr()
