import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from quanta.study.spec import StudySpec
from quanta.tasks.seeds import derive_epoch_seed, derive_seed
from quanta.training import batches as module
from quanta.training.trainer import Trainer, train_unit
from tests.quanta.training.test_training import make_unit, recorded_batches


def make_epochs(n_train, **training):
    return make_unit(n_train=n_train, training={"sampling": "epochs", **training})


def examples_of(trainer):
    """The training set, subtask and bits in a row, shape (D, 1 + n)."""
    training_set = trainer.batches.training_set
    bits = trainer.task.unpack(training_set.subtask, training_set.packed).bits
    return torch.cat([training_set.subtask[:, None], bits], dim=1)


def places(trainer, n_steps):
    """Which examples the batches of some steps are, batch by batch; all examples differ in their 64 bits."""
    examples = {tuple(row): place for place, row in enumerate(examples_of(trainer).tolist())}
    assert len(examples) == len(trainer.batches.training_set)
    found, take = [], trainer.batches.take

    def record():
        subtask, packed = take()
        bits = trainer.task.unpack(subtask, packed).bits
        found.append([examples[tuple(row)] for row in torch.cat([subtask[:, None], bits], dim=1).tolist()])
        return subtask, packed

    trainer.batches.take = record
    while trainer.n_steps < n_steps:
        trainer.advance(n_steps - trainer.n_steps)
    return found


def flat(batches):
    return list(itertools.chain.from_iterable(batches))


class TestTrainingSet:
    @pytest.mark.parametrize("sampling", ["replacement", "epochs"])
    def test_a_smaller_one_is_the_beginning_of_a_larger_one(self, sampling):
        most = module.EXAMPLES_AT_A_TIME
        sizes = (1, 7, 100, most - 1, most, most + 1, 2 * most + 5)
        largest = examples_of(Trainer(make_unit(n_train=sizes[-1], training={"sampling": sampling})))
        assert len(largest) == sizes[-1]
        for size in sizes:
            trainer = Trainer(make_unit(n_train=size, training={"sampling": sampling}))
            assert torch.equal(examples_of(trainer), largest[:size])

    def test_another_seed_has_another(self):
        one, other = (examples_of(Trainer(make_unit(n_train=100, seed=seed))) for seed in (0, 1))
        assert not torch.equal(one, other)

    def test_is_drawn_from_a_stream_of_its_own(self):
        """Whatever is done with it: how it is sampled, by which batches, for how long."""
        units = [
            make_unit(n_train=100),
            make_unit(n_train=100, training={"sampling": "epochs", "batch_size": 7, "steps": 30}),
        ]
        one, other = (Trainer(unit) for unit in units)
        for _ in range(3):
            other.advance(1)
        assert torch.equal(examples_of(one), examples_of(other))
        seeds = {derive_seed(0, stream) for stream in ("task", "data", "init", "evaluation", "examples")}
        assert len(seeds | {derive_epoch_seed(0, epoch) for epoch in range(100)}) == 105

    def test_is_of_the_task(self):
        """Subtasks come by their frequency, and bits are fair: both within five standard errors."""
        trainer = Trainer(make_unit(n_train=50_000))
        examples = examples_of(trainer)
        share = torch.bincount(examples[:, 0].long(), minlength=5).double() / 50_000
        p = torch.from_numpy(trainer.task.frequencies)
        assert ((share - p).abs() < 5 * (p * (1 - p) / 50_000).sqrt()).all()
        assert ((examples[:, 1:].double().mean(0) - 0.5).abs() < 5 * 0.5 / 50_000**0.5).all()


class TestEpochs:
    @pytest.mark.parametrize(
        ("n_train", "sizes"),
        [(40, [16, 16, 8]), (33, [16, 16, 1]), (32, [16, 16]), (16, [16]), (10, [10]), (1, [1])],
    )
    def test_each_has_every_example_once_and_a_smaller_last_batch(self, n_train, sizes):
        n_epochs = 5
        found = places(Trainer(make_epochs(n_train, steps=100)), n_epochs * len(sizes))
        assert [len(batch) for batch in found] == n_epochs * sizes
        for epoch in range(n_epochs):
            batches = found[epoch * len(sizes) : (epoch + 1) * len(sizes)]
            assert sorted(flat(batches)) == list(range(n_train))

    def test_each_has_an_order_of_its_own(self):
        found = places(Trainer(make_epochs(40, steps=300)), 300)
        orders = {tuple(flat(found[first : first + 3])) for first in range(0, 300, 3)}
        assert len(orders) == 100
        again, other = (
            tuple(flat(places(Trainer(make_unit(n_train=40, seed=seed, training={"sampling": "epochs"})), 3)))
            for seed in (0, 1)
        )
        assert again in orders
        assert other not in orders

    def test_orders_are_fair(self):
        """Where example 0 comes, over 600 epochs of 6: chi-squared of 5 degrees, 99.9 % below 20.5."""
        found = places(Trainer(make_epochs(6, steps=600)), 600)
        count = np.bincount([batch.index(0) for batch in found], minlength=6)
        assert ((count - 100) ** 2 / 100).sum() < 20.5

    def test_online_is_the_same_either_way(self):
        one, other = (
            recorded_batches(Trainer(make_unit(training={"sampling": sampling})))
            for sampling in ("replacement", "epochs")
        )
        assert all(map(torch.equal, one, other))

    def test_the_default_leaves_ids_as_they_were(self):
        assert make_unit(n_train=40).id == make_unit(n_train=40, training={"sampling": "replacement"}).id
        assert make_unit(n_train=40).id == "alpha=0.5_n_train=40_seed=0_69daec679bf6"
        assert make_unit(n_train=40).id != make_epochs(40).id


class TestCounts:
    @pytest.mark.parametrize(
        ("n_train", "sampling"),
        [(40, "replacement"), (5, "replacement"), (40, "epochs"), (10, "epochs"), (500, "epochs")],
    )
    def test_are_of_what_was_taken(self, n_train, sampling):
        unit = make_unit(n_train=n_train, training={"sampling": sampling})
        curves = train_unit(unit).curves.squeeze()
        trainer = Trainer(unit)
        subtask = trainer.batches.training_set.subtask.numpy()
        found = places(trainer, unit.training.steps)
        for step in unit.evaluation_steps:
            taken = np.array(flat(found[:step]), dtype=int)
            samples = np.bincount(subtask[taken], minlength=5)
            examples = np.bincount(subtask[np.unique(taken)], minlength=5)
            np.testing.assert_array_equal(curves["samples_seen"].sel(step=step), samples)
            np.testing.assert_array_equal(curves["examples_seen"].sel(step=step), examples)
        assert (curves["examples_seen"] <= curves["samples_seen"]).all()

    def test_online_has_samples_alone(self):
        assert not {"examples_seen", "selection_loss", "reported_loss"} & set(
            train_unit(make_unit()).curves.variables
        )


class TestHalves:
    @pytest.mark.parametrize("n_samples", [1, 7, 8])
    def test_make_the_loss_together(self, n_samples):
        unit = make_unit(n_train=40, evaluation={"samples_per_subtask": n_samples})
        curves = train_unit(unit).curves
        if n_samples == 1:
            assert not {"selection_loss", "reported_loss"} & set(curves.variables)
            return
        first, second = -(-n_samples // 2), n_samples // 2
        mean = (first * curves["selection_loss"] + second * curves["reported_loss"]) / n_samples
        np.testing.assert_allclose(mean, curves["loss"], rtol=1e-5)
        assert not np.allclose(curves["selection_loss"], curves["reported_loss"], rtol=1e-3)

    def test_a_half_is_the_loss_on_its_samples(self):
        unit = make_unit(n_train=40)
        trainer, halved = Trainer(unit), Trainer(make_unit(evaluation={"samples_per_subtask": 4}))
        halved.population.load_state_dict(trainer.population.state_dict())
        halved._test_set = trainer._test_set.reshape(5, 8, -1)[:, :4].reshape(20, -1).contiguous()
        torch.testing.assert_close(trainer.evaluate()["selection_loss"], halved.evaluate()["loss"])


class TestPatience:
    def falling_until(self, monkeypatch, lowest):
        """Let the loss of width 3 fall until an evaluation, and that of width 8 until the one before."""
        evaluate = Trainer.evaluate

        def measured(self):
            n = len(self.evaluations)
            losses = [1 - 0.01 * min(n, last) + 0.001 * max(0, n - last) for last in (lowest, lowest - 1)]
            loss = torch.tensor(losses)[:, None].expand(2, 5)
            return {name: loss if "loss" in name else x for name, x in evaluate(self).items()}

        monkeypatch.setattr(Trainer, "evaluate", measured)

    @pytest.mark.parametrize("n_train", ["online", 40])
    @pytest.mark.parametrize("patience", [1, 2, 4])
    def test_stops_after_so_many_evaluations(self, monkeypatch, n_train, patience):
        self.falling_until(monkeypatch, 3)
        values = {"n_train": n_train, "evaluation": {"n_evaluations": 12}}
        unit = make_unit(**values, training={"steps": 100, "patience": patience})
        n_calls = []
        stopped = train_unit(unit, on_progress=n_calls.append).curves
        whole = train_unit(make_unit(**values, training={"steps": 100})).curves
        assert sum(n_calls) == 100
        assert stopped["step"].equals(whole["step"])
        n_measured = 3 + patience + 1
        for name, values in whole.variables.items():
            if "step" in values.dims and name != "step":
                before = stopped[name].isel(step=slice(n_measured))
                assert before.equals(whole[name].isel(step=slice(n_measured))), name
                after = stopped[name].isel(step=slice(n_measured, None))
                assert after.size
                if values.dtype.kind == "f":
                    assert after.isnull().all()
                else:
                    assert (after == before.isel(step=-1)).all()

    def test_goes_on_while_one_network_does(self, monkeypatch):
        self.falling_until(monkeypatch, 5)
        unit = make_unit(n_train=40, training={"steps": 100, "patience": 1}, evaluation={"n_evaluations": 12})
        curves = train_unit(unit).curves
        assert int(curves["loss"].notnull().all(("width", "subtask")).sum()) == 5 + 1 + 1

    def test_none_goes_to_the_end(self, monkeypatch):
        self.falling_until(monkeypatch, 1)
        assert train_unit(make_unit(n_train=40)).curves["loss"].notnull().all()


class TestOracle:
    """A member trained alone, as a plain network, on the same examples in the same order, float64."""

    def order_of_epochs(self, trainer, n_steps):
        """The batches as the words of the study file say, made with numpy alone but for the permutation."""
        unit, training_set = trainer.unit, trainer.batches.training_set
        n_train = unit.n_train
        size = min(n_train, unit.training.batch_size)
        batches = []
        for epoch in range(n_steps):
            generator = torch.Generator().manual_seed(derive_epoch_seed(unit.seed, epoch))
            order = torch.randperm(n_train, generator=generator).numpy()
            batches += [order[first : first + size] for first in range(0, n_train, size)]
        return [
            trainer.task.unpack(training_set.subtask[chosen], training_set.packed[chosen])
            for chosen in batches[:n_steps]
        ]

    def order_of_draws(self, trainer, n_steps):
        unit, training_set = trainer.unit, trainer.batches.training_set
        generator = torch.Generator().manual_seed(derive_seed(unit.seed, "data"))
        drawn = [
            torch.randint(unit.n_train, (unit.training.batch_size,), generator=generator)
            for _ in range(n_steps)
        ]
        return [
            trainer.task.unpack(training_set.subtask[chosen], training_set.packed[chosen]) for chosen in drawn
        ]

    @pytest.mark.parametrize("n_hidden_layers", [1, 2])
    @pytest.mark.parametrize(
        ("n_train", "sampling"),
        [(120, "epochs"), (101, "epochs"), (100, "epochs"), (20, "epochs"), (120, "replacement")],
    )
    def test_equals_the_ladder(self, on_path, n_train, sampling, n_hidden_layers):
        """Epochs of 50 + 50 + 20, of 50 + 50 + 1, of full batches and of one smaller than asked for."""
        unit = make_unit(
            n_train=n_train,
            task={"n_bits": 9},
            population={"widths": [3, 5, 24], "n_hidden_layers": n_hidden_layers},
            training={
                "steps": 50,
                "batch_size": 50,
                "learning_rate": 1e-2,
                "weight_decay": 0.1,
                "precision": "float64",
                "sampling": sampling,
            },
        )
        trainer = Trainer(unit)
        population = on_path(trainer.population)
        order = self.order_of_epochs if sampling == "epochs" else self.order_of_draws
        batches = order(trainer, 50)
        alone = [population.member(width) for width in population.widths]
        initial = [population.member(width) for width in population.widths]
        for network in alone:
            optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2, weight_decay=0.1)
            for batch in batches:
                optimizer.zero_grad()
                logits = network(trainer.task.dense_input(batch, torch.float64))
                nn.CrossEntropyLoss()(logits, batch.label.long()).backward()
                optimizer.step()
        while trainer.n_steps < 50:
            trainer.advance(50 - trainer.n_steps)
        assert int(trainer.samples_seen.sum()) == sum(len(batch.label) for batch in batches)
        for width, expected, start in zip(population.widths, alone, initial, strict=True):
            moved = 0.0
            for name, value in population.member(width).named_parameters():
                torch.testing.assert_close(value, expected.get_parameter(name), rtol=0, atol=1e-9)
                moved = max(moved, float((value - start.get_parameter(name)).detach().abs().max()))
            assert moved > 5 * unit.training.learning_rate


MEMORY = """
import resource, sys
from quanta.study.spec import StudySpec
from quanta.training.trainer import Trainer
n_train, sampling = sys.argv[1:]
[unit] = StudySpec.parse({
    "name": "large",
    "n_train": n_train if n_train == "online" else int(n_train),
    "task": {"n_subtasks": 500, "n_bits": 100, "k": 3},
    "population": {"widths": [100]},
    "training": {"steps": 1000, "sampling": sampling},
    "evaluation": {"n_evaluations": 5},
}).units()
trainer = Trainer(unit)
trainer.record()
for _ in range(3):
    trainer.advance(1)
trainer.batches.begin(250)  # the second epoch
trainer.record()
trainer.state()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


@pytest.mark.slow
@pytest.mark.parametrize("sampling", ["replacement", "epochs"])
def test_five_million_examples_take_less_than_a_gibibyte(sampling, monkeypatch):
    """More than online, at the 100 bits of the paper."""
    monkeypatch.chdir(Path(__file__).parents[3])
    peaks = []
    for n_train in ("online", "5000000"):
        command = [sys.executable, "-c", MEMORY, n_train, sampling]
        peaks.append(int(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    assert 100 * 2**20 < peaks[1] - peaks[0] < 2**30  # what is held is more than 100 MiB


class TestSpec:
    @pytest.mark.parametrize(
        ("training", "message"),
        [({"sampling": "epoch"}, "training.sampling"), ({"patience": 0}, "training.patience")],
    )
    def test_others_are_refused(self, training, message):
        with pytest.raises(ValueError, match=message):
            make_unit(training=training)

    def test_both_may_be_given_in_a_study(self):
        study = StudySpec.parse(
            {
                "name": "small",
                "population": {"widths": [3]},
                "training": {"steps": 4, "sampling": "epochs", "patience": 3},
                "n_train": [10, "online"],
            }
        )
        assert [unit.training.patience for unit in study.units()] == [3, 3]
