"""The compiled fast path: gradients and margins of a ladder of one-hidden-layer MLPs on a CPU.

Shapes: B samples, K subtasks, n bits, H = sum of widths, G members.

Between the rows of the embedding and the readouts there are two large products, bits @ weight and its
gradient bitsᵀ @ dz. ``ladder.c`` has two ways to take them that are cheaper than multiplying floats by bits.
It sorts the samples of a batch by their subtask, which changes nothing but the order of sums, since samples
are exchangeable; cuts them into a share for each thread; and takes a share through everything, member by
member and block of columns by block, in the cache.

*Tables* (``ladder_tables.h``, any processor). A product with bits is a sum of rows of weights, and four
bits at a time have only 16 sums. With T[j, v] the sum of the weights of those bits of nibble j that the
value v has, and v(b, j) the nibbles of sample b::

    z[b] = embedding[k] + bias + Σ_j T[j, v(b, j)]               n/4 additions for n multiplications

Of h = relu(z) only the bits [z > 0] are kept. The gradient goes the same way with samples and bits changed
about: four samples at a time have 16 sums of errors, S[g, v] of those of group g that v has, and each bit i
looks up the one that the nibble v(i, g) of its values in the four samples names. The readout r multiplies
all that belongs to a unit, so it is left to the end: with u = [z > 0] δ::

    S[g, v]                = Σ of u over the samples of group g that v has
    d weight[i]            = r Σ_g S[g, v(i, g)]                 n/4 additions a sample, and 11 to make S
    d embedding[k]         = r Σ of u over the samples of subtask k,    d bias = Σ_k d embedding[k]

z is linear in embedding + bias and weight where u is not 0, so that by Euler's theorem the gradient of the
readout, Σ δ h, needs no activations::

    d r = Σ_k (embedding[k] + bias) Σ u  +  Σ_i weight[i] Σ_g S[g, v(i, g)]

*Tiles* (``ladder_tiles.h``, processors with bfloat16 matrix tiles). These multiply bfloat16 and sum in
float32, sixteen times as fast as float32 itself. A bit is exact in bfloat16, and a float32 is the exact sum
of three bfloat16, so three such products are the product in float32::

    weight = w1 + w2 + w3,   bits @ weight = bits @ w1 + bits @ w2 + bits @ w3

and likewise for dz. With `bf16` only the first term is taken; tables would gain nothing from that, so without
tiles it is left to torch.

Both are exact but for the order of summation, which depends on the sizes and the number of threads alone,
never on which thread is done first; which of them is used is a matter of the processor. The code is
compiled by the C compiler of this machine when it is first needed, for the processor it runs on, and kept
in the user's cache folder; where it has none, by that of the Python package ziglang. Where there is none at
all, `Population` computes the same with torch, more slowly.
"""

import ctypes
import functools
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from quanta.training.compilation import compile_ladder, processor

_REALS = {torch.float32: "float", torch.float64: "double"}

_POINTERS = (
    "first_block",
    "first_column",
    "n_used",
    "subtask",
    "packed",
    "own",
    "bits",
    "label",
    "embedding",
    "weight",
    "bias",
    "readout",
    "offset",
    "d_embedding",
    "d_weight",
    "d_bias",
    "d_readout",
    "d_offset",
    "margin",
    "memory",
)
_SIZES = (
    "n_samples",
    "n_subtasks",
    "n_bits",
    "n_members",
    "n_blocks",
    "n_columns",
    "n_threads",
    "n_words",
    "bits_stride",
    "margins_only",
)
KERNEL_VERSION = 2
"""Raised whenever the compiled code comes to other last bits: what one version began, only it can finish.
Checkpoints that name none are of version 1."""

_NO_SUCH_SUBTASK = 2
"""What the compiled code says of a subtask that is not one of K."""
_WORD_BITS = 64
_LINE_BYTES = 64
"""Of the cache: memory begins at whole lines."""


class _Ladder(ctypes.Structure):
    """The struct `ladder` of ladder.c."""

    _fields_ = [(name, ctypes.c_int64) for name in _SIZES] + [(name, ctypes.c_void_p) for name in _POINTERS]


class LadderKernel:
    """Geometry and memory for one ladder, and the compiled code to run on it.

    Parameters
    ----------
    widths : sequence of int
        Of the members.
    n_subtasks, n_bits : int
        K and n.
    dtype : torch.dtype
        float32 or float64.
    bf16 : bool, default False
        Round weights and errors to bfloat16 in the products.

    Raises
    ------
    OSError
        If there is no C compiler, or it fails, or there is no safe place for what it makes; or for bf16 on a
        processor that has no tiles of it.

    Attributes
    ----------
    compiled_for : str
        The instructions that the code uses, such as "AVX2".
    """

    def __init__(
        self, widths: Sequence[int], n_subtasks: int, n_bits: int, dtype: torch.dtype, *, bf16: bool = False
    ) -> None:
        self._code = _load(_REALS[dtype], bf16)
        self.compiled_for: str = self._code.ladder_compiled_for().decode()
        self._dtype = dtype
        lanes = self._code.ladder_block_bytes() // dtype.itemsize
        starts = np.cumsum([0, *widths])
        in_block = [
            np.arange(start, start + width, lanes) for start, width in zip(starts, widths, strict=False)
        ]
        first_column = np.concatenate(in_block)
        ends = np.repeat(starts[1:], [len(columns) for columns in in_block])
        self._geometry = {
            "first_block": np.cumsum([0] + [len(columns) for columns in in_block], dtype=np.int64),
            "first_column": first_column.astype(np.int64),
            "n_used": np.minimum(ends - first_column, lanes).astype(np.int64),
        }
        self._sizes = {
            "n_subtasks": n_subtasks,
            "n_bits": n_bits,
            "n_members": len(widths),
            "n_blocks": len(first_column),
            "n_columns": int(starts[-1]),
            "n_words": -(-n_bits // _WORD_BITS),
        }
        self._memory = torch.empty(0, dtype=torch.uint8, device="cpu")

    def gradients(self, batch: dict[str, Tensor], parameters: dict[str, Tensor], n_threads: int) -> None:
        """Find the gradients of every member's mean cross-entropy (nats) on a batch.

        Parameters
        ----------
        batch : dict of str to Tensor
            ``subtask`` (B,) int64, and uint8 either ``bits`` (B, n) and ``label`` (B,); or ``packed`` (B, P)
            and ``own`` (K, P), the bits of each subtask, whose parity is the label, both packed as
            `MultitaskSparseParity.draw_packed` does it.
        parameters : dict of str to Tensor
            ``embedding`` (K, H), ``weight`` (n, H), ``bias`` (H,), ``readout`` (2, H), ``offset`` (2, G), and
            what is written to: contiguous tensors of the same shapes, with ``d_`` before their names.
        n_threads : int

        Raises
        ------
        MemoryError
            If there is no room to work; what was to be written to may hold anything.
        """
        self._run(batch | parameters, n_threads)

    def margins(self, subtask: Tensor, bits: Tensor, parameters: dict[str, Tensor], n_threads: int) -> Tensor:
        """Margins of all members, shape (B, G); arguments as for `gradients`, nothing is written to."""
        margin = torch.empty(len(subtask), self._sizes["n_members"], dtype=self._dtype, device="cpu")
        self._run({"subtask": subtask, "bits": bits, **parameters, "margin": margin}, n_threads)
        return margin

    def working_memory(self, n_samples: int, n_threads: int) -> int:
        """Count the bytes that `gradients` works on besides the batch, the parameters and their gradients."""
        return int(self._code.ladder_memory(ctypes.byref(self._describe(n_samples, n_threads)))) + _LINE_BYTES

    def _describe(self, n_samples: int, n_threads: int, **values: int) -> _Ladder:
        pointers = {name: array.ctypes.data for name, array in self._geometry.items()}
        return _Ladder(n_samples=n_samples, n_threads=n_threads, **self._sizes, **pointers, **values)

    def _run(self, tensors: dict[str, Tensor], n_threads: int) -> None:
        self._check(tensors, n_threads)
        bits = tensors.get("bits")
        if bits is not None and bits.stride(1) != 1:
            tensors["bits"] = bits = bits.contiguous()
        for name, tensor in tensors.items():
            if name != "bits" and not tensor.is_contiguous():
                tensors[name] = tensor.contiguous()
        ladder = self._describe(
            len(tensors["subtask"]),
            n_threads,
            bits_stride=0 if bits is None else bits.stride(0),
            margins_only="margin" in tensors,
            **{name: tensor.data_ptr() for name, tensor in tensors.items()},
        )
        ladder.memory = self._reserve(self._code.ladder_memory(ctypes.byref(ladder)), n_threads)
        failure = self._code.ladder_run(ctypes.byref(ladder))
        if failure == _NO_SUCH_SUBTASK:
            low, high = (int(value) for value in tensors["subtask"].aminmax())
            raise ValueError(f"subtask must be in 0..{self._sizes['n_subtasks'] - 1}, not {low}..{high}")
        if failure:
            raise _no_memory(n_threads)

    def _reserve(self, n_bytes: int, n_threads: int) -> int:
        """Have at least so much memory, and kept for the next time; returns its address."""
        if len(self._memory) < n_bytes + _LINE_BYTES:
            try:
                self._memory = torch.empty(n_bytes + _LINE_BYTES, dtype=torch.uint8, device="cpu")
            except RuntimeError as error:  # as torch says it
                raise _no_memory(n_threads) from error
        return -(-self._memory.data_ptr() // _LINE_BYTES) * _LINE_BYTES

    def _check(self, tensors: dict[str, Tensor], n_threads: int) -> None:
        """Refuse what the compiled code would read or write out of bounds with."""
        if n_threads < 1:
            raise ValueError(f"n_threads must be at least 1, not {n_threads}")
        n_samples, n_subtasks = len(tensors["subtask"]), self._sizes["n_subtasks"]
        n_bits, H, G = self._sizes["n_bits"], self._sizes["n_columns"], self._sizes["n_members"]
        n_bytes = self._sizes["n_words"] * _WORD_BITS // 8
        byte, real = torch.uint8, self._dtype
        expected = {
            "subtask": (torch.int64, (n_samples,)),
            "bits": (byte, (n_samples, n_bits)),
            "label": (byte, (n_samples,)),
            "packed": (byte, (n_samples, n_bytes)),
            "own": (byte, (n_subtasks, n_bytes)),
            "embedding": (real, (n_subtasks, H)),
            "weight": (real, (n_bits, H)),
            "bias": (real, (H,)),
            "readout": (real, (2, H)),
            "offset": (real, (2, G)),
            "margin": (real, (n_samples, G)),
        }
        for name, tensor in tensors.items():
            dtype, shape = expected[name.removeprefix("d_")]
            if tensor.device.type != "cpu":
                raise ValueError(f"{name} must be on the cpu, not on {tensor.device}")
            if tensor.dtype != dtype or tensor.shape != shape:
                found = f"{tensor.dtype} {tuple(tensor.shape)}"
                raise ValueError(f"{name} must be {dtype} of shape {tuple(shape)}, not {found}")
            if name.startswith("d_") and not tensor.is_contiguous():
                raise ValueError(f"{name} must be contiguous, since it is written to")


def _no_memory(n_threads: int) -> MemoryError:
    return MemoryError(f"there is no memory for what {n_threads} threads work on")


def working_memory(
    widths: Sequence[int],
    n_subtasks: int,
    n_bits: int,
    dtype: torch.dtype,
    n_samples: int,
    n_threads: int,
    *,
    bf16: bool,
) -> int:
    """Count the bytes that a `LadderKernel` works on besides the batch, the parameters and their gradients.

    Parameters
    ----------
    widths, n_subtasks, n_bits, dtype, bf16
        As of a `LadderKernel`.
    n_samples, n_threads : int
        B, and the number of threads; each has gradients of its own.

    Returns
    -------
    int
        0 where there is no compiled code.
    """
    try:
        kernel = LadderKernel(widths, n_subtasks, n_bits, dtype, bf16=bf16)
    except OSError:
        return 0
    return kernel.working_memory(n_samples, n_threads)


def why_not_compiled(precision: str = "float32") -> str | None:
    """Say why compiled code of a precision is not to be had on this machine; None if it is."""
    try:
        _load("double" if precision == "float64" else "float", precision == "bf16")
    except OSError as error:
        return str(error)
    return None


@functools.cache
def _load(real: str, bf16: bool) -> ctypes.CDLL:
    """Get the compiled code: with matrix tiles where this machine has them, else with tables."""
    if real == "float" and "amx_bf16" in processor().split():
        try:
            code = _compile(f"-DREAL={real}", f"-DTERMS={1 if bf16 else 3}", "-DTILES")
        except OSError:  # a compiler that does not know them
            code = None
        if code is not None and code.ladder_has_tiles():
            return code
    if bf16:
        raise OSError("bf16 is compiled only for processors with bfloat16 tiles, and float32 is faster here")
    return _compile(f"-DREAL={real}")


def _compile(*options: str) -> ctypes.CDLL:
    """Get the code that was compiled with some options."""
    code = ctypes.CDLL(str(compile_ladder(*options)))
    code.ladder_run.restype = ctypes.c_int
    code.ladder_run.argtypes = [ctypes.POINTER(_Ladder)]
    code.ladder_memory.restype = ctypes.c_int64
    code.ladder_memory.argtypes = [ctypes.POINTER(_Ladder)]
    code.ladder_block_bytes.restype = ctypes.c_int64
    code.ladder_block_bytes.argtypes = []
    code.ladder_compiled_for.restype = ctypes.c_char_p
    return code
