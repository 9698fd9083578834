"""Multitask sparse parity: K parity problems on shared bits, drawn with given frequencies.

Shapes: B samples, K subtasks, n bits, P bytes of packed bits a sample.
"""

import itertools
import json
import math
import os
from collections.abc import Container
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor

from quanta.tasks.atomic import atomic_write
from quanta.tasks.config import one_line
from quanta.tasks.errors import QuantaError
from quanta.tasks.guided_search import GuidedSearch
from quanta.tasks.layout import TENSORS
from quanta.tasks.memory import format_bytes, memory_size
from quanta.tasks.seeds import derive_sample_seed, derive_seed
from quanta.tasks.spec import WORD_BYTES, TaskSpec
from quanta.tasks.tensors import DTYPES, open_tensors, sort_metadata

_FORMAT = "quanta-task-1"
_CHECKED_ROWS = 4096  # labels checked at a time: their bits' places take many times the memory of the bits


class TaskError(QuantaError):
    """A task that cannot exist, or a file that does not hold one."""


class Batch(NamedTuple):
    """Samples of the task.

    Attributes
    ----------
    subtask : Tensor of int64, shape (B,)
        Which subtask each sample is of, counted from 0: element k - 1 of the frequencies.
    bits : Tensor of uint8, shape (B, n)
        Fair bits, 0 or 1.
    label : Tensor of uint8, shape (B,)
        Parity of the subtask's bits.
    """

    subtask: Tensor
    bits: Tensor
    label: Tensor


class MultitaskSparseParity:
    """One instance of the task: its subsets drawn, ready to be sampled on a device.

    Parameters
    ----------
    spec : TaskSpec
        Which problem.
    seed : int
        Decides the subsets: distinct, uniformly drawn, overlaps allowed.
    device : torch.device or str, default "cpu"
        Where samples are made.

    Attributes
    ----------
    subsets : ndarray of int64, shape (K, max k)
        The bits of each subtask in increasing order, padded with -1.
    frequencies : ndarray of float64, shape (K,)
        Probability of each subtask.
    own_bits : Tensor of uint8, shape (K, P)
        The bits of each subtask, packed as those of samples are: the label is the parity of what both have.

    References
    ----------
    Michaud et al. (2023), arXiv:2303.13506, section 3; sparse parity: Barak et al. (2022), arXiv:2207.08799.
    """

    def __init__(self, spec: TaskSpec, seed: int, device: torch.device | str = "cpu") -> None:
        subsets = _draw_subsets(spec, np.random.default_rng(derive_seed(seed, "task")))
        self._set_up(spec, seed, subsets, device)

    def _set_up(
        self, spec: TaskSpec, seed: int, subsets: NDArray[np.int64], device: torch.device | str
    ) -> None:
        self.spec = spec
        self.seed = seed
        self.device = torch.device(device)
        self.subsets = subsets
        self.frequencies = spec.frequencies
        self._count_below = GuidedSearch(torch.as_tensor(np.cumsum(self.frequencies)[:-1], device=device))
        self._bit_index = torch.as_tensor(subsets.clip(min=0), device=device)
        self._in_subset = torch.as_tensor(subsets >= 0, device=device).to(torch.uint8)
        own = np.zeros((len(subsets), 8 * spec.packed_bytes), dtype=np.uint8)
        subtask, column = np.nonzero(subsets >= 0)
        own[subtask, subsets[subtask, column]] = 1
        self.own_bits = torch.as_tensor(np.packbits(own, axis=1, bitorder="little"), device=device)
        # Entry i is the 8 bits of byte i, as 8 bytes in one word: unpacking is one lookup a byte.
        byte = torch.arange(256, dtype=torch.uint8, device="cpu")[:, None]
        place = torch.arange(8, dtype=torch.uint8, device="cpu")
        self._unpacked = ((byte >> place) & 1).view(torch.int64)[:, 0].to(device)

    def sample(self, n_samples: int, generator: torch.Generator | None = None) -> Batch:
        """Draw independent samples: a subtask by its frequency, fair bits, their parity.

        Parameters
        ----------
        n_samples : int
            B.
        generator : torch.Generator, optional
            On the task's device. Without one, torch's global generator is used.

        Returns
        -------
        Batch
            B samples on the task's device.
        """
        return self.unpack(self.draw_subtasks(n_samples, generator), self.draw_packed(n_samples, generator))

    def sample_stratified(self, n_per_subtask: int, generator: torch.Generator | None = None) -> Batch:
        """Draw the same number of samples of every subtask, subtask by subtask.

        Parameters
        ----------
        n_per_subtask : int
            Samples of each subtask.
        generator : torch.Generator, optional
            As in `sample`.

        Returns
        -------
        Batch
            K · n_per_subtask samples; those of one subtask stand together.
        """
        subtask = torch.arange(self.spec.n_subtasks, device=self.device).repeat_interleave(n_per_subtask)
        return self.unpack(subtask, self.draw_packed(len(subtask), generator))

    def draw_subtasks(self, n_samples: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw subtasks by their frequencies: int64, shape (B,), counted from 0."""
        uniform = torch.rand(n_samples, generator=generator, dtype=torch.float64, device=self.device)
        return self._count_below(uniform)

    def draw_packed(self, n_samples: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw fair bits, 8 in a byte: uint8, shape (B, P)."""
        words = torch.empty(
            n_samples, self.spec.packed_bytes // WORD_BYTES, dtype=torch.int64, device=self.device
        )
        # 64 fair bits at once: many times faster than a draw for every bit.
        words.random_(torch.iinfo(torch.int64).min, None, generator=generator)
        return words.view(torch.uint8)

    def unpack(self, subtask: Tensor, packed: Tensor) -> Batch:
        """Make samples of subtasks and packed bits.

        Parameters
        ----------
        subtask : Tensor of int64, shape (B,)
        packed : Tensor of uint8, shape (B, P)
            As `draw_packed` makes them.

        Returns
        -------
        Batch
        """
        words = self._unpacked.index_select(0, packed.flatten().int()).view(packed.shape)
        bits = words.view(torch.uint8)[:, : self.spec.n_bits]
        return Batch(subtask, bits, self.label(subtask, bits))

    def label(self, subtask: Tensor, bits: Tensor) -> Tensor:
        """Parity of each sample's own bits.

        Parameters
        ----------
        subtask : Tensor of int64, shape (B,)
        bits : Tensor of uint8, shape (B, n)

        Returns
        -------
        Tensor of uint8, shape (B,)
        """
        bit_index, in_subset = (x.index_select(0, subtask) for x in (self._bit_index, self._in_subset))
        own = bits.gather(1, bit_index) & in_subset
        return own.sum(1, dtype=torch.uint8) & 1

    def dense_input(self, batch: Batch, dtype: torch.dtype = torch.float32) -> Tensor:
        """Input as the paper defines it, one-hot subtask code and then the bits; for people and tests.

        Parameters
        ----------
        batch : Batch
        dtype : torch.dtype, default float32

        Returns
        -------
        Tensor, shape (B, K + n)
        """
        code = torch.nn.functional.one_hot(batch.subtask, self.spec.n_subtasks)
        return torch.cat([code.to(dtype), batch.bits.to(dtype)], dim=1)

    def draw_handout(self, n_samples: int, sample_seed: int = 0) -> Batch:
        """Draw samples to hand out, none of which any training draws but by chance.

        Parameters
        ----------
        n_samples : int
            B.
        sample_seed : int, default 0
            Which of the task's samples: each is from a stream of its own.

        Returns
        -------
        Batch
            B samples on the task's device.
        """
        generator = torch.Generator(self.device).manual_seed(derive_sample_seed(self.seed, sample_seed))
        return self.sample(n_samples, generator)

    def save(
        self, path: str | os.PathLike[str], sample: Batch | None = None, sample_seed: int | None = None
    ) -> None:
        """Write the task, and a sample of it if given, as one safetensors file.

        What the tensors and the metadata are stands in `quanta.tasks.layout`; the file says it of its
        tensors too.

        Parameters
        ----------
        path : path-like
        sample : Batch, optional
        sample_seed : int, optional
            With which it was drawn; written to the metadata.

        Raises
        ------
        OSError
            If the file cannot be written.
        """
        tensors = {
            "subsets": torch.from_numpy(self.subsets),
            "frequencies": torch.from_numpy(self.frequencies),
        }
        if sample is not None:
            packed = np.packbits(sample.bits.cpu().numpy(), axis=1, bitorder="little")
            tensors |= {"subtask": sample.subtask.cpu(), "label": sample.label.cpu()}
            tensors["bits"] = torch.from_numpy(packed)
        metadata = {"format": _FORMAT, "spec": self.spec.model_dump_json(), "seed": str(self.seed)}
        if sample is not None and sample_seed is not None:
            metadata["sample_seed"] = str(sample_seed)
        metadata["tensors"] = _describe(tensors)
        with atomic_write(path) as temporary:
            save_file(tensors, temporary, metadata)
            sort_metadata(temporary)

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], device: torch.device | str = "cpu"
    ) -> tuple[Self, Batch | None]:
        """Read what `save` wrote; never executes code.

        Parameters
        ----------
        path : path-like
        device : torch.device or str, default "cpu"

        Returns
        -------
        task : MultitaskSparseParity
        sample : Batch or None
            On `device`; None if the file has none.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        TaskError
            If it is damaged or not a task file.
        """
        if not Path(path).is_file():
            raise FileNotFoundError(f"no task at {path}: there is no such file")
        try:
            with open_tensors(path) as file:
                found = file.metadata.get("format")
                if found != _FORMAT:
                    raise ValueError(f"format: expected {_FORMAT!r}, found {found!r}")
                spec = TaskSpec.parse(file.metadata["spec"])
                seed = int(file.metadata["seed"])
                if seed < 0:
                    raise ValueError(f"seed: expected at least 0, found {seed}")
                _check_tensors(spec, file.tensors)
                if file.metadata.get("tensors", _describe(file.tensors)) != _describe(file.tensors):
                    raise ValueError("tensors: expected the words of this format, found others")
                tensors = {name: file.read(name) for name in file.tensors}
            task = cls.__new__(cls)
            task._set_up(spec, seed, _check_subsets(spec, tensors["subsets"]), device)
            _check_frequencies(task, tensors["frequencies"])
            return task, _check_sample(task, tensors) if "bits" in tensors else None
        except KeyError as error:
            raise TaskError(f"{path}: not a task file (no {error})") from error
        except (OSError, ValueError) as error:
            raise TaskError(f"{path}: not a task file ({one_line(error)})") from error


def _describe(names: Container[str]) -> str:
    """Say what tensors are, as JSON."""
    return json.dumps({name: meaning for name, meaning in TENSORS.items() if name in names})


def _draw_subsets(spec: TaskSpec, rng: np.random.Generator) -> NDArray[np.int64]:
    """Distinct subsets, uniformly: shape (K, max k), padded with -1."""
    sizes = np.array(spec.subset_sizes)
    subsets = np.full((spec.n_subtasks, sizes.max()), -1, dtype=np.int64)
    for size in np.unique(sizes):
        rows = np.flatnonzero(sizes == size)
        subsets[rows, :size] = _draw_distinct(spec.n_bits, int(size), len(rows), rng)
    return subsets


def _draw_distinct(n_bits: int, size: int, count: int, rng: np.random.Generator) -> NDArray[np.int16]:
    n_possible = math.comb(n_bits, size)
    if 2 * count > n_possible:  # most are wanted: list them all and choose
        possible = list(itertools.combinations(range(n_bits), size))
        return np.array([possible[i] for i in rng.choice(n_possible, count, replace=False)], dtype=np.int16)
    found: dict[bytes, None] = {}  # few are wanted: draw until there are enough
    while len(found) < count:
        found[np.sort(rng.choice(n_bits, size, replace=False)).astype(np.int16).tobytes()] = None
    return np.frombuffer(b"".join(found), dtype=np.int16).reshape(count, size)


def _check_tensors(spec: TaskSpec, tensors: dict[str, tuple[str, tuple[int, ...]]]) -> None:
    """Check types and shapes, from the header alone."""
    shape = (spec.n_subtasks, max(spec.subset_sizes))
    for name, dtype, expected in (("subsets", "int64", shape), ("frequencies", "float64", shape[:1])):
        if tensors[name] != (DTYPES[dtype], expected):
            raise ValueError(f"{name}: expected {dtype} of shape {expected}")
    needed = 5 * 8 * math.prod(shape)  # the subsets, and what sorting them takes
    if len(tensors) > 2:
        (subtask, length), (bits, packed), (label, labels) = (
            tensors[name] for name in ("subtask", "bits", "label")
        )
        if len(length) != 1 or packed != (*length, -(-spec.n_bits // 8)) or labels != length:
            raise ValueError("sample: subtask, bits and label do not fit each other")
        if (subtask, bits, label) != (DTYPES["int64"], DTYPES["uint8"], DTYPES["uint8"]):
            raise ValueError("sample: expected int64 subtasks and uint8 bits and labels")
        needed += length[0] * (8 + packed[1] + spec.n_bits + 2)
    if len(tensors) not in (2, 5):
        raise ValueError(f"expected 2 or 5 tensors, found {len(tensors)}")
    if needed > memory_size():
        there = format_bytes(memory_size())
        raise ValueError(f"expected at most this machine's {there} of memory, found {format_bytes(needed)}")


def _check_subsets(spec: TaskSpec, subsets: Tensor) -> NDArray[np.int64]:
    sizes = np.array(spec.subset_sizes)
    values = subsets.numpy()
    used = np.arange(sizes.max()) < sizes[:, None]
    increasing = np.diff(values, axis=1)[used[:, 1:]] > 0
    in_range = (values[used] >= 0) & (values[used] < spec.n_bits)
    if not (increasing.all() and in_range.all() and (values[~used] == -1).all()):
        raise ValueError(f"subsets: expected increasing bits in 0..{spec.n_bits - 1}, padded with -1")
    if len(np.unique(values, axis=0)) < len(values):
        raise ValueError("subsets: expected distinct ones, found one twice")
    return values


def _check_frequencies(task: MultitaskSparseParity, frequencies: Tensor) -> None:
    if not np.allclose(frequencies.numpy(), task.frequencies, rtol=1e-9, atol=0):
        raise ValueError("frequencies: they are not those of the spec")


def _check_sample(task: MultitaskSparseParity, tensors: dict[str, Tensor]) -> Batch:
    subtask, packed, label = tensors["subtask"], tensors["bits"], tensors["label"]
    if len(subtask) and not 0 <= int(subtask.min()) <= int(subtask.max()) < task.spec.n_subtasks:
        raise ValueError(f"sample: expected subtasks in 0..{task.spec.n_subtasks - 1}")
    bits = torch.from_numpy(np.unpackbits(packed.numpy(), axis=1, bitorder="little", count=task.spec.n_bits))
    batch = Batch(*(tensor.to(task.device) for tensor in (subtask, bits, label)))
    for rows in map(Batch._make, zip(*(torch.split(x, _CHECKED_ROWS) for x in batch), strict=True)):
        if not torch.equal(task.label(rows.subtask, rows.bits), rows.label):
            raise ValueError("sample: labels are not the parities of the bits")
    return batch
