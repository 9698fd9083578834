import importlib
import json
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

from quanta.study.sections import PopulationSpec
from quanta.study.spec import UnitSpec
from quanta.tasks.seeds import derive_seed
from quanta.tasks.sparse_parity import Batch

ROOT = Path(__file__).parents[1]

# The benchmarks are not installed: they are run from the root of the repository, and so is this.
sys.path.insert(0, str(ROOT))
competitors = importlib.import_module("benchmarks.competitors")
gradients = importlib.import_module("benchmarks.gradients")
gpu = importlib.import_module("benchmarks.gpu")
measure = importlib.import_module("benchmarks.measure")
report = importlib.import_module("benchmarks.report")
sys.path.remove(str(ROOT))

DENSE = ["Published", "Careful", "Vmap"]


@pytest.fixture
def unit():
    return UnitSpec.parse(
        {
            "alpha": 0.4,
            "n_train": "online",
            "seed": 0,
            "task": {"n_subtasks": 5, "n_bits": 7, "k": 2},
            "population": {"widths": [3, 8]},
            "training": {"steps": 50, "batch_size": 64, "learning_rate": 1e-2, "precision": "float64"},
            "evaluation": {"samples_per_subtask": 30, "n_evaluations": 6},
        }
    )


def parameters_of(competitor):
    """The parameters of each network without padding."""
    if not isinstance(competitor, competitors.Vmap):
        return [[p.detach() for p in network.parameters()] for network in competitor.networks]
    found = []
    for index, width in enumerate(competitor.unit.population.widths):
        first, bias, last, offset = (p[index].detach() for p in competitor.parameters.values())
        found.append([first[:width], bias[:width], last[:, :width], offset])
    return found


@pytest.mark.parametrize("name", ["Ours", "Torch", *DENSE])
def test_evaluate_is_the_loss_of_each_member_on_each_subtask(unit, name):
    trainer = competitors.Ours(unit).trainer
    generator = torch.Generator().manual_seed(derive_seed(unit.seed, "evaluation"))
    subtask, bits, label = trainer.task.sample_stratified(30, generator)
    expected = np.empty((2, 5))
    for row, width in enumerate(unit.population.widths):
        network = trainer.population.member(width)
        for k in range(5):
            mine = Batch(*(tensor[subtask == k] for tensor in (subtask, bits, label)))
            chance = network(trainer.task.dense_input(mine, torch.float64)).softmax(1)
            expected[row, k] = -chance[torch.arange(30), mine.label.long()].log2().mean().item()
    found = getattr(competitors, name)(unit).evaluate()
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)  # ours and Published are float32


@pytest.mark.parametrize("name", DENSE)
def test_steps_are_those_of_plain_networks_on_the_same_batches(unit, name, monkeypatch):
    competitor = getattr(competitors, name)(unit)
    batches = []

    def draw(self):
        batches.append(tuple(tensor.clone() for tensor in original(self)))
        return batches[-1]

    original = type(competitor).draw
    monkeypatch.setattr(type(competitor), "draw", draw)
    start = competitors.Ours(unit).trainer.population
    for _ in range(4):
        competitor.step()

    # One network after another draws in turn; all at once share a batch.
    stride = 1 if name == "Vmap" else 2
    assert len(batches) == 4 * stride
    for index, width in enumerate(unit.population.widths):
        network = start.member(width)
        optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2, weight_decay=0)
        before = [p.detach().clone() for p in network.parameters()]
        for inputs, label in batches[index % stride :: stride]:
            optimizer.zero_grad()
            nn.CrossEntropyLoss()(network(inputs), label).backward()
            optimizer.step()
        for found, expected, old in zip(
            parameters_of(competitor)[index], network.parameters(), before, strict=True
        ):
            assert (expected - old).abs().max() > 1e-4  # they moved
            torch.testing.assert_close(found, expected.detach(), rtol=1e-9, atol=1e-10)


@pytest.mark.usefixtures("compiler")
def test_torch_is_ours_without_a_compiler(unit):
    ours, torch_ = competitors.Ours(unit), competitors.Torch(unit)
    assert (ours.trainer.population.is_compiled, torch_.trainer.population.is_compiled) == (True, False)
    for _ in range(4):
        ours.step()
        torch_.step()
    parameters = zip(
        ours.trainer.population.parameters(), torch_.trainer.population.parameters(), strict=True
    )
    for found, expected in parameters:
        torch.testing.assert_close(found.detach(), expected.detach(), rtol=1e-9, atol=1e-10)


def judge(compiled_for, **ratios):
    return report.judge_compiled(
        {"compiled_for": compiled_for, "ratios": {size: {"torch": ratio} for size, ratio in ratios.items()}}
    )


def test_judge_compiled_names_the_sizes_where_it_does_not_pay():
    assert judge("AVX2", ladder20=0.8, width500=2.0, demo=1.0).endswith(
        "NOT faster than our path without a compiler (torch) at ladder20 (1.25 times as long), "
        "demo (1.00 times as long)."
    )
    assert judge("AVX2", ladder20=2.1, demo=1.01).endswith(" at every size.")
    assert judge("none", ladder20=1.2).startswith("Nothing was compiled")


@pytest.mark.parametrize("rows", [16, 64])
def test_jax_takes_the_steps_of_plain_networks_and_draws_the_task(unit, rows):
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)
    peer = importlib.import_module("benchmarks.jax_population").Jax(unit)
    task, start = competitors.Ours(unit).trainer.task, competitors.Ours(unit).trainer.population
    batches = [peer.draw(key) for key in jax.random.split(jax.random.key(0, impl="rbg"), 4)]
    state = peer._state
    for batch in batches:
        state = peer.update(rows, state, batch)
    own = [Batch(*(torch.tensor(np.asarray(part)) for part in batch)) for batch in batches]
    for subtask, bits, label in own:
        assert torch.equal(task.label(subtask.long(), bits), label.to(torch.uint8))
    parameters = {name: torch.tensor(np.asarray(values)) for name, values in state[0].items()}
    left = 0
    for index, width in enumerate(unit.population.widths):
        network, columns = start.member(width), slice(left, left + width)
        left += width
        optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2, weight_decay=0)
        for batch in own:
            inputs = task.dense_input(Batch(batch.subtask.long(), batch.bits, batch.label), torch.float64)
            optimizer.zero_grad()
            nn.CrossEntropyLoss()(network(inputs), batch.label.long()).backward()
            optimizer.step()
        first = torch.cat([parameters["embedding"], parameters["weight"]])[:, columns].T
        found = (first, parameters["bias"][columns], parameters["readout_weight"][:, columns])
        found = (*found, parameters["readout_bias"][:, index])
        for one, expected in zip(found, network.parameters(), strict=True):
            torch.testing.assert_close(one, expected.detach(), rtol=1e-7, atol=1e-8)


def test_jax_draws_subtasks_by_their_frequencies_and_fair_bits(unit):
    jax = pytest.importorskip("jax")
    large = unit.model_copy(update={"training": unit.training.model_copy(update={"batch_size": 20_000})})
    peer = importlib.import_module("benchmarks.jax_population").Jax(large)
    subtask, bits, _ = (np.asarray(part) for part in peer.draw(jax.random.key(1, impl="rbg")))
    p = competitors.Ours(unit).trainer.task.frequencies
    counts = np.bincount(subtask, minlength=5)
    assert (np.abs(counts - 20_000 * p) < 5 * np.sqrt(20_000 * p * (1 - p))).all()
    assert (np.abs(bits.mean(0) - 0.5) < 5 * 0.5 / np.sqrt(20_000)).all()


def test_padding_of_vmap_stays_zero(unit):
    competitor = competitors.Vmap(unit)
    for _ in range(3):
        competitor.step()
    first, bias, last, _ = (p[0].detach() for p in competitor.parameters.values())
    assert first.shape == (8, 12)
    for tensor in (first[3:], bias[3:], last[:, 3:]):
        assert not tensor.any()


@pytest.mark.parametrize("name", DENSE)
def test_draw_makes_batches_of_the_task(unit, name):
    large = unit.model_copy(update={"training": unit.training.model_copy(update={"batch_size": 20_000})})
    competitor = getattr(competitors, name)(large)
    inputs, label = competitor.draw()
    code, bits = inputs[:, :5], inputs[:, 5:]
    assert set(inputs.unique().tolist()) == {0.0, 1.0}
    assert (code.sum(1) == 1).all()
    assert torch.equal(competitor.task.label(code.argmax(1), bits.byte()).long(), label)
    p = competitor.task.frequencies
    scatter = np.sqrt(p * (1 - p) / 20_000)
    assert (np.abs(code.mean(0).numpy() - p) < 5 * scatter).all()
    assert (np.abs(bits.mean(0).numpy() - 0.5) < 5 * np.sqrt(0.25 / 20_000)).all()


@pytest.mark.parametrize("rows", [7, 64, 1000])
def test_floor_computes_both_products(unit, rows):
    floor = competitors.Floor(unit)
    floor.rows = rows
    for _ in range(2):
        floor.step()
    expected = floor.bits.T @ (floor.bits @ floor.weight)
    torch.testing.assert_close(floor.d_weight, expected)


def test_floor_keeps_the_fastest_slice(unit):
    floor = competitors.Floor(unit)
    floor.search(lambda step: abs(floor.rows - 1000))
    assert floor.rows == 1024


class Fake(competitors.Competitor):
    """Takes known times on a clock of its own."""

    now = 0.0

    def __init__(self, seconds_of_step, seconds_of_evaluation):
        self.seconds = (seconds_of_step, seconds_of_evaluation)
        self.evaluations_per_step = 0.1
        self.n_evaluations = 0

    def settings(self):
        return nullcontext()

    def step(self):
        Fake.now += self.seconds[0]

    def evaluate(self):
        Fake.now += self.seconds[1]
        self.n_evaluations += 1


def test_time_alternately_adds_the_share_of_evaluation(monkeypatch):
    monkeypatch.setattr(measure, "perf_counter", lambda: Fake.now)
    slow, fast = Fake(2.0, 5.0), Fake(0.01, 0.5)
    times = measure.time_alternately({"slow": slow, "fast": fast}, measure.QUICK)
    np.testing.assert_allclose(times["slow"].total, [2.5, 2.5, 2.5])
    np.testing.assert_allclose(times["fast"].total, [0.06, 0.06, 0.06])
    assert slow.n_evaluations == 1
    assert fast.n_evaluations == 4


def test_summarise_scaling_finds_the_exponent():
    found = measure.summarise_scaling({x: np.array([0.1, 1.0, 9.0]) * x**1.5 for x in (1, 2, 4)})
    assert found["slope"] == pytest.approx(1.5)
    assert found["ms"] == pytest.approx([1000, 1000 * 2**1.5, 8000])


def test_make_units_are_the_sizes_of_the_paper():
    ladder, wide, _ = measure.make_units(measure.FULL).values()
    for unit, low, high, count in ((ladder, 10, 300, 20), (wide, 500, 500, 1)):
        assert (unit.task.n_subtasks, unit.task.n_bits, unit.training.batch_size) == (500, 100, 20_000)
        widths = unit.population.widths
        assert (widths[0], widths[-1], len(widths)) == (low, high, count)


def test_make_scaling_changes_one_size_at_a_time(unit):
    ladder = unit.model_copy(update={"population": PopulationSpec(widths=(3, 6, 12, 24))})
    for axis, variants in measure.make_scaling(ladder, (0.5, 1, 2)).items():
        assert len(variants) == 3
        for x, variant in variants.items():
            values = {
                "sum_of_widths": sum(variant.population.widths),
                "batch_size": variant.training.batch_size,
                "n_subtasks": variant.task.n_subtasks,
                "n_bits": variant.task.n_bits,
            }
            assert values.pop(axis) == x
            for other, value in values.items():
                assert value == {"sum_of_widths": 45, "batch_size": 64, "n_subtasks": 5, "n_bits": 7}[other]


def check(result):
    assert result["schema"] == 1
    for size, times in result["times_ms"].items():
        assert set(times) == {"ours", "torch", "published", "careful", "vmap", "floor"}
        for name, time in times.items():
            assert 0 < time["min"] <= time["median"] <= time["max"]
            if name != "ours":
                low, high = result["ratio_ranges"][size][name]
                assert 0 < low <= result["ratios"][size][name] <= high
    assert set(result["ratios"]) == {"ladder20", "width500", "demo"}
    assert set(result["scaling"]) == {"sum_of_widths", "batch_size", "n_subtasks", "n_bits"}
    assert 0 < result["shares"]["sampling"] < 1
    assert 0 < result["shares"]["evaluation"] < 1


def test_measure_and_report(unit, monkeypatch, tmp_path):
    effort = measure.Effort(
        repeats=2, seconds=0.001, n_widths=4, batch_size=64, samples_per_subtask=30, factors=(0.5, 1, 2)
    )
    ladder = measure.make_units(effort)["ladder20"]
    tiny = ladder.model_copy(update={"task": unit.task})
    monkeypatch.setattr(
        measure, "make_units", lambda _: dict.fromkeys(("ladder20", "width500", "demo"), tiny)
    )
    monkeypatch.setattr(measure, "measure_memory", lambda _: {"steps": 3 * 2**20, "ratio": 1.5})
    said = []
    result = measure.measure(effort, said.append)
    check(json.loads(json.dumps(result)))
    assert next(line for line in said if "JAX" not in line) == "timing ladder20"
    assert result["compiled_for"] == competitors.Ours(tiny).trainer.population.compiled_for
    text = report.make_markdown(result)
    assert report.judge_compiled(result) in text
    assert f"| ours ({result['compiled_for']}) |" in text
    assert f"| floor | {result['times_ms']['demo']['floor']['median']:.1f} |" in text
    assert "| steps | 3.0 MiB |" in text
    assert "| ratio | 1.50 |" in text
    report.save_plot(result, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.slow
def test_quick_run_prints_one_object():
    command = [sys.executable, "-m", "benchmarks", "--quick", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    result = json.loads(done.stdout)
    check(result)
    assert result["quick"]
    assert result["memory"]["parameters_and_optimiser"] == 12 * sum(
        603 * width + 2 for width in result["sizes"]["ladder20"]["widths"]
    )


def test_a_device_agrees_with_itself(tiny_study):
    study = tiny_study.model_copy(update={"seed": (0, 1, 2)})
    lines = list(gpu.compare_devices(study, "cpu"))
    assert lines[0].startswith("3 units of `tiny` on cpu: ")
    rows = [line.strip("| ").split(" | ") for line in lines[5:]]
    assert [int(row[0]) for row in rows] == list(study.population.widths)
    assert all(row[1] == row[2] and row[3:] == ["+0.000", "+0.0"] for row in rows)


def test_every_way_is_timed_alone(unit):
    effort = replace(measure.QUICK, seconds=0.001, repeats=1)
    found = gpu.time_ways(unit, "float32", gpu.WAYS, "cpu", effort)
    assert found.keys() >= {"ours", "launched", "published", "careful", "vmap", "floor"}
    assert all(0 < ms < 1e4 for ms, _ in found.values())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_gpu_there_is_no_report(tmp_path):
    result = CliRunner().invoke(gpu.main, [str(tmp_path / "report.md")])
    assert (result.exit_code, list(tmp_path.iterdir())) == (1, [])
    assert "torch finds no CUDA device here" in result.output


class TestGradients:
    def test_measures_what_it_says(self):
        found = gradients.measure_gram(60, 8, 2)
        assert found["min"] <= found["ratio"] <= found["max"]
        assert 0 < found["peak"] < 64
        assert gradients.measure_clustering(60, 4) > 0

    def test_prints_all_of_it(self):
        options = ["--samples", "200", "--width", "8", "--rounds", "1", "--threads", "1"]
        result = CliRunner().invoke(gradients.main, options)
        assert result.exit_code == 0, result.output
        for said in ("ratio", "peak", "clustering of 40 samples in 16"):
            assert said in result.output
