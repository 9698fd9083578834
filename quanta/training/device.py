"""Where a unit is trained: the device by its name, whether it will do, and how torch uses it meanwhile."""

import math
import os
import platform
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Literal

import torch

from quanta.study.size import check_fits
from quanta.study.spec import UnitSpec
from quanta.tasks.config import ConfigError
from quanta.tasks.memory import memory_size, shared_memory
from quanta.tasks.numerics import own_errors
from quanta.tasks.processors import processor_quota
from quanta.training.kernel import working_memory
from quanta.training.population import Population

EVALUATION_ROWS = 4096
"""Test samples measured at a time; only the test set itself is held whole."""


def resolve_device(name: str) -> torch.device:
    """Choose the device: "auto" is CUDA where there is one, else the CPU.

    Parameters
    ----------
    name : {"auto", "cpu", "cuda"}

    Returns
    -------
    torch.device

    Raises
    ------
    ConfigError
        If CUDA is asked for and there is none.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device: must be auto or cpu here, since torch finds no CUDA device, not cuda")
    return torch.device(name)


def check_device(
    unit: UnitSpec, device: torch.device, n_threads: int | None = None, beside: Sequence[UnitSpec] = ()
) -> None:
    """Raise ConfigError if a unit cannot be trained on a device, for its precision or for lack of memory.

    The memory of a GPU is not checked: torch says when it is full. A machine kills the process instead.

    Parameters
    ----------
    unit : UnitSpec
    device : torch.device
    n_threads : int, optional
        With which it shall be trained on a CPU; by default as many as torch uses.
    beside : sequence of UnitSpec
        Units that are trained at the same time, by other processes which share its memory.

    Raises
    ------
    ConfigError
        Says what is allowed and what the unit needs.
    """
    if device.type != "cpu":
        return
    if unit.training.precision == "tf32":
        raise ConfigError("training.precision must be float32, float64 or bf16 on a CPU, not tf32")
    needs = [memory_in_training(each, n_threads) for each in (unit, *beside)]
    try:
        check_fits(needs[0], memory_size(), "of memory (all there is here)")
        if beside:
            total = sum(map(Counter, needs), Counter())
            check_fits(
                total,
                shared_memory()[0],
                "of memory (all there is here)",
                f"{len(needs)} units that are trained at once",
            )
    except ValueError as error:
        raise ConfigError(str(error)) from error


def memory_in_training(unit: UnitSpec, n_threads: int | None) -> dict[str, int]:
    """Bytes that a unit takes at the least while it is trained on a CPU, by what they are for."""
    if unit.population.n_hidden_layers > 1:
        return unit.memory_needed
    precision = unit.training.precision
    return unit.memory_needed | {
        "gradients (threads x population.widths x (task.n_subtasks + task.n_bits))": working_memory(
            unit.population.widths,
            unit.task.n_subtasks,
            unit.task.n_bits,
            torch.float64 if precision == "float64" else torch.float32,
            max(unit.training.batch_size, unit.evaluation.samples_per_subtask, EVALUATION_ROWS),
            torch.get_num_threads() if n_threads is None else n_threads,
            bf16=precision == "bf16",
        )
    }


def default_threads() -> int:
    """Choose the number of threads to train with where none is asked for.

    Returns
    -------
    int
        As many as torch uses, one for each core; but no more than a container's quota of processor time keeps
        busy, since threads that wait for one that is not let run waste it. Where ``OMP_NUM_THREADS`` is set,
        they are asked for.
    """
    n_threads = torch.get_num_threads()
    if os.environ.get("OMP_NUM_THREADS"):
        return n_threads
    return math.ceil(min(processor_quota(), n_threads))


@contextmanager
def use_threads(n_threads: int) -> Iterator[None]:
    """Let torch, and the compiled code after it, use a number of threads while the block runs."""
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def own_threads(population: Population) -> Iterator[None]:
    """Leave the cores to the compiled code: torch's threads would wait for work on them, spinning."""
    with use_threads(1 if population.is_compiled else torch.get_num_threads()):
        yield


@contextmanager
def own_settings() -> Iterator[None]:
    """Let what somebody else has set in torch and numpy change nothing while the block runs.

    The default device and type of torch are not among it: every tensor is made with its own.
    """
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.autocast("cpu", enabled=False),
        torch.autocast("cuda", enabled=False),
        own_errors(),
    ):
        yield


def own_products(unit: UnitSpec, device: torch.device) -> AbstractContextManager[None]:
    """Let factors be rounded as the unit asks, whatever is set: to TensorFloat-32 on CUDA, or not at all."""
    is_rounded = device.type == "cuda" and unit.training.precision == "tf32"
    return round_factors("tf32" if is_rounded else "ieee")


@contextmanager
def round_factors(precision: Literal["tf32", "ieee"]) -> Iterator[None]:
    """Let the factors of products be rounded to TensorFloat-32, or not at all ("ieee"), whatever is set.

    It is set library by library: torch refuses to read its precision of all products where somebody has set
    that of one.
    """
    mkldnn: Any = torch.backends.mkldnn  # its attributes are unknown to its annotations
    settings = (torch.backends.cuda.matmul, mkldnn.matmul)
    before = [setting.fp32_precision for setting in settings]
    for setting in settings:
        setting.fp32_precision = precision
    try:
        yield
    finally:
        for setting, value in zip(settings, before, strict=True):
            setting.fp32_precision = value


def describe_device(device: torch.device) -> str:
    """Say what decides the last bits of what is trained here: the GPU, or the processor and the threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    n_threads = torch.get_num_threads()
    return f"{describe_cpu()}, {n_threads} {'thread' if n_threads == 1 else 'threads'}"


def describe_cpu() -> str:
    """Name the processor and its vector instructions."""
    name = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), name)
    return f"{name}, {torch.backends.cpu.get_cpu_capability()}"
