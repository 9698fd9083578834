"""The compiled fast path: gradients and margins of a ladder of one-hidden-layer MLPs on a CPU.

Shapes: B samples, K subtasks, n bits, H = sum of widths, G members.

Inputs are bits, so a matrix product with them is a sum of rows of weights, and four bits at a time have only
16 sums. With T[j, v] the sum of the weights of those bits of nibble j that the value v has, and v(b, j) the
nibbles of sample b::

    bits @ weight          =  Σ_j T[j, v(b, j)]                      n/4 additions for n multiplications
    d T[j, v]              =  Σ of dz over the samples with v(b, j) = v
    d weight[4j + i]       =  Σ of d T[j, v] over the values v that have bit i

This takes a quarter of the arithmetic of the matrix products and passes over the activations once each way,
in the cache. It is exact but for the order of summation. ``ladder.c`` is compiled by the C compiler of this
machine when it is first needed, for the processor it runs on, and kept in the user's cache folder. Where
there is no compiler, `Population` computes the same with torch, more slowly.
"""

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

_REALS = {torch.float32: "float", torch.float64: "double"}
_FLAGS = (
    "-std=gnu11",
    "-O3",
    "-march=native",
    # What lets a sum over a vector's lanes be taken pairwise, and no more: results stay reproducible.
    "-fassociative-math",
    "-fno-signed-zeros",
    "-fno-trapping-math",
    "-fno-math-errno",
    "-shared",
    "-fPIC",
    "-pthread",
)
_BLOCK_BYTES = 128
"""Size of a block of columns in ladder.c: two vectors of 64 bytes."""

_POINTERS = (
    "first_block",
    "first_column",
    "n_used",
    "subtask",
    "bits",
    "label",
    "embedding",
    "weight",
    "bias",
    "readout",
    "offset",
    "rows",
    "tables",
    "d_rows",
    "d_tables",
    "d_embedding",
    "d_weight",
    "d_readout",
    "d_offset",
    "margin",
)
_SIZES = (
    "n_samples",
    "n_subtasks",
    "n_bits",
    "n_members",
    "n_blocks",
    "n_columns",
    "n_threads",
    "bits_stride",
)


class _Ladder(ctypes.Structure):
    """The struct `ladder` of ladder.c."""

    _fields_ = [(name, ctypes.c_int64) for name in _SIZES] + [(name, ctypes.c_void_p) for name in _POINTERS]


class LadderKernel:
    """Memory and geometry for one ladder, and the compiled code to run on it.

    Parameters
    ----------
    widths : sequence of int
        Of the members.
    n_subtasks, n_bits : int
        K and n.
    dtype : torch.dtype
        float32 or float64.

    Raises
    ------
    OSError
        If there is no C compiler, or it fails.
    """

    def __init__(self, widths: Sequence[int], n_subtasks: int, n_bits: int, dtype: torch.dtype) -> None:
        self._code = _compile(_REALS[dtype])
        self._dtype = dtype
        lanes = _BLOCK_BYTES // dtype.itemsize
        starts = np.cumsum([0, *widths])
        in_block = [
            np.arange(start, start + width, lanes) for start, width in zip(starts, widths, strict=False)
        ]
        first_column = np.concatenate(in_block)
        ends = np.repeat(starts[1:], [len(columns) for columns in in_block])
        self._geometry = [
            np.cumsum([0] + [len(columns) for columns in in_block], dtype=np.int64),
            first_column.astype(np.int64),
            np.minimum(ends - first_column, lanes).astype(np.int64),
        ]
        self._sizes = {
            "n_subtasks": n_subtasks,
            "n_bits": n_bits,
            "n_members": len(widths),
            "n_blocks": len(first_column),
            "n_columns": int(starts[-1]),
        }
        self._lanes = lanes
        self._buffers: dict[str, Tensor] = {}

    def gradients(
        self,
        subtask: Tensor,
        bits: Tensor,
        label: Tensor,
        parameters: dict[str, Tensor],
        n_threads: int,
    ) -> dict[str, Tensor]:
        """Gradients of every member's mean cross-entropy (nats) on a batch.

        Parameters
        ----------
        subtask : Tensor of int64, shape (B,)
        bits : Tensor of uint8, shape (B, n)
        label : Tensor of uint8, shape (B,)
        parameters : dict of str to Tensor
            ``embedding`` (K, H), ``weight`` (n, H), ``bias`` (H,), ``readout`` (H,), ``offset`` (G,), and the
            contiguous tensors to write to: ``d_embedding`` and ``d_weight``.
        n_threads : int

        Returns
        -------
        dict of str to Tensor
            ``d_readout`` (H,) and ``d_offset`` (G,).
        """
        H, G = self._sizes["n_columns"], self._sizes["n_members"]
        found = {
            "d_readout": torch.zeros(n_threads, H, dtype=self._dtype),
            "d_offset": torch.zeros(n_threads, G, dtype=self._dtype),
        }
        self._run({"subtask": subtask, "bits": bits, "label": label, **parameters, **found}, n_threads)
        return {name: parts.sum(0) for name, parts in found.items()}

    def margins(self, subtask: Tensor, bits: Tensor, parameters: dict[str, Tensor], n_threads: int) -> Tensor:
        """Margins of all members, shape (B, G); arguments as for `gradients`, nothing is written to."""
        margin = torch.empty(len(subtask), self._sizes["n_members"], dtype=self._dtype)
        self._run({"subtask": subtask, "bits": bits, **parameters, "margin": margin}, n_threads)
        return margin

    def _run(self, tensors: dict[str, Tensor], n_threads: int) -> None:
        bits = tensors["bits"]
        if bits.stride(1) != 1:
            tensors["bits"] = bits = bits.contiguous()
        for name, tensor in tensors.items():
            if name != "bits" and not tensor.is_contiguous():
                tensors[name] = tensor.contiguous()
        self._grow_buffers(n_threads)
        pointers = {name: tensor.data_ptr() for name, tensor in (tensors | self._buffers).items()}
        places = zip(("first_block", "first_column", "n_used"), self._geometry, strict=True)
        pointers |= {name: array.ctypes.data for name, array in places}
        self._code.ladder_run(
            ctypes.byref(
                _Ladder(
                    **self._sizes,
                    **pointers,
                    n_samples=len(bits),
                    n_threads=n_threads,
                    bits_stride=bits.stride(0),
                )
            )
        )

    def _grow_buffers(self, n_threads: int) -> None:
        """Make the working memory, zero where a block is padded; the gradients once for each thread."""
        if self._buffers and len(self._buffers["d_rows"]) >= n_threads:
            return
        K, Q, J = self._sizes["n_subtasks"], self._sizes["n_blocks"], -(-self._sizes["n_bits"] // 4)
        shapes = {
            "rows": (Q, K),
            "tables": (Q, J, 16),
            "d_rows": (n_threads, Q, K),
            "d_tables": (n_threads, Q, J, 16),
        }
        self._buffers = {
            name: torch.zeros(*shape, self._lanes, dtype=self._dtype) for name, shape in shapes.items()
        }


@functools.cache
def _compile(real: str) -> ctypes.CDLL:
    """Compile ladder.c for one type of number and this processor, unless that was done before."""
    source = resources.files("quanta") / "ladder.c"
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise FileNotFoundError("no C compiler: found none of cc, gcc and clang")
    command = (*compiler.split(), *_FLAGS, f"-DREAL={real}")
    made_of = (source.read_text(encoding="utf-8"), " ".join(command), _processor())
    name = f"ladder-{real}-{hashlib.sha256(repr(made_of).encode()).hexdigest()[:16]}.so"
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "quanta"
    library = folder / name
    if not library.is_file():
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with resources.as_file(source) as file, tempfile.TemporaryDirectory(dir=folder) as workplace:
            fresh = Path(workplace) / name
            done = subprocess.run(
                (*command, str(file), "-o", str(fresh), "-lm"), capture_output=True, text=True, check=False
            )
            if done.returncode != 0:
                raise OSError(f"the C compiler failed: {' '.join(command)}: {done.stderr.strip()[:500]}")
            os.replace(fresh, library)
    code = ctypes.CDLL(str(library))
    code.ladder_run.restype = None
    code.ladder_run.argtypes = [ctypes.POINTER(_Ladder)]
    return code


def _processor() -> str:
    """Name what the code is compiled for: a cache folder may be shared by machines that differ."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line for line in lines if line.startswith(("flags", "Features")))
    except (OSError, StopIteration):
        return platform.processor() + platform.machine()
