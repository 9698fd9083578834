"""Shapes: B samples, K = 6 subtasks, n = 9 bits, G members."""

import copy
import math
from unittest.mock import patch

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from quanta.tasks.sparse_parity import MultitaskSparseParity
from quanta.tasks.spec import TaskSpec
from quanta.training import gather
from quanta.training import population as module
from quanta.training.population import Population, count_parameters

TASK = MultitaskSparseParity(TaskSpec(n_subtasks=6, n_bits=9, k=2), seed=0)
WIDTHS = (3, 5, 24)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def make_population(widths=WIDTHS, n_hidden_layers=1, dtype=torch.float64, seed=0):
    return Population(widths, 6, 9, n_hidden_layers, dtype=dtype, generator=generator(seed))


def difference(logits):
    return logits[:, 1] - logits[:, 0]


@pytest.fixture
def ragged(monkeypatch):
    """Small slices and blocks: two members in a block, one wider than a block, a last slice cut short."""
    monkeypatch.setattr(module, "SLICE_ROWS", 16)
    monkeypatch.setattr(module, "BLOCK_COLUMNS", 10)


depths = pytest.mark.parametrize("n_hidden_layers", [1, 2, 3])


class TestMember:
    @depths
    def test_is_the_same_function_as_a_plain_network_on_the_dense_input(self, n_hidden_layers):
        population = make_population(n_hidden_layers=n_hidden_layers)
        batch = TASK.sample(50, generator(1))
        margin = population(batch.subtask, batch.bits)
        assert margin.shape == (50, 3)
        for index, width in enumerate(WIDTHS):
            alone = population.member(width)
            expected = difference(alone(TASK.dense_input(batch, torch.float64)))
            # Sums of at most 24 terms of order 1, in another order.
            torch.testing.assert_close(margin[:, index], expected, rtol=0, atol=1e-14)

    @depths
    def test_has_the_layers_of_the_paper(self, n_hidden_layers):
        alone = make_population(n_hidden_layers=n_hidden_layers, dtype=torch.float32).member(5)
        linear = [(layer.in_features, layer.out_features) for layer in alone if isinstance(layer, nn.Linear)]
        assert linear == [(15, 5), *[(5, 5)] * (n_hidden_layers - 1), (5, 2)]
        assert [type(layer) for layer in alone[1::2]] == [nn.ReLU] * n_hidden_layers
        assert len(alone) == 2 * n_hidden_layers + 1
        assert {parameter.dtype for parameter in alone.parameters()} == {torch.float32}

    def test_is_a_copy(self):
        population = make_population()
        before = [parameter.clone() for parameter in population.parameters()]
        with torch.no_grad():
            for parameter in population.member(5).parameters():
                parameter.zero_()
        assert all(torch.equal(a, b) for a, b in zip(before, population.parameters(), strict=True))

    def test_of_a_width_that_is_not_there(self):
        with pytest.raises(ValueError, match=r"width must be one of \(3, 5, 24\), not 4"):
            make_population().member(4)


class TestInitialWeights:
    """Uniform within 1/sqrt(fan-in), weights and biases alike, as `nn.Linear` has it."""

    @pytest.mark.parametrize("n_hidden_layers", [1, 2])
    def test_follow_the_law_of_linear_layers(self, n_hidden_layers):
        widths = (400, 700)
        population = Population(widths, 60, 40, n_hidden_layers, dtype=torch.float64, generator=generator())
        for width in widths:
            for layer in population.member(width)[::2]:
                bound = layer.in_features**-0.5
                for values in layer.parameters():
                    check_uniform(values.detach().flatten(), bound)

    def test_linear_layers_do_follow_that_law(self):
        torch.manual_seed(0)
        for values in nn.Linear(100, 400).parameters():
            check_uniform(values.detach().double().flatten(), 0.1)

    def test_another_law_would_be_noticed(self):
        with pytest.raises(AssertionError):
            check_uniform(torch.randn(4000, generator=generator()).double().clamp(-3, 3) / 3, 1.0)
        with pytest.raises(AssertionError):
            check_uniform(torch.rand(4000, generator=generator()).double() * 1.8 - 0.9, 1.0)

    def test_no_two_parameters_are_drawn_alike(self):
        population = make_population(n_hidden_layers=3)
        values = torch.cat([parameter.detach().flatten() for parameter in population.parameters()])
        values = torch.cat([values * fan_in**0.5 for fan_in in (15, *WIDTHS)])  # by whichever bound
        assert values.unique().numel() == values.numel()

    def test_depend_on_the_generator(self):
        one, same, other = (list(make_population(seed=seed).parameters()) for seed in (1, 1, 2))
        assert all(torch.equal(a, b) for a, b in zip(one, same, strict=True))
        assert not any(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def check_uniform(values, bound):
    """Bounds, variance and distribution of values that shall be uniform within ±bound."""
    n = values.numel()
    assert float(values.abs().max()) <= bound
    # The variance of v^2 is 4/45 bound^4, so this is six standard errors.
    assert abs(float(values.square().mean()) - bound**2 / 3) < 6 * bound**2 * math.sqrt(4 / 45 / n)
    # Kolmogorov-Smirnov; by Dvoretzky, Kiefer, Wolfowitz the bound is passed with probability below 1e-9.
    expected = (values.sort().values / bound + 1) / 2
    rank = torch.arange(n, dtype=torch.float64)
    distance = torch.maximum(expected - rank / n, (rank + 1) / n - expected).max()
    assert float(distance) < math.sqrt(math.log(2 / 1e-9) / (2 * n))


class TestPredict:
    @depths
    @pytest.mark.parametrize("n_samples", [1, 15, 16, 17, 50])
    @pytest.mark.usefixtures("ragged")
    def test_is_forward_without_gradients(self, on_path, n_hidden_layers, n_samples):
        population = on_path(make_population(n_hidden_layers=n_hidden_layers))
        batch = TASK.sample(n_samples, generator(1))
        predicted = population.predict(batch.subtask, batch.bits)
        assert not predicted.requires_grad
        torch.testing.assert_close(predicted, population(batch.subtask, batch.bits), rtol=0, atol=1e-14)


class TestGradients:
    def autograd(self, population, batch):
        """Gradients of the sum over members of the mean cross-entropy."""
        margin = population(batch.subtask, batch.bits)
        target = batch.label[:, None].to(margin.dtype).expand_as(margin)
        loss = functional.binary_cross_entropy_with_logits(margin, target, reduction="none").mean(0).sum()
        return torch.autograd.grad(loss, list(population.parameters()))

    def check(self, population, batch):
        expected = self.autograd(population, batch)
        population.compute_gradients(*batch)
        for parameter, gradient in zip(population.parameters(), expected, strict=True):
            assert parameter.grad is not None
            assert gradient.abs().max() > 0
            scale = float(gradient.abs().max())
            torch.testing.assert_close(parameter.grad, gradient, rtol=0, atol=1e-12 * scale)

    @depths
    @pytest.mark.parametrize("n_samples", [1, 7, 16, 33, 50])
    @pytest.mark.usefixtures("ragged")
    def test_equal_autograd_through_forward(self, on_path, n_hidden_layers, n_samples):
        population = on_path(make_population(n_hidden_layers=n_hidden_layers))
        self.check(population, TASK.sample(n_samples, generator(1)))

    @pytest.mark.parametrize("widths", [(4,), (24, 3, 5), (10, 10), (1, 2, 3, 4, 5, 6, 7)])
    @pytest.mark.usefixtures("ragged")
    def test_for_any_ladder(self, on_path, widths):
        self.check(on_path(make_population(widths)), TASK.sample(50, generator(1)))

    def test_at_the_sizes_in_use(self, on_path):
        assert module.SLICE_ROWS < 1100
        assert module.BLOCK_COLUMNS < 600
        self.check(on_path(make_population((7, 40, 600))), TASK.sample(1100, generator(1)))

    @depths
    @pytest.mark.usefixtures("ragged")
    def test_are_set_and_not_added(self, on_path, n_hidden_layers):
        population = on_path(make_population(n_hidden_layers=n_hidden_layers))
        population.compute_gradients(*TASK.sample(20, generator(2)))
        self.check(population, TASK.sample(50, generator(1)))

    def test_a_step_moves_only_the_codes_of_subtasks_in_the_batch(self, on_path):
        population = on_path(make_population())
        before = population.member(24)[0].weight.detach()
        batch = TASK.sample_stratified(5, generator(1))
        population.compute_gradients(*(x[batch.subtask != 2] for x in batch))
        torch.optim.SGD(population.parameters(), lr=1.0).step()
        moved = (population.member(24)[0].weight != before).any(dim=0)
        assert moved[:6].tolist() == [True, True, False, True, True, True]

    def test_members_do_not_touch_each_other(self, on_path):
        # Whatever stands beside it, a member has the gradient it has alone.
        population = on_path(make_population())
        batch = TASK.sample(50, generator(1))
        population.compute_gradients(*batch)
        norms = sum(float(parameter.grad.square().sum()) for parameter in population.parameters())
        alone = 0.0
        for width in WIDTHS:
            network = population.member(width)
            functional.cross_entropy(
                network(TASK.dense_input(batch, torch.float64)), batch.label.long()
            ).backward()
            alone += sum(float(parameter.grad.square().sum()) for parameter in network.parameters())
        assert norms == pytest.approx(alone, rel=1e-12)


def gradients(population, batch):
    population.compute_gradients(*batch)
    return {name: parameter.grad.clone() for name, parameter in population.named_parameters()}


def check_same(population, expected, dtype=torch.float64):
    """Whether a population predicts and learns as another that was made in its type."""
    batch = TASK.sample(50, generator(1))
    assert {x.dtype for x in (*population.parameters(), population.membership)} == {dtype}
    assert population.is_compiled == expected.is_compiled
    assert torch.equal(
        population.predict(batch.subtask, batch.bits), expected.predict(batch.subtask, batch.bits)
    )
    wanted = gradients(expected, batch)
    assert all(torch.equal(found, wanted[name]) for name, found in gradients(population, batch).items())


class TestUses:
    """What a user may do with any module, on each path."""

    @depths
    def test_another_type(self, on_path, n_hidden_layers):
        narrow = on_path(make_population(n_hidden_layers=n_hidden_layers, dtype=torch.float32))
        expected = on_path(make_population(n_hidden_layers=n_hidden_layers))
        expected.load_state_dict(narrow.state_dict())
        check_same(narrow.double(), expected)
        check_same(
            narrow.float(), on_path(make_population(WIDTHS, n_hidden_layers, torch.float32)), torch.float32
        )

    @pytest.mark.parametrize(
        "change",
        [
            lambda population: population.half(),
            lambda population: population.bfloat16(),
            lambda population: population.to(torch.float16),
            lambda population: population.type(torch.complex64),
        ],
    )
    def test_a_type_that_is_too_coarse_is_refused(self, on_path, change):
        population = on_path(make_population())
        with pytest.raises(
            ValueError, match=r"dtype must be torch\.float32 or torch\.float64, not torch\.\w+16|complex64"
        ):
            change(population)
        check_same(population, on_path(make_population()))
        with pytest.raises(
            ValueError, match=r"dtype must be torch\.float32 or torch\.float64, not torch\.float16"
        ):
            make_population(dtype=torch.float16)

    def test_bf16_stays_in_float32(self):
        population = Population(WIDTHS, 6, 9, bf16=True)
        with pytest.raises(
            ValueError, match=r"bf16 must have one hidden layer in float32, not 1 in torch\.float64"
        ):
            population.double()
        assert population.float().weight.dtype == torch.float32

    @depths
    def test_a_copy(self, on_path, n_hidden_layers):
        population = on_path(make_population(n_hidden_layers=n_hidden_layers))
        copied = copy.deepcopy(population)
        assert copied.n_threads == population.n_threads
        check_same(copied, population)
        with torch.no_grad():
            copied.weight.zero_()
        assert population.weight.abs().min() > 0

    @depths
    def test_a_file(self, on_path, n_hidden_layers, tmp_path):
        population = on_path(make_population(n_hidden_layers=n_hidden_layers))
        torch.save(population, tmp_path / "population.pt")
        check_same(torch.load(tmp_path / "population.pt", weights_only=False), population)

    def test_a_file_where_there_is_no_compiler(self, compiler, tmp_path, request):
        population = make_population()
        torch.save(population, tmp_path / "population.pt")
        request.getfixturevalue("no_kernel")
        there = torch.load(tmp_path / "population.pt", weights_only=False)
        assert (population.is_compiled, there.is_compiled) == (True, False)
        batch = TASK.sample(50, generator(1))
        # Sums of at most 24 terms of order 1, in another order.
        torch.testing.assert_close(
            there.predict(batch.subtask, batch.bits),
            population.predict(batch.subtask, batch.bits),
            rtol=0,
            atol=1e-14,
        )

    def test_another_device(self, on_path):
        population = on_path(make_population())
        assert not population.to("meta").is_compiled
        assert population.to_empty(device="cpu").is_compiled == make_population().is_compiled

    def test_gradients_that_are_not_contiguous(self, on_path):
        population = on_path(make_population())
        batch = TASK.sample(50, generator(1))
        expected = gradients(population, batch)
        held = {}
        for name, parameter in population.named_parameters():
            # Every second element of something larger, as in a buffer for all gradients.
            room = torch.full((*parameter.shape, 2), torch.nan, dtype=parameter.dtype)
            parameter.grad = held[name] = room[..., 0]
            assert not parameter.grad.is_contiguous()
        population.compute_gradients(*batch)
        for name, parameter in population.named_parameters():
            assert parameter.grad is held[name]
            # Sums of at most 50 terms below 1, in another order.
            torch.testing.assert_close(held[name], expected[name], rtol=0, atol=1e-14)

    def test_parameters_that_are_not_contiguous(self, on_path):
        population, expected = (on_path(make_population()) for _ in range(2))
        for parameter in (population.embedding, population.weight):
            parameter.data = parameter.data.T.contiguous().T
            assert not parameter.is_contiguous()
        batch = TASK.sample(50, generator(1))
        wanted = gradients(expected, batch)
        for name, found in gradients(population, batch).items():
            torch.testing.assert_close(found, wanted[name], rtol=0, atol=1e-14)
        margins = [each.predict(batch.subtask, batch.bits) for each in (population, expected)]
        torch.testing.assert_close(*margins, rtol=0, atol=1e-14)

    def test_weights_of_another_type_put_in_by_hand_are_refused(self, compiler):
        population = make_population()
        batch = TASK.sample(50, generator(1))
        population.weight.data = population.weight.data.float()
        with pytest.raises(
            ValueError, match=r"weight must be torch\.float64 of shape \(9, 32\), not torch\.float32"
        ):
            population.predict(batch.subtask, batch.bits)
        with pytest.raises(
            ValueError, match=r"weight must be torch\.float64 of shape \(9, 32\), not torch\.float32"
        ):
            population.compute_gradients(*batch)

    def test_a_batch_on_another_device_is_refused(self, compiler):
        subtask, bits, _ = TASK.sample(50, generator(1))
        with pytest.raises(ValueError, match="bits must be on the cpu, not on meta"):
            make_population().predict(subtask, bits.to("meta"))


class TestAddRows:
    @given(st.integers(1, 7), st.lists(st.integers(0, 6), max_size=40), st.integers(1, 60))
    def test_by_product_is_one_after_another(self, n_rows, codes, elements):
        index = torch.tensor([code % n_rows for code in codes], dtype=torch.int64)
        rows = torch.rand(len(codes), 3, dtype=torch.float64, generator=generator(1))
        total = torch.rand(n_rows, 3, dtype=torch.float64, generator=generator(2))
        expected, by_product = total.clone(), total.clone()
        for code, row in zip(index.tolist(), rows, strict=True):
            expected[code] += row
        gather.add_rows_(total, index, rows)
        with patch.object(gather, "ONE_HOT_ELEMENTS", elements):
            gather.add_rows_by_product_(by_product, index, rows)
        # Sums of at most 41 terms below 1, in another order.
        torch.testing.assert_close(total, expected, rtol=0, atol=1e-13)
        torch.testing.assert_close(by_product, expected, rtol=0, atol=1e-13)


class TestCountParameters:
    @depths
    def test_is_the_number_there_is(self, n_hidden_layers):
        population = make_population(n_hidden_layers=n_hidden_layers)
        counts = [count_parameters(width, 6, 9, n_hidden_layers) for width in WIDTHS]
        for width, count in zip(WIDTHS, counts, strict=True):
            assert count == sum(parameter.numel() for parameter in population.member(width).parameters())
        assert sum(counts) == sum(parameter.numel() for parameter in population.parameters())

    @pytest.mark.parametrize("width", [1, 10, 500])
    def test_at_the_sizes_of_the_paper(self, width):
        assert count_parameters(width, n_subtasks=500, n_bits=100) == 603 * width + 2
