"""Training steps as one CUDA graph, which is launched at once instead of kernel by kernel."""

from collections.abc import Callable

import torch

STEPS_PER_REPLAY = 20
"""Steps in the longer graph: enough that launching costs nothing, few enough to fit between evaluations."""


class CapturedSteps:
    """Several calls of a function on a CUDA device, recorded once and replayed as one.

    Capturing runs nothing. A replay works on the tensors that were there at the capture, and goes on with the
    random numbers where the generator stands, so that replays draw different batches.

    Parameters
    ----------
    step : callable
        Of static shapes, without a synchronisation with the host. It must have been called before, outside a
        capture, so that all state is allocated and the libraries are loaded.
    generator : torch.Generator
        On the device: the one that `step` draws from.
    n_steps : int
        Calls in the graph.

    References
    ----------
    The rules of capture: https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs
    """

    def __init__(self, step: Callable[[], None], generator: torch.Generator, n_steps: int) -> None:
        self.n_steps = n_steps
        self._graph = torch.cuda.CUDAGraph()
        self._graph.register_generator_state(generator)
        with torch.cuda.graph(self._graph):
            for _ in range(n_steps):
                step()

    def replay(self) -> None:
        """Queue all steps on the current stream; does not wait for them."""
        self._graph.replay()
