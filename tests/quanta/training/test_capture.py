"""What training on CUDA has to keep to, as far as it can be tried without one."""

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from quanta.training import gather
from quanta.training import population as population_module
from quanta.training import trainer as training_module
from quanta.training.trainer import Trainer
from tests.quanta.training.recording import HOST_READS, RecordedSteps, Recorder, tensors_in
from tests.quanta.training.test_training import make_unit


@pytest.fixture
def as_on_cuda(monkeypatch):
    """Make a trainer on the CPU that computes as on CUDA: whole batches in torch, steps in a graph."""
    monkeypatch.setattr(training_module, "CapturedSteps", RecordedSteps)
    monkeypatch.setattr(population_module, "_slice_rows", lambda n_rows, device: n_rows)
    monkeypatch.setattr(population_module.Population, "_load_kernel", lambda self: None)
    monkeypatch.setattr(gather, "add_rows_", gather.add_rows_by_product_)

    def make(unit):
        trainer = Trainer(unit)
        trainer.task._count_below._guide = None  # it is of a CPU alone
        advance = trainer.advance

        def with_graphs(most):
            trainer.device = torch.device("cuda")
            try:
                return advance(most)
            finally:
                trainer.device = torch.device("cpu")

        monkeypatch.setattr(trainer, "advance", with_graphs)
        return trainer

    return make


def state_of(trainer):
    state = trainer.state()
    return {name: tensor for name, tensor in state.items() if name not in ("seconds", "n_steps")}


class TestReplay:
    """A captured schedule of 1 + 20 + 20 + 1 + 20 steps is 62 single ones, to the bit."""

    @pytest.mark.parametrize("freeze_first_layer", [False, True])
    @pytest.mark.parametrize("n_hidden_layers", [1, 2])
    @pytest.mark.parametrize("n_train", ["online", 40])
    def test_equals_single_steps_with_evaluations_between(
        self, as_on_cuda, n_train, n_hidden_layers, freeze_first_layer
    ):
        unit = make_unit(
            n_train=n_train,
            population={"n_hidden_layers": n_hidden_layers},
            training={"steps": 62, "weight_decay": 0.01, "freeze_first_layer": freeze_first_layer},
        )
        captured, single = as_on_cuda(unit), as_on_cuda(unit)
        for most in (1, 20, 20, 1, 20):
            assert captured.advance(most) == most
            captured.record()
            for _ in range(most):
                single.step()
            single.n_steps += most
            single.record()
            found, expected = state_of(captured), state_of(single)
            assert found.keys() == expected.keys()
            for name, tensor in expected.items():
                assert torch.equal(found[name], tensor), f"{name} after {captured.n_steps} steps"
        assert captured.n_steps == 62

    @pytest.mark.parametrize("n_hidden_layers", [1, 2])
    @pytest.mark.parametrize("n_train", [10, 40, 48, 373])
    def test_equals_single_steps_through_epochs(self, as_on_cuda, n_train, n_hidden_layers, monkeypatch):
        """Of 1 batch, of 3 with the last one smaller, of 3 full ones, and of 24 with the last one smaller."""
        unit = make_unit(
            n_train=n_train,
            population={"n_hidden_layers": n_hidden_layers},
            training={"steps": 62, "weight_decay": 0.01, "sampling": "epochs"},
        )
        captured, single = as_on_cuda(unit), as_on_cuda(unit)
        replayed, eager = [], []
        replay, step = RecordedSteps.replay, captured.step
        monkeypatch.setattr(
            RecordedSteps, "replay", lambda self: (replayed.append(self.n_steps), replay(self))
        )
        monkeypatch.setattr(captured, "step", lambda: (eager.append(captured.n_steps), step()))
        while captured.n_steps < 62:
            before = captured.n_steps
            taken = captured.advance(62 - before)
            captured.record()
            for _ in range(taken):
                Trainer.advance(single, 1)  # on the CPU
            single.record()
            found, expected = state_of(captured), state_of(single)
            assert found.keys() == expected.keys()
            for name, tensor in expected.items():
                assert torch.equal(found[name], tensor), f"{name} after {captured.n_steps} steps"
        assert sum(replayed) > 0
        assert max(replayed) == (20 if n_train == 373 else 1)
        # Besides the first step and the captures, none of which is counted, the smaller batches alone.
        per_epoch = -(-n_train // 16)
        n_smaller = 62 // per_epoch if n_train % 16 and n_train > 16 else 0
        assert sum(replayed) == 62 - 1 - n_smaller
        assert len(eager) == 1 + n_smaller + sum({*replayed})
        assert torch.equal(captured.batches._order, single.batches._order)

    def test_a_capture_runs_nothing(self, as_on_cuda):
        trainer = as_on_cuda(make_unit())
        trainer.step()
        before = {name: tensor.clone() for name, tensor in state_of(trainer).items()}
        RecordedSteps(trainer.step, trainer._data, 3)
        for name, tensor in state_of(trainer).items():
            assert torch.equal(tensor, before[name]), name


class TestMistakes:
    """Steps that a graph would replay wrongly do not equal single ones here either."""

    def replays_right(self, trainer, single):
        trainer.advance(1), single.step()
        for _ in range(2):
            trainer.advance(20)
            for _ in range(20):
                single.step()
        found, expected = state_of(trainer), state_of(single)
        return all(torch.equal(found[name], tensor) for name, tensor in expected.items())

    def test_none(self, as_on_cuda):
        assert self.replays_right(*(as_on_cuda(make_unit()) for _ in range(2)))

    def test_a_learning_rate_on_the_host_that_changes(self, as_on_cuda):
        trainers = [as_on_cuda(make_unit()) for _ in range(2)]
        for trainer in trainers:
            step = trainer.step

            def warmed_up(trainer=trainer, step=step):
                trainer.optimizer.learning_rate *= 0.9
                step()

            trainer.step = warmed_up
        assert not self.replays_right(*trainers)

    def test_a_count_of_steps_on_the_host(self, as_on_cuda, monkeypatch):
        trainers = [as_on_cuda(make_unit()) for _ in range(2)]
        for trainer in trainers:
            trainer.count = 0
            step = trainer.step

            def decaying(trainer=trainer, step=step):
                step()
                trainer.count += 1
                with torch.no_grad():
                    trainer.population.weight.mul_(1 - 1 / (10 + trainer.count))

            trainer.step = decaying
        assert not self.replays_right(*trainers)

    def test_bounds_of_a_slice_on_the_host(self, as_on_cuda):
        trainers = [as_on_cuda(make_unit(n_train=1000)) for _ in range(2)]
        for trainer in trainers:
            trainer.first = 0

            def in_turn(trainer=trainer):
                subtask, packed = trainer.batches.training_set.subtask, trainer.batches.training_set.packed
                rows = slice(trainer.first, trainer.first + 16)
                trainer.first += 16
                return subtask[rows], packed[rows]

            trainer.batches.take = in_turn
        assert not self.replays_right(*trainers)

    def test_a_place_in_the_epoch_on_the_host(self, as_on_cuda):
        unit = make_unit(n_train=1000, training={"sampling": "epochs"})
        trainers = [as_on_cuda(unit) for _ in range(2)]
        for trainer in trainers:
            trainer.first = 0

            def in_turn(trainer=trainer):
                rows = trainer.batches._order[trainer.first : trainer.first + 16]
                trainer.first += 16
                return trainer.batches.training_set.rows(rows)

            trainer.batches.begin(0)
            trainer.batches.take = in_turn
        assert not self.replays_right(*trainers)

    def test_random_numbers_of_the_host(self, as_on_cuda):
        trainers = [as_on_cuda(make_unit(n_train=40)) for _ in range(2)]
        for trainer in trainers:
            numbers = torch.Generator().manual_seed(0)

            def drawn(trainer=trainer, numbers=numbers):
                subtask, packed = trainer.batches.training_set.subtask, trainer.batches.training_set.packed
                rows = torch.tensor([int(torch.randint(40, (), generator=numbers)) for _ in range(16)])
                return subtask[rows], packed[rows]

            trainer.batches.take = drawn
        with pytest.raises(RuntimeError, match="_local_scalar_dense waits for the device"):
            self.replays_right(*trainers)

    def test_an_optimiser_that_reads_its_count_on_the_host(self, as_on_cuda):
        trainers = [as_on_cuda(make_unit()) for _ in range(2)]
        for trainer in trainers:
            trainer.optimizer = torch.optim.AdamW(trainer.population.parameters(), foreach=False)
        with pytest.raises(RuntimeError, match="waits for the device"):
            self.replays_right(*trainers)

    def test_a_gradient_in_new_memory(self, as_on_cuda):
        """Set to None and made anew outside of the graph, it is no longer what the graph writes to."""
        trainers = [as_on_cuda(make_unit()) for _ in range(2)]
        trainer, single = trainers
        trainer.advance(1), single.step()
        trainer.advance(20)
        for parameter in trainer.population.parameters():
            parameter.grad = torch.zeros_like(parameter)
        trainer.advance(20)
        for _ in range(40):
            single.step()
        # The graph still moves the parameters rightly, since it holds the memory it was made with.
        assert torch.equal(trainer.population.weight, single.population.weight)
        assert not trainer.population.weight.grad.any()

    def test_a_value_read_by_the_host(self, as_on_cuda):
        trainer = as_on_cuda(make_unit())
        step = trainer.step

        def checked():
            step()
            if not trainer.population.weight.isfinite().all():
                raise AssertionError("not finite")

        trainer.step = checked
        trainer.advance(1)
        with pytest.raises(RuntimeError, match="waits for the device"):
            trainer.advance(20)


def take(tensor, index):
    """As ``tensor[index]`` by operations that need no CUDA in this build of torch, unlike indexing itself."""
    places = list(index) if isinstance(index, tuple) else [index]
    dim = 0
    for place in places:
        if place is None:
            tensor, dim = tensor.unsqueeze(dim), dim + 1
        elif isinstance(place, slice):
            first, last, every = place.indices(tensor.shape[dim])
            assert every == 1
            tensor, dim = tensor.narrow(dim, first, max(last - first, 0)), dim + 1
        elif isinstance(place, torch.Tensor):
            tensor, dim = tensor.index_select(dim, place), dim + 1
        else:
            tensor = tensor.select(dim, place)
    return tensor


class OnFakeCuda(TorchDispatchMode):
    """Fails where a tensor is anywhere else, and where the host would wait for the device."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        results = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        assert name not in HOST_READS, f"{name} waits for the device"
        for tensor in tensors_in((args, kwargs, results)):
            assert tensor.device.type == "cuda", f"{name} has {tuple(tensor.shape)} on {tensor.device}"
        return results


def as_fake(data, dtype=None, device=None):
    """As `torch.as_tensor` of an array."""
    dtype = dtype or torch.from_numpy(np.empty(0, data.dtype)).dtype
    return torch.empty(data.shape, dtype=dtype, device=device)


def put(tensor, index, value):
    """As ``tensor[index] = value``."""
    take(tensor, index).zero_().add_(value)


to = torch.Tensor.to


def move(tensor, target):
    """As `Tensor.to` a type or a device."""
    if isinstance(target, torch.dtype):
        return to(tensor, target)
    return to(tensor, torch.empty(0, dtype=tensor.dtype, device=target))


@pytest.fixture
def fake_cuda(monkeypatch):
    """A function that makes a trainer on a CUDA device whose tensors have shapes and no values.

    A build of torch without CUDA has the operations for it, but neither its own indexing nor copies to it nor
    generators; autograd stops the process.
    """
    monkeypatch.setattr(torch, "as_tensor", as_fake)
    monkeypatch.setattr(torch.Tensor, "to", move)
    monkeypatch.setattr(torch.Tensor, "__getitem__", take)
    monkeypatch.setattr(torch.Tensor, "__setitem__", put)
    monkeypatch.setattr(torch.Tensor, "uniform_", lambda one, *bounds, generator: one)
    monkeypatch.setattr(Trainer, "_generator", lambda self, stream: None)
    with FakeTensorMode(), torch.no_grad():
        yield lambda unit: Trainer(unit, "cuda")


class TestFakeCuda:
    """Every branch for CUDA runs: nothing is made on the CPU, and the host waits for nothing."""

    @pytest.mark.parametrize("freeze_first_layer", [False, True])
    @pytest.mark.parametrize("precision", ["float32", "float64", "bf16", "tf32"])
    @pytest.mark.parametrize(
        ("n_train", "sampling"), [("online", "replacement"), (40, "replacement"), (25, "epochs")]
    )
    def test_everything_is_there(self, fake_cuda, n_train, sampling, precision, freeze_first_layer):
        unit = make_unit(
            n_train=n_train,
            training={
                "precision": precision,
                "freeze_first_layer": freeze_first_layer,
                "sampling": sampling,
            },
        )
        trainer = fake_cuda(unit)
        with OnFakeCuda():
            for n_steps in range(3):
                trainer.batches.begin(n_steps)
                trainer.step()
            results = trainer.evaluate()
            trainer.batches.count_examples(trainer.samples_seen)
        names = ["loss", "accuracy", "brier"]
        names += ["selection_loss", "reported_loss"] if n_train != "online" else []
        shapes = {name: tuple(values.shape) for name, values in results.items()}
        assert shapes == dict.fromkeys(names, (2, 5))
        assert {values.device.type for values in results.values()} == {"cuda"}

    def test_the_optimiser_is_there(self, fake_cuda):
        trainer = fake_cuda(make_unit())
        with OnFakeCuda():
            trainer.step()
        states = list(trainer.optimizer.state.values())
        assert len(states) == len(list(trainer.population.parameters()))
        assert {tensor.device.type for state in states for tensor in state.values()} == {"cuda"}

    def test_a_tensor_on_the_cpu_would_be_noticed(self, fake_cuda):
        trainer = fake_cuda(make_unit())
        trainer._one = torch.ones((), dtype=torch.int64, device="cpu")
        with pytest.raises(AssertionError, match="on cpu"), OnFakeCuda():
            trainer.step()

    def test_an_optimiser_that_cannot_be_captured_would_be_noticed(self, fake_cuda):
        trainer = fake_cuda(make_unit())
        trainer.optimizer = torch.optim.AdamW(trainer.population.parameters(), foreach=False)
        with pytest.raises(AssertionError, match=r"on cpu|waits"), OnFakeCuda():
            trainer.step()

    def test_a_copy_to_the_host_would_be_noticed(self, fake_cuda):
        trainer = fake_cuda(make_unit())
        with pytest.raises(AssertionError, match="on cpu"), OnFakeCuda():
            trainer.samples_seen.cpu()


def test_what_is_recorded_is_what_is_called():
    x = torch.ones(3)
    with Recorder() as recorder:
        x.add_(1)
        y = x * 2
    assert [call[0].overloadpacket.__name__ for call in recorder.calls] == ["add_", "mul"]
    assert recorder.calls[1][3][0] is y
