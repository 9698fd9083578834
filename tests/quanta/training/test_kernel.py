"""The compiled path against the torch path, which test_population holds against autograd.

Shapes: B samples, K subtasks, n bits, H = sum of widths, G members.
"""

import gc
import os
import re
import resource
import stat
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from quanta.tasks.sparse_parity import MultitaskSparseParity
from quanta.tasks.spec import TaskSpec
from quanta.training import compilation
from quanta.training import kernel as kernel_module
from quanta.training import population as population_module
from quanta.training.kernel import LadderKernel
from quanta.training.population import Population

pytestmark = pytest.mark.usefixtures("compiler")


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def make_population(sizes, dtype, bf16=False):
    widths, n_subtasks, n_bits = sizes
    return Population(widths, n_subtasks, n_bits, dtype=dtype, bf16=bf16, generator=generator())


def make_torch_population(sizes, dtype, bf16=False):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(population_module, "LadderKernel", raise_os_error)
        return make_population(sizes, dtype, bf16)


def raise_os_error(*arguments, **options):
    raise OSError("no C compiler")


def make_batch(sizes, n_samples, layout="contiguous"):
    _, n_subtasks, n_bits = sizes
    draw = generator(1)
    subtask = torch.randint(n_subtasks, (n_samples,), generator=draw)
    bits = torch.randint(2, (n_samples, n_bits), generator=draw, dtype=torch.uint8)
    label = torch.randint(2, (n_samples,), generator=draw, dtype=torch.uint8)
    return subtask, LAYOUTS[layout](bits), label


def with_row_stride(bits):
    """What the task draws: the front of rows that are padded to whole words, here with ones."""
    return functional.pad(bits, (0, 7), value=1)[:, : bits.shape[1]]


def with_column_stride(bits):
    return bits.repeat_interleave(2, dim=1)[:, ::2]


LAYOUTS = {
    "contiguous": torch.Tensor.contiguous,
    "row stride": with_row_stride,
    "column stride": with_column_stride,
    "transposed": lambda bits: bits.T.contiguous().T,
}


def compute(population, batch, n_threads=1):
    """Margins, and the gradients by name."""
    population.n_threads = n_threads
    population.compute_gradients(*batch)
    gradients = {name: parameter.grad.clone() for name, parameter in population.named_parameters()}
    return gradients | {"margin": population.predict(*batch[:2])}


# Widths about one and two blocks, which are 64 columns in float32 and 32 in float64, and none of them.
sizes = st.tuples(
    st.lists(st.integers(1, 200) | st.sampled_from([31, 32, 33, 63, 64, 65, 128]), min_size=1, max_size=4),
    st.integers(1, 5),
    st.integers(1, 19),
)


def check_float64(sizes, batch, n_threads):
    found = compute(make_population(sizes, torch.float64), batch, n_threads)
    expected = compute(make_torch_population(sizes, torch.float64), batch)
    for name, values in expected.items():
        # Sums of at most 1025 terms of one order of magnitude, in another order.
        scale = max(float(values.abs().max()), 1e-3)
        torch.testing.assert_close(found[name], values, rtol=0, atol=1e-13 * scale, msg=name)


class TestAgainstTorch:
    @given(
        sizes=sizes,
        n_samples=st.integers(1, 40),
        n_threads=st.integers(1, 5),
        layout=st.sampled_from(sorted(LAYOUTS)),
    )
    def test_float64(self, sizes, n_samples, n_threads, layout):
        check_float64(sizes, make_batch(sizes, n_samples, layout), n_threads)

    @pytest.mark.parametrize("n_samples", [511, 512, 513, 1025])
    @pytest.mark.parametrize("n_threads", [1, 2])
    def test_more_samples_than_are_worked_on_at_a_time(self, n_samples, n_threads):
        sizes = ((3, 70), 4, 10)
        check_float64(sizes, make_batch(sizes, n_samples), n_threads)

    @given(sizes=sizes, n_samples=st.integers(1, 40), n_threads=st.integers(1, 3))
    def test_float32_is_as_near_to_the_truth_as_its_rounding_allows(self, sizes, n_samples, n_threads):
        population = make_population(sizes, torch.float32)
        batch = make_batch(sizes, n_samples)
        found = compute(population, batch, n_threads)
        for name, (truth, bound) in by_hand(population, batch).items():
            assert ((found[name] - truth).abs() <= bound).all(), name

    def test_the_bounds_on_rounding_are_not_wide(self):
        sizes = ((31, 200), 5, 19)
        for name, (truth, bound) in by_hand(
            make_population(sizes, torch.float32), make_batch(sizes, 40)
        ).items():
            assert bound.max() < 1e-3 * truth.abs().max(), name


def by_hand(population, batch):
    """Margins and gradients of float32 parameters by their definition in float64, and bounds on rounding.

    A sum of m terms in any order is off by at most m u times the sum of their sizes, to first order in the
    unit roundoff u. With eps = 2 u, what is left out is covered. In products with bits a number may be three
    terms, and the gradient of the readout may be put together from those of the weights, see
    `quanta.training.kernel`: then its terms are as large as those of z. An activation so near to 0 that
    rounding may change its sign may be counted or not.
    """
    eps = torch.finfo(torch.float32).eps
    subtask, bits, label = batch
    parameters = {name: value.detach().double() for name, value in population.named_parameters()}
    embedding, weight, bias = (parameters[name] for name in ("embedding", "weight", "bias"))
    readout, offset = (parameters[f"readout_{name}"].diff(dim=0)[0] for name in ("weight", "bias"))
    membership = population.membership.double()
    x = bits.double()
    code = functional.one_hot(subtask, population.n_subtasks).double()
    n_samples, n_bits = bits.shape
    m_forward, m_backward = max(population.widths) + 8, 3 * n_samples + population.n_subtasks + 24

    z = code @ embedding + bias + x @ weight
    size_z = code @ embedding.abs() + bias.abs() + x @ weight.abs()
    e_z = (3 * n_bits + 4) * eps * size_z
    h = z.relu()
    margin = (h * readout) @ membership + offset
    e_margin = (e_z * readout.abs()) @ membership
    e_margin += m_forward * eps * ((h * readout.abs()) @ membership + offset.abs())

    delta = (margin.sigmoid() - label.double()[:, None]) / n_samples
    e_delta = (e_margin / 4 + 8 * eps) / n_samples  # the slope of the sigmoid is at most 1/4
    delta_H, e_delta_H = delta @ membership.T, e_delta @ membership.T
    dz = (z > 0) * delta_H * readout
    e_dz = (z > 0) * e_delta_H * readout.abs() + 2 * eps * dz.abs()
    e_dz += (z.abs() <= e_z) * (delta_H.abs() + e_delta_H) * readout.abs()

    def summed(left, terms, error):
        return left.T @ terms, left.T @ (error + m_backward * eps * terms.abs())

    ones = torch.ones(n_samples, 1, dtype=torch.float64)
    e_terms = e_delta_H * h + delta_H.abs() * (e_z + m_backward * eps * size_z)
    d_readout = summed(ones, delta_H * h, e_terms)
    d_offset = summed(ones, delta, e_delta)
    return {
        "margin": (margin, e_margin),
        "embedding": summed(code, dz, e_dz),
        "weight": summed(x, dz, e_dz),
        "bias": tuple(part[0] for part in summed(ones, dz, e_dz)),
        "readout_weight": opposite(*d_readout),
        "readout_bias": opposite(*d_offset),
    }


def opposite(value, bound):
    """Of the two logits."""
    return torch.cat([-value, value]), torch.cat([bound, bound])


SHAPES = [
    # widths, K, n: about groups of 4 bits, words of 64 and 16, blocks of columns, and the least of everything
    ((1,), 1, 1),
    ((1, 2), 3, 3),
    ((16,), 1, 4),
    ((17, 8), 2, 15),
    ((9,), 40, 16),
    ((15, 33), 7, 63),
    ((24,), 7, 64),
    ((5, 65), 7, 65),
    ((7,), 3, 130),
]


class TestShapes:
    """Bits are divided by 4, 16 and 64, columns by vectors and blocks, samples by 4, 32, 64 and threads."""

    @pytest.mark.parametrize("sizes", SHAPES, ids=str)
    @pytest.mark.parametrize("n_samples", [1, 3, 64, 67, 150])
    @pytest.mark.parametrize("n_threads", [1, 3, 8])
    def test_float64(self, sizes, n_samples, n_threads):
        check_float64(sizes, make_batch(sizes, n_samples), n_threads)

    @pytest.mark.parametrize("sizes", SHAPES, ids=str)
    @pytest.mark.parametrize("n_samples", [1, 67])
    def test_float32(self, sizes, n_samples):
        population, batch = make_population(sizes, torch.float32), make_batch(sizes, n_samples)
        found = compute(population, batch, 3)
        for name, (truth, bound) in by_hand(population, batch).items():
            assert ((found[name] - truth).abs() <= bound).all(), name

    @pytest.mark.parametrize("n_threads", [1, 3])
    def test_an_empty_batch_has_gradients_of_zero(self, n_threads):
        sizes = ((3, 20), 4, 10)
        population = make_population(sizes, torch.float32)
        compute(population, make_batch(sizes, 50), n_threads)
        found = compute(population, make_batch(sizes, 0), n_threads)
        assert found.pop("margin").shape == (0, 2)
        assert not any(values.any() for values in found.values())

    @pytest.mark.parametrize("n_threads", [1, 2, 7])
    @pytest.mark.parametrize("subtasks", [[2], [0, 4], [1, 1, 1, 3], [4]], ids=str)
    def test_subtasks_that_have_none_or_many_of_the_shares(self, subtasks, n_threads):
        sizes = ((3, 20), 5, 10)
        _, bits, label = make_batch(sizes, 60)
        check_float64(sizes, (torch.tensor(subtasks).repeat(60)[:60], bits, label), n_threads)

    def test_so_much_that_every_thread_is_started(self):
        sizes = ((300, 200, 7), 40, 50)
        batch = make_batch(sizes, 3000)
        population = make_population(sizes, torch.float32)
        several = compute(population, batch, 4)
        for name, (truth, bound) in by_hand(population, batch).items():
            assert ((several[name] - truth).abs() <= bound).all(), name
        for _ in range(5):
            again = compute(population, batch, 4)
            assert all(torch.equal(again[name], values) for name, values in several.items())

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_the_order_of_samples_changes_rounding_alone(self, dtype):
        sizes = ((3, 40), 5, 30)
        batch = make_batch(sizes, 500)
        order = torch.randperm(500, generator=generator())
        one = compute(make_population(sizes, dtype), batch)
        other = compute(make_population(sizes, dtype), [values[order] for values in batch])
        assert torch.equal(other.pop("margin"), one.pop("margin")[order])
        for name, values in one.items():
            scale = 500 * torch.finfo(dtype).eps * float(values.abs().max())
            torch.testing.assert_close(other[name], values, rtol=0, atol=scale, msg=name)


class TestPacked:
    @pytest.mark.parametrize("n_bits", [5, 64, 71, 130])
    @pytest.mark.parametrize("n_threads", [1, 3])
    def test_is_the_same_to_the_bit(self, n_bits, n_threads):
        spec = TaskSpec(n_subtasks=6, n_bits=n_bits, k=3, alpha=0.4)
        task = MultitaskSparseParity(spec, seed=0)
        subtask, packed = task.draw_subtasks(200, generator()), task.draw_packed(200, generator())
        population = make_population(((3, 40), 6, n_bits), torch.float32)
        expected = compute(population, task.unpack(subtask, packed), n_threads)
        population.compute_gradients_packed(subtask, packed, task.own_bits)
        for name, parameter in population.named_parameters():
            assert torch.equal(parameter.grad, expected[name]), name

    def test_needs_compiled_code(self):
        population = make_torch_population(((3,), 1, 5), torch.float32)
        with pytest.raises(RuntimeError, match="packed bits need compiled code"):
            population.compute_gradients_packed(*torch.zeros(3, 1, 8, dtype=torch.uint8))

    @pytest.mark.parametrize(
        ("changed", "message"),
        [
            (
                {"packed": torch.zeros(2, 2, dtype=torch.uint8)},
                r"packed must be torch.uint8 of shape \(2, 8\)",
            ),
            (
                {"own_bits": torch.zeros(3, 8, dtype=torch.uint8)},
                r"own must be torch.uint8 of shape \(4, 8\)",
            ),
            ({"subtask": torch.tensor([0, 4])}, r"subtask must be in 0\.\.3, not 0\.\.4"),
        ],
    )
    def test_refused_with_the_name_of_the_argument(self, changed, message):
        batch = {
            "subtask": torch.tensor([0, 3]),
            "packed": torch.zeros(2, 8, dtype=torch.uint8),
            "own_bits": torch.zeros(4, 8, dtype=torch.uint8),
        }
        with pytest.raises(ValueError, match=message):
            make_population(((3,), 4, 10), torch.float32).compute_gradients_packed(**(batch | changed))


class TestRepeated:
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    @pytest.mark.parametrize("n_threads", [1, 2, 3])
    def test_the_same_to_the_bit(self, dtype, n_threads):
        sizes = ((5, 40, 100), 4, 10)
        batch = make_batch(sizes, 700)
        first = compute(make_population(sizes, dtype), batch, n_threads)
        population = make_population(sizes, dtype)
        for _ in range(3):
            again = compute(population, batch, n_threads)
            assert all(torch.equal(again[name], values) for name, values in first.items())

    def test_nothing_is_left_of_another_batch_or_another_number_of_threads(self):
        sizes = ((5, 40), 4, 10)
        batch = make_batch(sizes, 30)
        population = make_population(sizes, torch.float64)
        for n_threads in (3, 1, 5, 2):
            compute(population, make_batch(sizes, 50), n_threads)
            found = compute(population, batch, n_threads)
            alone = compute(make_population(sizes, torch.float64), batch, n_threads)
            assert all(torch.equal(found[name], values) for name, values in alone.items())


VECTORS = {
    "AVX-512": ("avx512f", ()),
    "AVX2": ("avx2", ("-march=haswell",)),
    "AVX": ("avx", ("-march=sandybridge",)),
    "SSE2": ("sse2", ("-march=nocona",)),  # the first Intel of 64 bits
    "NEON": ("asimd", ()),
}
"""What code is compiled for: its flag in /proc/cpuinfo, and the options that ask for no more than it.

Instead of options like -mno-avx, which `zig cc` ignores.
"""

PRODUCTS = VECTORS | {"AVX-512 with tiles": ("amx_bf16", ("-DTILES",))}


def has(flag):
    return flag in compilation.processor().split()


def compile_with(options, monkeypatch):
    def load(real, bf16):
        return kernel_module._compile(f"-DREAL={real}", f"-DTERMS={1 if bf16 else 3}", *options)

    monkeypatch.setattr(kernel_module, "_load", load)
    return load


class TestProducts:
    """Every way to multiply by bits that this machine has, on vectors of every size, against torch."""

    SIZES = ((3, 40, 70), 5, 37)  # more than one tile of bits, and ragged

    @pytest.fixture(params=PRODUCTS)
    def products(self, request, monkeypatch):
        flag, options = PRODUCTS[request.param]
        if not has(flag):
            pytest.skip(f"this processor has no {request.param}")
        code = compile_with(options, monkeypatch)("float", False)
        if "-DTILES" in options and not code.ladder_has_tiles():
            pytest.skip("the system does not let this process use tiles")
        assert make_population(self.SIZES, torch.float32).compiled_for == request.param

    def test_this_machine_has_one(self):
        assert any(has(flag) for flag, _ in PRODUCTS.values())

    @pytest.mark.usefixtures("products")
    @pytest.mark.parametrize("n_samples", [1, 33, 600])
    @pytest.mark.parametrize("n_threads", [1, 2])
    def test_float32(self, n_samples, n_threads):
        population = make_population(self.SIZES, torch.float32)
        batch = make_batch(self.SIZES, n_samples)
        found = compute(population, batch, n_threads)
        for name, (truth, bound) in by_hand(population, batch).items():
            assert ((found[name] - truth).abs() <= bound).all(), name

    @pytest.mark.usefixtures("products")
    @pytest.mark.parametrize("products", VECTORS, indirect=True)
    @pytest.mark.parametrize("n_threads", [1, 2])
    def test_float64(self, n_threads):
        check_float64(self.SIZES, make_batch(self.SIZES, 600), n_threads)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_the_size_of_vectors_does_not_change_a_bit(self, dtype, monkeypatch):
        # A unit may be continued on another processor. Without fused multiply-adds, which SSE2 does not have.
        batch = make_batch(self.SIZES, 600)
        results = {}
        for name in ("AVX-512", "AVX2", "SSE2"):
            flag, options = VECTORS[name]
            if has(flag):
                compile_with((*options, "-ffp-contract=off"), monkeypatch)
                population = make_population(self.SIZES, dtype)
                results[population.compiled_for] = compute(population, batch)
        if len(results) < 2:
            pytest.skip("this processor has one size of vectors")
        first, *others = results.values()
        assert all(torch.equal(other[name], first[name]) for other in others for name in first)

    @pytest.mark.usefixtures("products")
    @pytest.mark.parametrize("products", ["AVX-512 with tiles"], indirect=True)
    @pytest.mark.parametrize("n_samples", [1, 33, 600])
    def test_bf16_rounds_weights_and_errors_as_torch_does(self, n_samples):
        batch = make_batch(self.SIZES, n_samples)
        found, expected, exact = (
            compute(make(self.SIZES, torch.float32, bf16=bf16), batch)
            for make, bf16 in (
                (make_population, True),
                (make_torch_population, True),
                (make_population, False),
            )
        )
        for name, values in expected.items():
            scale = float(values.abs().max())
            # An error at the edge between two bfloat16 may be rounded either way: 2^-8 of one error.
            allowed = scale * (2**-8 / n_samples + 1e-5) if name == "weight" else scale * 1e-5
            torch.testing.assert_close(found[name], values, rtol=0, atol=allowed, msg=name)
        assert (found["margin"] - exact["margin"]).abs().max() > 1e-4

    @pytest.mark.skipif(has("amx_bf16"), reason="this processor has tiles")
    def test_bf16_without_tiles_is_left_to_torch(self):
        assert not make_population(self.SIZES, torch.float32, bf16=True).is_compiled
        assert make_population(self.SIZES, torch.float32).is_compiled
        assert "only for processors with bfloat16 tiles" in kernel_module.why_not_compiled("bf16")

    @pytest.mark.parametrize(("n_hidden_layers", "dtype"), [(2, torch.float32), (1, torch.float64)])
    def test_bf16_only_where_it_is_to_be_had(self, n_hidden_layers, dtype):
        with pytest.raises(ValueError, match="bf16 must have one hidden layer in float32"):
            Population((3,), 4, 5, n_hidden_layers, dtype=dtype, bf16=True)


class TestRefused:
    """What would read or write out of bounds."""

    @pytest.mark.parametrize(
        ("changed", "message"),
        [
            ({"subtask": torch.tensor([0, 4])}, r"subtask must be in 0\.\.3, not 0\.\.4"),
            ({"subtask": torch.tensor([-1, 0])}, r"subtask must be in 0\.\.3, not -1\.\.0"),
            ({"subtask": torch.tensor([0, 1], dtype=torch.int32)}, "subtask must be torch.int64"),
            ({"bits": torch.zeros(2, 10)}, "bits must be torch.uint8"),
            ({"bits": torch.zeros(2, 9, dtype=torch.uint8)}, r"of shape \(2, 10\), not torch.uint8 \(2, 9\)"),
            ({"label": torch.zeros(1, dtype=torch.uint8)}, r"label must be torch.uint8 of shape \(2,\)"),
            ({"n_threads": 0}, "n_threads must be at least 1, not 0"),
        ],
    )
    def test_with_the_name_of_the_argument(self, changed, message):
        batch = dict(zip(("subtask", "bits", "label"), make_batch(((3,), 4, 10), 2), strict=True))
        population = make_population(((3,), 4, 10), torch.float32)
        population.n_threads = changed.pop("n_threads", 1)
        with pytest.raises(ValueError, match=message):
            population.compute_gradients(**(batch | changed))

    def test_a_bit_that_is_neither_0_nor_1_counts_as_1(self):
        subtask, bits, label = make_batch(((3,), 4, 10), 5)
        population = make_population(((3,), 4, 10), torch.float32)
        one, other = (compute(population, (subtask, x, label)) for x in (bits, bits * 200))
        assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
class TestMemory:
    """A network so wide that the activity of its units, a bit for each sample, takes 200 MB."""

    SIZES = ((100_000,), 1, 1)

    @contextmanager
    def no_more_memory(self):
        """Let this process have 50 MB more than it has now."""
        gc.collect()  # nothing that others left may be freed meanwhile
        limits = resource.getrlimit(resource.RLIMIT_AS)
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + 50 * 2**20, limits[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_AS, limits)

    @pytest.mark.parametrize("n_threads", [1, 2])
    def test_a_lack_of_it_is_an_error_after_which_it_goes_on(self, n_threads):
        batch = make_batch(self.SIZES, 16_000)
        population, other = (make_population(self.SIZES, torch.float32) for _ in range(2))
        expected = compute(other, batch, n_threads)
        compute(population, make_batch(self.SIZES, 3), n_threads)
        with self.no_more_memory():
            for action in (population.compute_gradients, lambda *batch: population.predict(*batch[:2])):
                with pytest.raises(MemoryError, match=f"no memory for what {n_threads} threads work on"):
                    action(*batch)
        found = compute(population, batch, n_threads)
        assert all(torch.equal(found[name], values) for name, values in expected.items())


class TestWorkingMemory:
    @pytest.mark.usefixtures("compiler")
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    @pytest.mark.parametrize("n_threads", [1, 3])
    def test_is_what_is_made(self, dtype, n_threads):
        sizes = ((3, 70, 5), 4, 10)
        population = make_population(sizes, dtype)
        compute(population, make_batch(sizes, 50), n_threads)
        made = population._kernel._memory.nbytes
        assert kernel_module.working_memory(*sizes, dtype, 50, n_threads, bf16=False) == made

    def test_is_none_without_a_compiler(self, monkeypatch):
        def refuse(*arguments):
            raise OSError("no C compiler")

        monkeypatch.setattr(kernel_module, "_load", refuse)
        assert kernel_module.working_memory((3,), 4, 10, torch.float32, 50, 8, bf16=False) == 0


class TestNotFinite:
    """A population that has diverged must show it, or the loss of a dead one would count as measured."""

    @pytest.mark.parametrize("name", ["embedding", "weight", "bias", "readout_weight", "readout_bias"])
    def test_a_weight_that_is_not_a_number_reaches_the_margins(self, on_path, name):
        sizes = ((3, 70), 4, 10)
        population = on_path(make_population(sizes, torch.float32))
        with torch.no_grad():
            getattr(population, name).fill_(torch.nan)
        subtask, bits, label = make_batch(sizes, 50)
        assert population.predict(subtask, bits | 1).isnan().all()
        population.compute_gradients(subtask, bits | 1, label)
        assert population.readout_bias.grad.isnan().all()


FIND_OUTPUT = 'while [ "$1" != -o ]; do shift; done\n'


class TestCompilation:
    @pytest.fixture(autouse=True)
    def _nothing_compiled(self, tmp_path, monkeypatch):
        """A cache folder of its own, and no library loaded, as in a new process."""
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        kernel_module._load.cache_clear()
        yield
        kernel_module._load.cache_clear()

    @pytest.fixture
    def calls(self, compiler, tmp_path, monkeypatch):
        """Let a script stand for the compiler; a file that gets a line each time it is called."""
        log = tmp_path / "calls"
        set_compiler(tmp_path, monkeypatch, f'echo called >> "{log}"\nexec {compiler} "$@"')
        return lambda: len(log.read_text().splitlines()) if log.exists() else 0

    def make_kernel(self, dtype=torch.float32):
        return LadderKernel((3, 5), 4, 10, dtype)

    @pytest.mark.parametrize("missing", ["/nowhere/cc", "nowhere-cc -O2"])
    def test_no_compiler(self, missing, monkeypatch):
        monkeypatch.setenv("CC", missing)
        self.check_refused(match="nowhere")

    def hide_compilers(self, monkeypatch):
        monkeypatch.delenv("CC", raising=False)
        monkeypatch.setenv("PATH", "/nowhere")

    def test_none_on_the_path(self, monkeypatch):
        self.hide_compilers(monkeypatch)
        monkeypatch.setitem(sys.modules, "ziglang", None)
        said = r"no C compiler: found none of cc, gcc and clang; the extra quanta\[compiler\] brings one"
        self.check_refused(match=said)

    @pytest.fixture
    def ziglang(self, compiler, tmp_path, monkeypatch):
        """A package of that name that calls the compiler of this machine, and a file that it leaves then."""
        package = tmp_path / "packages" / "ziglang"
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
        used = tmp_path / "used"
        (package / "__main__.py").write_text(
            "import os, pathlib, sys\n"
            "assert sys.argv[1] == 'cc'\n"
            f"pathlib.Path({str(used)!r}).touch()\n"
            f"os.environ['PATH'] = {os.environ['PATH']!r}\n"
            f"command = {compiler.split()} + sys.argv[2:]\n"
            "os.execvp(command[0], command)\n"
        )
        monkeypatch.syspath_prepend(package.parent)
        monkeypatch.setenv("PYTHONPATH", str(package.parent))
        return used

    def test_none_on_the_path_but_ziglang(self, ziglang, tmp_path, monkeypatch):
        self.hide_compilers(monkeypatch)
        (tmp_path / "here").mkdir()
        (tmp_path / "here" / "ziglang.py").write_text("raise SystemExit('not this one')")
        monkeypatch.chdir(tmp_path / "here")
        self.make_kernel()
        assert ziglang.exists()

    def test_ziglang_is_the_last_choice(self, ziglang):
        self.make_kernel()
        assert not ziglang.exists()

    def test_a_compiler_that_fails(self, monkeypatch):
        monkeypatch.setenv("CC", "false")
        self.check_refused(match="the C compiler failed: false -std=gnu11")

    def test_a_compiler_that_fails_with_many_words(self, tmp_path, monkeypatch):
        set_compiler(tmp_path, monkeypatch, "printf 'ladder.c:1: error\\nand more\\n' >&2\nexit 1")
        self.check_refused(match="ladder.c:1: error")

    @pytest.mark.parametrize("script", ["true", FIND_OUTPUT + ': > "$2"', FIND_OUTPUT + 'echo words > "$2"'])
    def test_a_compiler_that_makes_no_library(self, script, tmp_path, monkeypatch):
        set_compiler(tmp_path, monkeypatch, script)
        self.check_refused(match="ladder-")

    def test_a_cache_folder_that_cannot_be_made(self, tmp_path, monkeypatch):
        (tmp_path / "file").touch()
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
        self.check_refused(match="file")

    def test_a_home_that_is_not_known(self, monkeypatch):
        def fail():
            raise RuntimeError("Could not determine home directory.")

        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.setattr(compilation.Path, "home", fail)
        self.check_refused(match="no folder for compiled code")

    def check_refused(self, match):
        """One line, and a population that works without."""
        with pytest.raises(OSError, match=match) as caught:
            self.make_kernel()
        assert "\n" not in str(caught.value)
        assert re.search(match, kernel_module.why_not_compiled())
        sizes = ((3, 5), 4, 10)
        population = make_population(sizes, torch.float64)
        assert not population.is_compiled
        batch = make_batch(sizes, 20)
        torch.testing.assert_close(population.predict(*batch[:2]), population(*batch[:2]))

    @pytest.mark.usefixtures("compiler")
    def test_nothing_to_explain_where_there_is_a_compiler(self):
        assert kernel_module.why_not_compiled() is None

    def test_once_for_each_type_and_kept(self, calls):
        self.make_kernel()
        n_calls = calls()
        assert n_calls >= 1
        self.make_kernel()
        kernel_module._load.cache_clear()
        self.make_kernel()
        assert calls() == n_calls
        self.make_kernel(torch.float64)
        assert calls() > n_calls

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    @pytest.mark.parametrize(
        "damage", ["empty", "cut", "cut by one", "flipped", "longer", "zeros", "unreadable"]
    )
    def test_again_where_it_was_damaged(self, calls, tmp_path, dtype, damage):
        self.make_kernel(dtype)
        n_calls = calls()
        whole = {path: path.read_bytes() for path in (tmp_path / "cache").rglob("*.so")}
        for path, code in whole.items():
            # Not in place: that would be what this process has loaded.
            path.unlink()
            middle = len(code) // 2
            path.write_bytes(
                {
                    "empty": b"",
                    "cut": code[:middle],
                    "cut by one": code[:-1],
                    "flipped": code[:middle] + bytes([code[middle] ^ 1]) + code[middle + 1 :],
                    "longer": code + b"\0",
                    "zeros": bytes(len(code)),
                    "unreadable": b"no library",
                }[damage]
            )
        if damage == "unreadable":
            path.chmod(0)
        kernel_module._load.cache_clear()
        assert self.make_kernel(dtype).compiled_for
        assert calls() > n_calls
        assert {path: len(path.read_bytes()) for path in whole} == {p: len(c) for p, c in whole.items()}

    def test_a_compiler_whose_path_has_spaces(self, compiler, tmp_path, monkeypatch):
        folder = tmp_path / "my compilers"
        folder.mkdir()
        set_compiler(folder, monkeypatch, f'exec {compiler} "$@"')
        monkeypatch.setenv("CC", f"'{folder}/compiler' -DUNUSED")
        assert self.make_kernel().compiled_for

    def test_a_command_that_is_none(self, monkeypatch):
        monkeypatch.setenv("CC", "'cc")
        self.check_refused(match='CC: expected a command, found "\'cc"')

    def test_again_for_another_processor(self, calls, monkeypatch):
        self.make_kernel()
        kernel_module._load.cache_clear()
        n_calls = calls()
        monkeypatch.setattr(compilation, "processor", lambda: "another")
        self.make_kernel()
        assert calls() > n_calls

    def test_again_for_other_options(self, calls, monkeypatch):
        self.make_kernel()
        kernel_module._load.cache_clear()
        n_calls = calls()
        monkeypatch.setenv("CC", os.environ["CC"] + " -DUNUSED")
        self.make_kernel()
        assert calls() > n_calls

    def test_nobody_else_may_write_to_the_cache(self, tmp_path):
        self.make_kernel()
        assert stat.S_IMODE((tmp_path / "cache" / "quanta").stat().st_mode) == 0o700

    @pytest.mark.parametrize("mode", [0o770, 0o707, 0o1777])
    def test_a_cache_that_others_may_write_to_is_not_trusted(self, mode, tmp_path):
        self.make_kernel()
        kernel_module._load.cache_clear()
        (tmp_path / "cache" / "quanta").chmod(mode)
        self.check_refused(match=f"quanta: must belong to user .* with mode {mode:o}")

    def test_a_cache_of_somebody_else_is_not_trusted(self, tmp_path, monkeypatch):
        self.make_kernel()
        kernel_module._load.cache_clear()
        owner = (tmp_path / "cache" / "quanta").stat().st_uid
        monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
        self.check_refused(
            match=f"must belong to user {owner + 1} .* not belong to user {owner} with mode 700"
        )


def set_compiler(folder, monkeypatch, script):
    """Make a script the compiler."""
    path = folder / "compiler"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setenv("CC", str(path))
