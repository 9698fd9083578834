"""What a CUDA graph does to a training step, done on a CPU, so that its rules can be tested without a GPU.

A capture runs nothing: it notes which operations are called, on which memory and with which numbers. A
replay calls them again, on the same memory and with the numbers of that time; only random numbers go on. So a
step that depends on a number of the host replays what was true at the capture.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

HOST_READS = ("_local_scalar_dense", "equal", "is_nonzero", "nonzero", "unique", "masked_select")
"""Operations whose result, or its shape, the host has to wait for: a capture refuses them."""


def tensors_in(values: Any) -> list[torch.Tensor]:
    """List every tensor in nested arguments or results."""
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, torch.Tensor)]


class Recorder(TorchDispatchMode):
    """Notes every operation, with what it was given and what it gave."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, tuple[Any, ...], dict[str, Any], list[torch.Tensor]]] = []
        self.before: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self._made: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        if name in HOST_READS:
            raise RuntimeError(f"{name} waits for the device, which a capture forbids")
        for tensor in tensors_in((args, kwargs)):
            at = tensor.untyped_storage().data_ptr()
            if at not in self._made and at not in self.before:
                self.before[at] = tensor, _memory(tensor).clone()
        results = func(*args, **kwargs)
        made = tensors_in(results)
        self.calls.append((func, args, kwargs, made))
        known = {tensor.untyped_storage().data_ptr() for tensor in tensors_in((args, kwargs))}
        self._made |= {one.untyped_storage().data_ptr() for one in made} - known - self.before.keys()
        return results


class RecordedSteps:
    """As `quanta.training.capture.CapturedSteps`, of operations on a CPU."""

    def __init__(self, step: Callable[[], None], generator: torch.Generator, n_steps: int) -> None:
        self.n_steps = n_steps
        drawn = generator.get_state()
        recorder = Recorder()
        with recorder:
            for _ in range(n_steps):
                step()
        for tensor, content in recorder.before.values():  # as if nothing had run
            _memory(tensor).copy_(content)
        generator.set_state(drawn)
        self._calls = recorder.calls

    @torch.no_grad()
    def replay(self) -> None:
        """Run what was recorded again, each result in the memory of the first."""
        for func, args, kwargs, made in self._calls:
            for then, now in zip(made, tensors_in(func(*args, **kwargs)), strict=True):
                if now.untyped_storage().data_ptr() != then.untyped_storage().data_ptr():
                    then.copy_(now)


def _memory(tensor: torch.Tensor) -> torch.Tensor:
    """All of the memory that a tensor looks at, as bytes."""
    return torch.empty(0, dtype=torch.uint8).set_(tensor.untyped_storage())
