"""The Gram matrix of per-sample gradients, against autograd's gradients one sample at a time."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from quanta.tasks.sparse_parity import Batch, MultitaskSparseParity
from quanta.tasks.spec import TaskSpec
from quanta.training import gradients
from quanta.training.gradients import (
    TERMS,
    GradientError,
    compute_gram,
    compute_gram_of_module,
    compute_hidden,
)
from quanta.training.population import Population

K, N_BITS, WIDTH = 5, 9, 7


@pytest.fixture
def task():
    return MultitaskSparseParity(TaskSpec(n_subtasks=K, n_bits=N_BITS), 0)


@pytest.fixture
def batch(task):
    return task.sample(23, torch.Generator().manual_seed(1))


def make_member(n_hidden_layers=1, width=WIDTH, dtype=torch.float64):
    generator = torch.Generator().manual_seed(2)
    return Population((width, 4), K, N_BITS, n_hidden_layers, dtype=dtype, generator=generator).member(width)


def gradients_by_autograd(member, inputs, label):
    """Rows of gradients by parameter, one backward pass a sample; the oracle."""
    rows = {name: [] for name, _ in member.named_parameters()}
    for one, its_label in zip(inputs, label, strict=True):
        member.zero_grad()
        functional.cross_entropy(member(one[None]), its_label[None]).backward()
        for name, parameter in member.named_parameters():
            rows[name].append(parameter.grad.flatten())
    return {name: torch.stack(row) for name, row in rows.items()}


def parts_by_autograd(member, inputs, label):
    """The same by term."""
    found = gradients_by_autograd(member, inputs, label)
    n_layers = len(member) // 2 + 1
    first = found["0.weight"].view(len(inputs), -1, K + N_BITS)
    last = str(2 * (n_layers - 1))
    return {
        "readout": [found[f"{last}.weight"], found[f"{last}.bias"]],
        "hidden": [found[f"{2 * i}.{name}"] for i in range(1, n_layers - 1) for name in ("weight", "bias")],
        "embedding": [first[:, :, :K].flatten(1)],
        "bits": [first[:, :, K:].flatten(1)],
        "bias": [found["0.bias"]],
    }


def gram_of(parts, sign="signed"):
    rows = torch.cat(parts, dim=1)
    rows = rows.abs() if sign == "free" else rows
    return rows @ rows.T


@pytest.mark.parametrize("sign", ["signed", "free"])
@pytest.mark.parametrize("tile", [512, 7])
@pytest.mark.parametrize("terms", [*([term] for term in TERMS), TERMS, ["embedding", "readout"]])
@pytest.mark.parametrize("n_hidden_layers", [1, 2, 3])
def test_equals_that_of_autograd(task, batch, monkeypatch, n_hidden_layers, terms, tile, sign):
    monkeypatch.setattr(gradients, "TILE", tile)
    member = make_member(n_hidden_layers)
    parts = parts_by_autograd(member, task.dense_input(batch, torch.float64), batch.label.long())
    if terms == ["hidden"] and n_hidden_layers == 1:
        expected = torch.zeros(len(batch.bits), len(batch.bits), dtype=torch.float64)
    else:
        expected = gram_of([part for term in terms for part in parts[term]], sign)
        assert expected.abs().max() > 1e-3
    found = compute_gram(member, batch, terms=terms, sign=sign)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    assert torch.equal(found, found.T)


def test_of_one_hidden_unit(task, batch):
    member = make_member(width=1)
    parts = parts_by_autograd(member, task.dense_input(batch, torch.float64), batch.label.long())
    expected = gram_of([part for one in parts.values() for part in one])
    torch.testing.assert_close(compute_gram(member, batch, terms=TERMS), expected, rtol=1e-10, atol=1e-10)


def test_leaves_the_code_out_unless_asked(batch):
    member = make_member(2)
    without = compute_gram(member, batch)
    code = compute_gram(member, batch, terms=["embedding"])
    torch.testing.assert_close(without + code, compute_gram(member, batch, terms=TERMS))
    same = batch.subtask[:, None] == batch.subtask
    assert (code[~same] == 0).all()


def test_sign_free_is_signed_times_the_signs_of_labels(batch):
    member = make_member()
    sign = 1 - 2 * batch.label.double()
    signed = compute_gram(member, batch, terms=TERMS)
    torch.testing.assert_close(
        compute_gram(member, batch, terms=TERMS, sign="free"), signed * torch.outer(sign, sign)
    )
    deeper = make_member(2, width=40)
    free, signed = (compute_gram(deeper, batch, terms=["bits"], sign=each) for each in ("free", "signed"))
    gap = free - signed * torch.outer(sign, sign)
    assert gap.abs().max() > 0.01 * free.max()  # where errors are sums of several


@pytest.mark.parametrize("sign", ["signed", "free"])
@pytest.mark.parametrize("n_hidden_layers", [1, 2])
class TestUnit:
    def test_are_cosines(self, batch, n_hidden_layers, sign):
        member = make_member(n_hidden_layers)
        gram = compute_gram(member, batch, terms=TERMS, sign=sign)
        norm = gram.diagonal().sqrt()
        expected = gram / torch.outer(norm, norm)
        torch.testing.assert_close(compute_gram(member, batch, terms=TERMS, sign=sign, unit=True), expected)

    def test_also_where_the_loss_is_next_to_nothing(self, task, batch, n_hidden_layers, sign):
        exact = make_member(n_hidden_layers)
        rounded = copy.deepcopy(exact).float()
        label = exact(task.dense_input(batch, torch.float64)).argmax(dim=1)
        sure = Batch(batch.subtask, batch.bits, label.to(torch.uint8))
        for member in (exact, rounded):  # margins of some 10^4, at which float32 has losses of 0
            with torch.no_grad():
                member[-1].weight.mul_(3e5)
                member[-1].bias.mul_(3e5)
        assert (compute_gram(rounded, sure) == 0).any()
        torch.testing.assert_close(
            compute_gram(rounded, sure, sign=sign, unit=True).double(),
            compute_gram(exact, sure, sign=sign, unit=True),
            rtol=0,
            atol=1e-5,
        )


def test_a_gradient_of_zero_has_no_direction(batch):
    member = make_member()
    with torch.no_grad():
        member[0].bias.fill_(-100)  # no hidden unit is on
    assert (compute_gram(member, batch, terms=["bits"], unit=True) == 0).all()


def test_errors_keep_their_digits_where_the_loss_is_small(batch):
    # 1 - sigmoid(margin) would be 0 for the label 1 from a margin of 17 on.
    member = make_member(dtype=torch.float32)
    with torch.no_grad():
        member[-1].weight.zero_()
        member[-1].bias.copy_(torch.tensor([-15.0, 15.0]))
    ones = Batch(batch.subtask, batch.bits, torch.ones_like(batch.label))
    expected = 2 * torch.tensor(-30.0).double().sigmoid() ** 2
    found = compute_gram(member, ones, terms=["readout"]).double()
    activations = compute_hidden(member, ones).double()
    torch.testing.assert_close(found, expected * (activations @ activations.T + 1), rtol=1e-5, atol=0)


@pytest.mark.parametrize("n_hidden_layers", [1, 2])
def test_hidden_activations_are_those_of_the_member(task, batch, n_hidden_layers):
    member = make_member(n_hidden_layers)
    expected = member[:-1](task.dense_input(batch, torch.float64))
    torch.testing.assert_close(compute_hidden(member, batch), expected.detach())


def test_makes_every_tensor_where_the_samples_are(batch):
    member = make_member()
    expected = compute_gram(member, batch)
    torch.set_default_device("meta")
    try:
        assert torch.equal(compute_gram(member, batch), expected)
    finally:
        torch.set_default_device(None)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("n_hidden_layers", [1, 2])
def test_on_a_gpu(batch, n_hidden_layers):
    member = make_member(n_hidden_layers)
    expected = compute_gram(member, batch, terms=TERMS)
    on_gpu = compute_gram(member.cuda(), Batch(*(x.cuda() for x in batch)), terms=TERMS)
    torch.testing.assert_close(on_gpu.cpu(), expected)


@pytest.mark.parametrize(("size", "n_rows"), [(7, 23), (512, 23), (10, 20)])
def test_says_how_far_it_is(task, monkeypatch, size, n_rows):
    monkeypatch.setattr(gradients, "TILE", size)
    told = []
    compute_gram(make_member(), task.sample(n_rows, torch.Generator().manual_seed(0)), advance=told.append)
    assert sum(told) == n_rows**2


class TestOfAnyModule:
    @pytest.mark.parametrize("held", [2**28, 1000, 1])
    @pytest.mark.parametrize("sign", ["signed", "free"])
    def test_equals_that_of_an_mlp(self, task, batch, monkeypatch, sign, held):
        monkeypatch.setattr(gradients, "_GRADIENT_BYTES", held)
        member, told = make_member(2), []
        inputs = task.dense_input(batch, torch.float64)
        for unit in (False, True):
            found = compute_gram_of_module(
                member, inputs, batch.label.long(), sign=sign, unit=unit, advance=told.append
            )
            expected = compute_gram(member, batch, terms=TERMS, sign=sign, unit=unit)
            torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
        assert sum(told) == 2 * len(inputs) ** 2

    def test_equals_that_of_autograd_for_a_network_of_another_kind(self):
        torch.manual_seed(0)
        layers = nn.Conv1d(1, 3, 3), nn.BatchNorm1d(3), nn.Tanh(), nn.Flatten(), nn.LazyLinear(4)
        module = nn.Sequential(*layers).double()
        inputs, target = torch.randn(6, 1, 8).double(), torch.tensor([0, 1, 2, 3, 0, 1])
        module(inputs)
        module.eval()
        rows = gradients_by_autograd(module, inputs, target)
        found = compute_gram_of_module(module, inputs, target)
        torch.testing.assert_close(found, gram_of(list(rows.values())), rtol=1e-10, atol=1e-10)
        found = compute_gram_of_module(module, inputs, target, parameters=["0.weight", "4.bias"])
        expected = gram_of([rows["0.weight"], rows["4.bias"]])
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)

    def test_with_another_loss_and_a_frozen_layer(self):
        torch.manual_seed(0)
        module = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1)).double()
        module[0].requires_grad_(False)
        inputs, target = torch.randn(5, 3).double(), torch.randn(5, 1).double()
        hidden = module[0](inputs)
        error = 2 * (module(inputs) - target).detach()
        found = compute_gram_of_module(module, inputs, target, loss=functional.mse_loss)
        torch.testing.assert_close(found, (error @ error.T) * (hidden @ hidden.T + 1).detach())

    def test_changes_nothing_of_it(self, task, batch):
        member = make_member()
        before = {name: x.clone() for name, x in member.state_dict().items()}
        compute_gram_of_module(member, task.dense_input(batch, torch.float64), batch.label.long())
        assert all(torch.equal(x, before[name]) for name, x in member.state_dict().items())
        assert all(parameter.grad is None for parameter in member.parameters())


class TestRefuses:
    def test_samples_of_another_task(self, batch):
        other = MultitaskSparseParity(TaskSpec(n_subtasks=K + 3, n_bits=N_BITS), 0)
        foreign = other.sample_stratified(1, torch.Generator().manual_seed(0))
        with pytest.raises(GradientError, match=r"^batch must fit the 14 inputs of the member.*below 5"):
            compute_gram(make_member(), foreign)
        many = Batch(batch.subtask, torch.zeros(len(batch.bits), 30, dtype=torch.uint8), batch.label)
        with pytest.raises(GradientError, match=r"of which 30 are bits: subtasks must be below 0"):
            compute_gram(make_member(), many)

    @pytest.mark.parametrize(
        "layers",
        [
            [nn.Linear(14, 2)],
            [nn.Linear(14, 3), nn.Tanh(), nn.Linear(3, 2)],
            [nn.Linear(14, 3), nn.ReLU(), nn.Linear(3, 3)],
            [nn.Linear(14, 3), nn.ReLU(), nn.Linear(3, 2, bias=False)],
            [nn.Linear(14, 3), nn.ReLU(), nn.Linear(3, 2), nn.ReLU()],
            [],
        ],
    )
    def test_networks_of_another_kind(self, batch, layers):
        with pytest.raises(GradientError, match=r"^member must be Linear, ReLU.*compute_gram_of_module"):
            compute_gram(nn.Sequential(*layers), batch)

    def test_terms_and_signs_that_there_are_not(self, task, batch):
        with pytest.raises(ValueError, match=r"terms must be some of readout.*not \['code'\]"):
            compute_gram(make_member(), batch, terms=["code"])
        with pytest.raises(ValueError, match="terms must be some of"):
            compute_gram(make_member(), batch, terms=[])
        with pytest.raises(ValueError, match="sign must be signed or free, not 'none'"):
            compute_gram(make_member(), batch, sign="none")
        with pytest.raises(ValueError, match="sign must be signed or free, not 'none'"):
            compute_gram_of_module(make_member(), batch.bits, batch.label, sign="none")

    def test_targets_and_parameters_that_do_not_fit(self, task, batch):
        inputs, label = task.dense_input(batch, torch.float64), batch.label.long()
        with pytest.raises(GradientError, match="target must be 23 as inputs are, not 22"):
            compute_gram_of_module(make_member(), inputs, label[1:])
        with pytest.raises(GradientError, match=r"parameters must be some of 0\.weight, .*, not nothing"):
            compute_gram_of_module(make_member(), inputs, label, parameters=["nothing"])
        with pytest.raises(GradientError, match=r"not none"):
            compute_gram_of_module(make_member(), inputs, label, parameters=[])
