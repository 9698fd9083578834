import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from quanta.study.spec import StudySpec
from quanta.tasks.frequencies import zipf_frequencies
from quanta.training.gradients import TERMS, compute_gram
from quanta.training.probe import Probe
from quanta.training.trainer import Trainer, make_population


@pytest.fixture(scope="module")
def unit(tiny_study):
    return tiny_study.units()[1]


@pytest.fixture(scope="module")
def trainer(unit):
    """Of a unit after some steps."""
    trainer = Trainer(unit)
    while trainer.n_steps < 5:
        trainer.advance(5 - trainer.n_steps)
    return trainer


@pytest.fixture(scope="module")
def probe(trainer, unit):
    return Probe(trainer.population, unit, 4)


@pytest.fixture(scope="module")
def sample(probe):
    return probe.draw(50, zipf_frequencies(4, 0.4), 3)


def test_samples_are_of_the_task_that_was_trained_on(trainer, sample):
    batch = sample.batch
    assert torch.equal(trainer.task.label(batch.subtask, batch.bits), batch.label)
    assert np.array_equal(batch.subtask, sample.subtask)
    assert np.array_equal(batch.label, sample.label)


def test_frequencies_are_those_asked_for(probe):
    frequencies = np.array([0.5, 0.0, 0.4, 0.1])
    counts = np.bincount(probe.draw(4000, frequencies, 0).subtask, minlength=4)
    assert counts[1] == 0
    np.testing.assert_allclose(counts / 4000, frequencies, atol=0.03)


def test_a_seed_decides_the_samples(probe, sample):
    again, other = (probe.draw(50, zipf_frequencies(4, 0.4), seed) for seed in (3, 4))
    assert all(map(torch.equal, again.batch, sample.batch))
    assert not torch.equal(other.batch.bits, sample.batch.bits)


def test_loss_is_that_of_the_trained_member(trainer, probe, sample):
    margin = trainer.population.predict(sample.batch.subtask, sample.batch.bits)[:, 1].double()
    expected = functional.softplus(torch.where(sample.batch.label == 1, -margin, margin)).detach()
    np.testing.assert_allclose(sample.loss, expected, rtol=1e-5)
    assert sample.loss.mean() < 1.2 * math.log(2)


def test_some_of_the_samples(sample):
    some = sample.take(np.array([4, 0]))
    assert some.subtask.tolist() == [sample.subtask[4], sample.subtask[0]]
    assert torch.equal(some.batch.bits, sample.batch.bits[[4, 0]])
    assert (some.loss[0], some.label[1]) == (sample.loss[4], sample.label[0])


class TestCosines:
    @pytest.mark.parametrize("sign", ["signed", "free"])
    def test_of_gradients(self, trainer, unit, sample, probe, sign):
        member = trainer.population.member(4)
        for terms, one in ((TERMS, Probe(trainer.population, unit, 4, terms=TERMS)), (None, probe)):
            gram = compute_gram(
                member, sample.batch, sign=sign, **({} if terms is None else {"terms": terms})
            )
            norm = gram.diagonal().sqrt()
            found = one.cosines(sample, "gradients", sign)
            np.testing.assert_allclose(found, (gram / torch.outer(norm, norm)).numpy(), atol=1e-5)
            assert found.dtype == np.float32

    def test_at_step_0_are_of_the_weights_that_training_began_with(self, unit, sample, probe):
        began = Trainer(unit).population.member(4)
        expected = compute_gram(began, sample.batch, unit=True)
        np.testing.assert_allclose(probe.cosines(sample, "untrained"), expected.numpy(), atol=1e-6)
        assert not np.allclose(
            probe.cosines(sample, "untrained"), probe.cosines(sample, "gradients"), atol=0.01
        )

    @pytest.mark.parametrize("of", ["hidden", "input", "bits"])
    def test_of_activations_and_inputs(self, trainer, sample, probe, of):
        dense = trainer.task.dense_input(sample.batch)
        rows = {
            "hidden": trainer.population.member(4)[:2](dense).detach(),
            "input": dense,
            "bits": sample.batch.bits.float(),
        }[of].double()
        expected = functional.cosine_similarity(rows[:, None], rows, dim=2, eps=1e-12)
        np.testing.assert_allclose(probe.cosines(sample, of), expected.numpy(), atol=1e-6)

    def test_says_how_far_it_is(self, sample, probe):
        told = []
        probe.cosines(sample, "gradients", "signed", told.append)
        assert sum(told) == 50**2


def test_of_deeper_networks_in_double_precision(tiny_study):
    values = tiny_study.model_dump()
    values["population"]["n_hidden_layers"] = 2
    values["training"]["precision"] = "float64"
    unit = StudySpec.parse(values).units()[0]
    population = make_population(unit, generator=torch.Generator().manual_seed(0))
    probe = Probe(population, unit, 4)
    sample = probe.draw(9, zipf_frequencies(4, 0.4), 0)
    found = probe.cosines(sample, "gradients")
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.diagonal(), 1, atol=1e-6)


def test_a_width_that_is_not_there(trainer, unit):
    with pytest.raises(ValueError, match=r"width must be one of \(2, 4\), not 3"):
        Probe(trainer.population, unit, 3)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_gpu(trainer, unit):
    probe = Probe(trainer.population, unit, 4, "cuda")
    sample = probe.draw(50, zipf_frequencies(4, 0.4), 3)
    for of in ("gradients", "untrained", "hidden", "input", "bits"):
        assert probe.cosines(sample, of).shape == (50, 50)
