import math

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from quanta.study.spec import StudySpec
from quanta.tasks.seeds import derive_seed
from quanta.training import population as population_module
from quanta.training import trainer as training_module
from quanta.training.capture import CapturedSteps
from quanta.training.population import Population, count_parameters
from quanta.training.trainer import DivergedError, Trainer, train_unit

STUDY = {
    "name": "small",
    "alpha": 0.5,
    "task": {"n_subtasks": 5, "n_bits": 64, "k": 2},
    "population": {"widths": [3, 8]},
    "training": {"steps": 12, "batch_size": 16},
    "evaluation": {"samples_per_subtask": 8, "n_evaluations": 5},
}


def make_unit(**values):
    """A unit of STUDY; a dictionary changes some of a section."""
    changed = {key: STUDY[key] | value if isinstance(value, dict) else value for key, value in values.items()}
    [unit] = StudySpec.parse(STUDY | changed).units()
    return unit


def stream(unit, name):
    return torch.Generator().manual_seed(derive_seed(unit.seed, name))


class TestOracle:
    """Every member follows the path it would follow alone, as a plain network with a plain optimiser."""

    def train_alone(self, unit, networks, task):
        settings = {"lr": unit.training.learning_rate, "weight_decay": unit.training.weight_decay}
        optimizers = [torch.optim.AdamW(network.parameters(), **settings) for network in networks]
        for network in networks:
            network[0].requires_grad_(not unit.training.freeze_first_layer)
        data = stream(unit, "data")
        for _ in range(unit.training.steps):
            batch = task.sample(unit.training.batch_size, data)
            dense = task.dense_input(batch, torch.float64)
            for network, optimizer in zip(networks, optimizers, strict=True):
                optimizer.zero_grad()
                nn.CrossEntropyLoss()(network(dense), batch.label.long()).backward()
                optimizer.step()

    def check(self, unit, on_path):
        trainer = Trainer(unit)
        population = on_path(trainer.population)
        alone = [population.member(width) for width in population.widths]
        initial = [population.member(width) for width in population.widths]
        self.train_alone(unit, alone, trainer.task)
        for _ in range(unit.training.steps):
            trainer.step()
        for width, expected, start in zip(population.widths, alone, initial, strict=True):
            moved = 0.0
            for name, value in population.member(width).named_parameters():
                before = start.get_parameter(name)
                torch.testing.assert_close(value, expected.get_parameter(name), rtol=0, atol=1e-9)
                moved = max(moved, float((value - before).detach().abs().max()))
                if unit.training.freeze_first_layer and name in ("0.weight", "0.bias"):
                    assert torch.equal(value, before)
            # Adam moves a weight by at most about the learning rate a step: there was a path to follow.
            assert moved > 5 * unit.training.learning_rate

    @pytest.mark.parametrize("freeze_first_layer", [False, True])
    @pytest.mark.parametrize("weight_decay", [0.0, 0.5])
    @pytest.mark.parametrize("n_hidden_layers", [1, 2])
    def test_with_ragged_slices_and_blocks(
        self, on_path, n_hidden_layers, weight_decay, freeze_first_layer, monkeypatch
    ):
        monkeypatch.setattr(population_module, "SLICE_ROWS", 16)
        monkeypatch.setattr(population_module, "BLOCK_COLUMNS", 10)
        self.check(
            make_unit(
                task={"n_bits": 9},
                population={"widths": [3, 5, 24], "n_hidden_layers": n_hidden_layers},
                training={
                    "steps": 50,
                    "batch_size": 50,
                    "learning_rate": 1e-2,
                    "weight_decay": weight_decay,
                    "precision": "float64",
                    "freeze_first_layer": freeze_first_layer,
                },
            ),
            on_path,
        )

    def test_at_the_sizes_in_use(self, on_path):
        assert population_module.SLICE_ROWS < 1100
        assert population_module.BLOCK_COLUMNS < 600
        self.check(
            make_unit(
                task={"n_bits": 9},
                population={"widths": [7, 40, 600]},
                training={"steps": 50, "batch_size": 1100, "weight_decay": 0.01, "precision": "float64"},
            ),
            on_path,
        )


class OnMeta(TorchDispatchMode):
    """Refuses every tensor that is made elsewhere; single numbers, such as Adam's count of steps, may be."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else (result,):
            if isinstance(tensor, torch.Tensor) and tensor.ndim > 0:
                assert tensor.device.type == "meta", (
                    f"{function} made {tuple(tensor.shape)} on {tensor.device}"
                )
        return result


class TestMetaDevice:
    """Nothing is made on another device than the one asked for, and no value is needed on the host.

    A tensor there has no values, so that what could not be captured in a CUDA graph fails.
    """

    @pytest.mark.parametrize("freeze_first_layer", [False, True])
    @pytest.mark.parametrize("n_hidden_layers", [1, 2])
    @pytest.mark.parametrize(
        ("n_train", "sampling"), [("online", "replacement"), (10, "replacement"), (25, "epochs")]
    )
    def test_every_tensor_is_there(self, n_hidden_layers, n_train, sampling, freeze_first_layer):
        unit = make_unit(
            n_train=n_train,
            population={"n_hidden_layers": n_hidden_layers},
            training={"freeze_first_layer": freeze_first_layer, "sampling": sampling},
        )
        trainer = Trainer(unit, torch.device("meta"))
        with OnMeta():
            for _ in range(3):  # to the second epoch
                trainer.advance(1)
            results = trainer.evaluate()
            trainer.batches.count_examples(trainer.samples_seen)
        parameters = list(trainer.population.parameters())
        tensors = [*parameters, *trainer.population.buffers(), trainer.samples_seen, *results.values()]
        tensors += [parameter.grad for parameter in parameters]
        assert {tensor.device.type for tensor in tensors} == {"meta"}
        names = ["loss", "accuracy", "brier"]
        names += ["selection_loss", "reported_loss"] if n_train != "online" else []
        shapes = {name: tuple(values.shape) for name, values in results.items()}
        assert shapes == dict.fromkeys(names, (2, 5))

    def test_a_tensor_elsewhere_would_be_noticed(self):
        with pytest.raises(AssertionError, match="on cpu"), OnMeta():
            torch.zeros(3)

    def test_a_value_on_the_host_would_be_noticed(self):
        trainer = Trainer(make_unit(), torch.device("meta"))
        trainer.optimizer.step = lambda: trainer.samples_seen.sum().item()
        with pytest.raises(RuntimeError, match=r"item.* meta"):
            trainer.step()


class TestAdvance:
    def test_takes_one_step_at_a_time_on_a_cpu(self):
        one, other = Trainer(make_unit()), Trainer(make_unit())
        assert [one.advance(100), one.advance(1)] == [1, 1]
        assert one.n_steps == 2
        other.step()
        other.step()
        assert torch.equal(one.samples_seen, other.samples_seen)
        assert torch.equal(one.population.weight, other.population.weight)

    def test_takes_steps_together_on_cuda_where_they_fit(self, monkeypatch):
        captured, replayed, eager = [], [], []

        class Recorded:
            def __init__(self, step, generator, n_steps):
                self.n_steps = n_steps
                captured.append(n_steps)

            def replay(self):
                replayed.append(self.n_steps)

        monkeypatch.setattr(training_module, "CapturedSteps", Recorded)
        trainer = Trainer(make_unit())
        trainer.device = torch.device("cuda")
        monkeypatch.setattr(trainer, "step", lambda: eager.append(1))
        taken = []
        while trainer.n_steps < 50:
            taken.append(trainer.advance(50 - trainer.n_steps))
        assert taken == [1, 20, 20, *[1] * 9]  # the first alone, so that all state is there
        assert eager == [1]
        assert replayed == taken[1:]
        assert captured == [20, 1]  # each once


class TestStreams:
    @pytest.mark.parametrize("n_train", ["online", 10])
    def test_the_same_unit_twice_is_the_same_to_the_bit(self, n_train):
        one, other = (train_unit(make_unit(seed=3, n_train=n_train)) for _ in range(2))
        xr.testing.assert_identical(one.curves, other.curves)
        for a, b in zip(one.population.parameters(), other.population.parameters(), strict=True):
            assert torch.equal(a, b)

    @pytest.mark.parametrize("n_train", ["online", 10])
    def test_another_seed_changes_everything(self, n_train):
        one, other = (make_unit(seed=seed, n_train=n_train) for seed in (0, 1))
        a, b = Trainer(one), Trainer(other)
        assert not np.array_equal(a.task.subsets, b.task.subsets)
        assert not any(map(torch.equal, a.population.parameters(), b.population.parameters()))
        assert not torch.equal(recorded_batches(a)[0], recorded_batches(b)[0])
        # The same population is measured differently on another test set.
        b.population.load_state_dict(a.population.state_dict())
        b.task = a.task
        assert not torch.equal(a.evaluate()["loss"], b.evaluate()["loss"])

    def test_alpha_changes_the_subtasks_drawn_alone(self):
        one, other = Trainer(make_unit(alpha=0.2)), Trainer(make_unit(alpha=2))
        np.testing.assert_array_equal(one.task.subsets, other.task.subsets)
        assert all(map(torch.equal, one.population.parameters(), other.population.parameters()))
        assert torch.equal(one.evaluate()["loss"], other.evaluate()["loss"])
        subtask, bits = recorded_batches(one)
        other_subtask, other_bits = recorded_batches(other)
        assert torch.equal(bits, other_bits)
        assert (
            subtask >= other_subtask
        ).all()  # the steeper law draws more frequent ones from the same numbers
        assert not torch.equal(subtask, other_subtask)

    def test_size_of_the_training_set_changes_the_batches_alone(self):
        one, other = Trainer(make_unit(n_train="online")), Trainer(make_unit(n_train=10))
        np.testing.assert_array_equal(one.task.subsets, other.task.subsets)
        assert torch.equal(one.evaluate()["loss"], other.evaluate()["loss"])
        assert not torch.equal(recorded_batches(one)[1], recorded_batches(other)[1])


def recorded_batches(trainer, n_steps=5):
    """Subtasks and bits of all the samples that the population is trained on in some steps."""
    batches = []
    take = trainer.batches.take

    def record():
        subtask, packed = take()
        batches.append((subtask.clone(), trainer.task.unpack(subtask, packed).bits.clone()))
        return subtask, packed

    trainer.batches.take = record
    for _ in range(n_steps):
        trainer.advance(1)
    return tuple(torch.cat(parts) for parts in zip(*batches, strict=True))


class TestTrainingData:
    def test_a_finite_set_is_all_there_ever_is(self):
        trainer = Trainer(make_unit(n_train=10))
        subtask, bits = recorded_batches(trainer, n_steps=12)
        # 192 draws out of 10 miss one with probability below 10 · 0.9^192 < 2e-8.
        assert torch.cat([subtask[:, None], bits], dim=1).unique(dim=0).shape[0] == 10

    def test_online_samples_are_all_new(self):
        _, bits = recorded_batches(Trainer(make_unit()), n_steps=12)
        assert bits.unique(dim=0).shape[0] == 12 * 16  # two of 192 samples share 64 bits once in 1e15

    @pytest.mark.parametrize("n_train", ["online", 10])
    def test_samples_seen_counts_them(self, n_train):
        trainer = Trainer(make_unit(n_train=n_train))
        subtask, _ = recorded_batches(trainer, n_steps=7)
        assert torch.equal(trainer.samples_seen, subtask.bincount(minlength=5))
        seen = train_unit(make_unit(n_train=n_train)).curves["samples_seen"].squeeze()
        assert seen.sum("subtask").values.tolist() == [16 * step for step in seen["step"].values]
        assert (seen.diff("step") >= 0).all()


class TestEvaluate:
    @pytest.fixture
    def trainer(self):
        return Trainer(make_unit(evaluation={"samples_per_subtask": 100}))

    def labels(self, trainer):
        batch = trainer.task.sample_stratified(100, stream(trainer.unit, "evaluation"))
        return batch, batch.label.reshape(5, 100).double().mean(1)

    def answer(self, trainer, margin):
        """Let all members answer with a margin that may depend on the label."""
        n_members = len(trainer.population.widths)
        trainer.population.predict = lambda subtask, bits: margin(
            trainer.task.label(subtask, bits).float()[:, None].expand(-1, n_members)
        )
        return trainer.evaluate()

    def test_a_network_of_zeros_knows_nothing(self, trainer):
        with torch.no_grad():
            for parameter in trainer.population.parameters():
                parameter.zero_()
        results = trainer.evaluate()
        assert (results["loss"] == 1).all()
        assert (results["brier"] == 0.25).all()
        # The margin 0 counts as an answer of 0.
        _, ones = self.labels(trainer)
        torch.testing.assert_close(results["accuracy"][0], 1 - ones.float(), rtol=1e-6, atol=0)

    def test_a_network_that_knows(self, trainer):
        results = self.answer(trainer, lambda label: (2 * label - 1) * 200)
        assert (results["loss"] == 0).all()
        assert (results["brier"] == 0).all()
        assert (results["accuracy"] == 1).all()

    def test_a_network_that_is_always_wrong(self, trainer):
        results = self.answer(trainer, lambda label: (1 - 2 * label) * 200)
        torch.testing.assert_close(results["loss"], torch.full((2, 5), 200 / math.log(2)))
        assert (results["brier"] == 1).all()
        assert (results["accuracy"] == 0).all()

    def test_a_network_with_one_answer(self, trainer):
        # Probability 3/4 of label 1, whatever the input.
        results = self.answer(trainer, lambda label: torch.full_like(label, math.log(3)))
        _, ones = self.labels(trainer)
        expected = {
            "loss": -ones * math.log2(3 / 4) - (1 - ones) * math.log2(1 / 4),
            "accuracy": ones,
            "brier": ones / 16 + (1 - ones) * 9 / 16,
        }
        for name, values in expected.items():
            # float32, and means of 100 terms
            torch.testing.assert_close(results[name], values.float().expand(2, 5), rtol=2e-5, atol=0)

    @pytest.mark.parametrize("margin", [1, 8, 15, 30, 80])
    def test_small_losses_keep_their_digits(self, trainer, margin):
        # In float32 softplus(m) - m would be lost at m = 15, where the loss is 4e-7 bit.
        results = self.answer(trainer, lambda label: (2 * label - 1) * margin)
        expected = torch.full((2, 5), math.log1p(math.exp(-margin)) / math.log(2))
        torch.testing.assert_close(results["loss"], expected, rtol=2e-5, atol=0)

    def test_against_members_on_the_dense_input(self, trainer):
        batch, _ = self.labels(trainer)
        dense = trainer.task.dense_input(batch, torch.float64)
        results = trainer.evaluate()
        for index, width in enumerate(trainer.population.widths):
            logits = trainer.population.member(width).double()(dense).detach()
            label = batch.label.long()
            loss = nn.functional.cross_entropy(logits, label, reduction="none") / math.log(2)
            right = (logits.argmax(1) == label).double()
            squared = (logits.softmax(1)[:, 1] - label).square()
            for name, per_sample in (("loss", loss), ("accuracy", right), ("brier", squared)):
                expected = per_sample.reshape(5, 100).mean(1).float()
                torch.testing.assert_close(results[name][index], expected, rtol=2e-5, atol=0)


class TestTrainUnit:
    def test_curves_have_what_was_asked_for(self):
        unit = make_unit(seed=7, n_train=50, alpha="uniform")
        n_calls = 0

        def count(n_steps):
            nonlocal n_calls
            n_calls += n_steps

        trained = train_unit(unit, on_progress=count)
        curves = trained.curves
        assert n_calls == 12
        assert dict(curves.sizes) == {
            "alpha": 1,
            "n_train": 1,
            "seed": 1,
            "width": 2,
            "step": unit.evaluation_steps.size,
            "subtask": 5,
        }
        assert (curves["alpha"].item(), curves["n_train"].item(), curves["seed"].item()) == (-1, 50, 7)
        assert curves["step"].values.tolist() == unit.evaluation_steps.tolist()
        assert curves["width"].values.tolist() == [3, 8]
        assert curves["n_parameters"].values.tolist() == [count_parameters(width, 5, 64) for width in (3, 8)]
        np.testing.assert_array_equal(curves["frequency"].values[0], unit.task_spec.frequencies)
        assert {"loss", "accuracy", "brier", "mean_loss", "samples_seen"} <= set(curves.data_vars)

    def test_curves_begin_and_end_where_the_population_does(self):
        unit = make_unit()
        trained = train_unit(unit)
        trainer = Trainer(unit)
        for place in (0, -1):
            for name, values in trainer.evaluate().items():
                measured = trained.curves[name].squeeze(("alpha", "n_train", "seed")).isel(step=place)
                np.testing.assert_array_equal(measured.values, values.numpy())
            trainer.population.load_state_dict(trained.population.state_dict())

    @pytest.mark.parametrize("precision", ["float32", "float64"])
    def test_precision(self, precision):
        population = train_unit(make_unit(training={"precision": precision})).population
        assert {parameter.dtype for parameter in population.parameters()} == {getattr(torch, precision)}

    def test_divergence_names_step_and_widths(self):
        unit = make_unit(training={"learning_rate": 1e30})
        with pytest.raises(DivergedError, match=r"^the loss is not finite at step 1 for widths 3, 8$"):
            train_unit(unit)

    def test_divergence_names_only_the_widths_that_did(self, monkeypatch):
        predict = Population.predict
        monkeypatch.setattr(
            Population, "predict", lambda self, *batch: predict(self, *batch) * torch.tensor([1, math.nan])
        )
        with pytest.raises(DivergedError, match=r"^the loss is not finite at step 0 for widths 8$"):
            train_unit(make_unit())

    @pytest.mark.parametrize("seed", [0, 1])
    def test_quanta_are_learned_one_by_one_the_most_frequent_first(self, seed):
        unit = make_unit(
            seed=seed,
            alpha=1,
            task={"n_subtasks": 4, "n_bits": 8},
            population={"widths": [2, 32]},
            training={"steps": 1500, "batch_size": 200, "learning_rate": 1e-2},
            evaluation={"samples_per_subtask": 64, "n_evaluations": 60},
        )
        loss = train_unit(unit).curves["loss"].squeeze()
        wide, narrow = loss.sel(width=32), loss.sel(width=2)
        assert (wide.isel(step=0) > 0.9).all()
        assert (wide.isel(step=-1) < 0.01).all()
        first = wide["step"].values[(wide < 0.1).argmax("step")]
        assert (np.diff(first) > 0).all()
        # Two hidden units have no room for four parities of two bits.
        assert int((narrow.isel(step=-1) < 0.1).sum()) < 4


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
class TestCuda:
    @pytest.mark.parametrize("n_hidden_layers", [1, 2])
    def test_agrees_with_the_cpu(self, n_hidden_layers):
        """The same state and the same batches give the same weights, whatever computes them."""
        unit = make_unit(
            population={"widths": [3, 8, 600], "n_hidden_layers": n_hidden_layers},
            training={"batch_size": 1100, "precision": "float64"},
        )
        cpu, gpu = self.make_twins(unit)
        data = stream(unit, "data")
        for _ in range(20):
            batch = cpu.task.sample(unit.training.batch_size, data)
            cpu.population.compute_gradients(*batch)
            gpu.population.compute_gradients(*(tensor.cuda() for tensor in batch))
            cpu.optimizer.step()
            gpu.optimizer.step()
        for a, b in zip(cpu.population.parameters(), gpu.population.parameters(), strict=True):
            torch.testing.assert_close(b.cpu(), a, rtol=0, atol=1e-9)
        batch = cpu.task.sample(100, stream(unit, "evaluation"))
        margin = gpu.population.predict(batch.subtask.cuda(), batch.bits.cuda()).cpu()
        torch.testing.assert_close(
            margin, cpu.population.predict(batch.subtask, batch.bits), rtol=0, atol=1e-7
        )

    @pytest.mark.parametrize("n_hidden_layers", [1, 2])
    @pytest.mark.parametrize("precision", ["float32", "float64"])
    @pytest.mark.parametrize("widths", [[1], [500], [1, 2]])
    @pytest.mark.parametrize(
        ("task", "batch_size"),
        [
            ({"n_subtasks": 1, "n_bits": 1, "k": 1}, 1),
            ({"n_subtasks": 1, "n_bits": 8, "k": 2}, 300),
            ({"n_subtasks": 4, "n_bits": 8, "k": 2}, 1),
            ({"n_subtasks": 4, "n_bits": 8, "k": 2}, 300),
        ],
    )
    def test_sizes_of_one(self, n_hidden_layers, precision, widths, task, batch_size):
        """Libraries of CUDA refuse some matrices of a single row or column."""
        population = {"widths": widths, "n_hidden_layers": n_hidden_layers}
        training = {"batch_size": batch_size, "precision": precision}
        unit = make_unit(task=task, population=population, training=training)
        cpu, gpu = self.make_twins(unit)
        batch = cpu.task.sample(batch_size, stream(unit, "data"))
        on_gpu = [tensor.cuda() for tensor in batch]
        cpu.population.compute_gradients(*batch)
        gpu.population.compute_gradients(*on_gpu)
        near = {"rtol": 1e-4, "atol": 1e-6} if precision == "float32" else {"rtol": 1e-9, "atol": 1e-12}
        for a, b in zip(cpu.population.parameters(), gpu.population.parameters(), strict=True):
            torch.testing.assert_close(b.grad.cpu(), a.grad, **near)
        margin = gpu.population.predict(*on_gpu[:2]).cpu()
        torch.testing.assert_close(margin, cpu.population.predict(*batch[:2]), **near)
        gpu.advance(1)
        gpu.advance(20)

    @staticmethod
    def make_twins(unit):
        """Trainers on both devices, with the weights of the CPU's."""
        cpu, gpu = Trainer(unit, "cpu"), Trainer(unit, "cuda")
        np.testing.assert_array_equal(cpu.task.subsets, gpu.task.subsets)
        gpu.population.load_state_dict(cpu.population.state_dict())
        return cpu, gpu

    @pytest.mark.parametrize("n_hidden_layers", [1, 2])
    @pytest.mark.parametrize(
        ("n_train", "sampling"),
        # The last has epochs of 27 batches and a smaller one.
        [("online", "replacement"), (500, "replacement"), (30_000, "epochs")],
    )
    def test_graph_equals_eager_bit_for_bit(self, n_hidden_layers, n_train, sampling):
        unit = make_unit(
            n_train=n_train,
            population={"widths": [3, 8, 600], "n_hidden_layers": n_hidden_layers},
            training={"batch_size": 1100, "sampling": sampling},
        )
        captured, eager = Trainer(unit, "cuda"), Trainer(unit, "cuda")
        taken = []
        while captured.n_steps < 50:
            taken.append(captured.advance(50 - captured.n_steps))
        for n_steps in range(50):
            eager.batches.begin(n_steps)
            eager.step()
        assert max(taken) == 20
        assert torch.equal(captured.samples_seen, eager.samples_seen)
        for a, b in zip(captured.population.parameters(), eager.population.parameters(), strict=True):
            assert torch.equal(a, b)
        assert torch.equal(captured._data.get_state(), eager._data.get_state())

    def test_replays_draw_different_batches(self):
        trainer = Trainer(make_unit(), "cuda")
        trainer.step()
        graph = CapturedSteps(trainer.step, trainer._data, 20)
        seen = [trainer.samples_seen.clone()]
        for _ in range(3):
            graph.replay()
            seen.append(trainer.samples_seen.clone())
        drawn = torch.stack(seen).diff(dim=0)
        assert (drawn.sum(1) == 20 * 16).all()
        assert len(drawn.unique(dim=0)) == 3

    def test_the_same_seed_gives_the_same_curves(self):
        unit = make_unit(training={"steps": 100})
        xr.testing.assert_identical(train_unit(unit, "cuda").curves, train_unit(unit, "cuda").curves)

    @pytest.mark.parametrize("precision", ["tf32", "bf16"])
    def test_rounding_changes_little(self, precision):
        losses = {
            name: train_unit(make_unit(training={"steps": 100, "precision": name}), "cuda").curves["loss"]
            for name in ("float32", precision)
        }
        assert not losses["float32"].equals(losses[precision])
        # Factors of at most order 1 are off by 2^-9 (bf16) at most, over 100 steps of one path.
        np.testing.assert_allclose(losses[precision], losses["float32"], rtol=0, atol=0.1)

    @pytest.mark.parametrize("sampling", ["replacement", "epochs"])
    def test_a_smaller_training_set_is_the_beginning_of_a_larger_one(self, sampling):
        units = [make_unit(n_train=n, training={"sampling": sampling}) for n in (100, 40_000)]
        smaller, larger = (Trainer(unit, "cuda").batches.training_set for unit in units)
        assert torch.equal(smaller.subtask, larger.subtask[:100])
        assert torch.equal(smaller.packed, larger.packed[:100])

    @pytest.mark.parametrize("n_steps", [1, 24, 25, 40])
    def test_goes_on_within_an_epoch(self, n_steps):
        """Epochs of 23 batches and a smaller one; state is taken between them and within."""
        unit = make_unit(n_train=373, training={"steps": 60, "sampling": "epochs"})

        kept = {}

        class Keeper:
            def restore(self, trainer):
                if kept:
                    trainer.restore(kept)
                return bool(kept)

            def save_if_due(self, trainer):
                if trainer.n_steps >= n_steps and not kept:
                    kept.update({name: x.detach().cpu().clone() for name, x in trainer.state().items()})

            def save(self, trainer):
                raise AssertionError("nobody asked to stop")

        whole = train_unit(unit, "cuda", keeper=Keeper())
        assert 0 < int(kept["n_steps"]) < 60
        assert train_unit(unit, "cuda", keeper=Keeper()) == whole

    @pytest.mark.parametrize("sampling", ["replacement", "epochs"])
    def test_trains_and_measures_there(self, sampling):
        trained = train_unit(make_unit(n_train=50, training={"sampling": sampling}), "cuda")
        assert {parameter.device.type for parameter in trained.population.parameters()} == {"cuda"}
        assert np.isfinite(trained.curves["loss"]).all()
