"""Where a unit is trained: the device by its name, whether it will do, and how torch uses it meanwhile."""

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from quanta.study.size import check_fits
from quanta.study.spec import UnitSpec
from quanta.tasks.config import ConfigError
from quanta.tasks.memory import memory_size
from quanta.training.population import Population


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


def check_device(unit: UnitSpec, device: torch.device) -> None:
    """Raise ConfigError if a unit cannot be trained on a device, for its precision or for lack of memory.

    The memory of a GPU is not checked: torch says when it is full. A machine kills the process instead.
    """
    if device.type != "cpu":
        return
    if unit.training.precision == "tf32":
        raise ConfigError("training.precision must be float32, float64 or bf16 on a CPU, not tf32")
    try:
        check_fits(unit.memory_needed, memory_size(), "of memory (all there is here)")
    except ValueError as error:
        raise ConfigError(str(error)) from error


@contextmanager
def own_threads(population: Population) -> Iterator[None]:
    """Leave the cores to the compiled code: torch's threads would wait for work on them, spinning."""
    n_threads = torch.get_num_threads()
    if population.is_compiled:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)


@contextmanager
def own_products(unit: UnitSpec, device: torch.device) -> Iterator[None]:
    """Let CUDA round factors to TensorFloat-32 if the unit asks for it and only then."""
    before = torch.get_float32_matmul_precision()
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high" if unit.training.precision == "tf32" else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


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
