import math
from types import SimpleNamespace

import pytest
import torch

from quanta.store.run_directory import RunDirectory
from quanta.sweep.units import run_sweep
from quanta.tasks.config import ConfigError
from quanta.training.device import (
    EVALUATION_ROWS,
    check_device,
    default_threads,
    own_products,
    own_threads,
    resolve_device,
)
from quanta.training.kernel import working_memory
from quanta.training.trainer import Trainer


def changed(study, **training):
    """The first unit of a study that trains otherwise."""
    study = study.model_copy(update={"training": study.training.model_copy(update=training)})
    return study.units()[0]


class TestResolveDevice:
    @pytest.mark.parametrize("available", [True, False])
    def test_auto_takes_cuda_where_there_is_one(self, available, monkeypatch):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
        assert resolve_device("auto").type == ("cuda" if available else "cpu")
        assert resolve_device("cpu").type == "cpu"

    def test_cuda_where_there_is_none(self, monkeypatch):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        with pytest.raises(ConfigError, match="device: must be auto or cpu here"):
            resolve_device("cuda")


class TestMemory:
    def test_more_than_the_machine_has_is_refused(self, tiny_study, monkeypatch):
        unit = changed(tiny_study)
        needed = sum(unit.memory_needed.values()) + gradients(unit, 1)
        monkeypatch.setattr("quanta.training.device.memory_size", lambda: needed)
        Trainer(unit)
        monkeypatch.setattr("quanta.training.device.memory_size", lambda: needed - 1)
        with pytest.raises(
            ConfigError, match=r"^a unit must need at most .* \(all there is here\), not .* for [a-z ]+ \("
        ):
            Trainer(unit)
        check_device(unit, torch.device("cuda"))  # torch itself says when that is full

    @pytest.mark.usefixtures("compiler")
    def test_every_thread_counts(self, tiny_study, monkeypatch):
        unit = changed(tiny_study)
        cpu = torch.device("cpu")
        needed = sum(unit.memory_needed.values()) + gradients(unit, 7)
        assert gradients(unit, 7) > gradients(unit, 6) > 0
        monkeypatch.setattr("quanta.training.device.memory_size", lambda: needed)
        check_device(unit, cpu, 7)
        with pytest.raises(ConfigError, match=r"a unit must need at most"):
            check_device(unit, cpu, 8)
        with pytest.raises(ConfigError, match=r"for gradients \(threads x population.widths x"):
            check_device(unit, cpu, 4096)
        torch.set_num_threads(8)
        try:
            with pytest.raises(ConfigError, match=r"a unit must need at most"):
                check_device(unit, cpu)
        finally:
            torch.set_num_threads(1)

    def test_units_that_are_trained_at_once_are_summed(self, tiny_study, monkeypatch):
        large, small = changed(tiny_study), tiny_study.units()[1]
        small = small.model_copy(update={"training": small.training.model_copy(update={"batch_size": 1})})
        needed = [sum(unit.memory_needed.values()) + gradients(unit, 1) for unit in (large, small)]
        assert needed[1] < needed[0]
        total = needed[0] + 2 * needed[1]
        monkeypatch.setattr("quanta.training.device.shared_memory", lambda: (total, "here"))
        check_device(large, torch.device("cpu"), 1, [small, small])
        with pytest.raises(
            ConfigError,
            match=r"^4 units that are trained at once must need at most .* not .*, most of it for ",
        ):
            check_device(large, torch.device("cpu"), 1, [small, small, small])
        check_device(large, torch.device("cuda"), 1, [small, small, small])
        # What the shell allows is allowed to each process.
        monkeypatch.setattr("quanta.training.device.memory_size", lambda: needed[0])
        check_device(large, torch.device("cpu"), 1, [small, small])


def gradients(unit, n_threads):
    shape = (unit.population.widths, unit.task.n_subtasks, unit.task.n_bits)
    return working_memory(*shape, torch.float32, EVALUATION_ROWS, n_threads, bf16=False)


class TestThreads:
    @pytest.fixture(autouse=True)
    def _eight(self, monkeypatch):
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        torch.set_num_threads(8)
        yield
        torch.set_num_threads(1)

    @pytest.mark.parametrize(
        ("quota", "expected"), [(math.inf, 8), (100.0, 8), (8.0, 8), (2.0, 2), (1.5, 2), (1.0, 1), (0.1, 1)]
    )
    def test_are_no_more_than_the_quota_keeps_busy(self, monkeypatch, quota, expected):
        monkeypatch.setattr("quanta.training.device.processor_quota", lambda: quota)
        assert default_threads() == expected
        monkeypatch.setenv("OMP_NUM_THREADS", "8")
        assert default_threads() == 8

    def test_a_sweep_follows_it_unless_it_is_told(self, tiny_study, tmp_path, monkeypatch):
        monkeypatch.setattr("quanta.training.device.processor_quota", lambda: 3.0)
        devices = []
        for name, options in (("usual", {}), ("told", {"n_threads": 5})):
            run = RunDirectory.create(tmp_path / name, tiny_study.model_copy(update={"seed": (0,)}))
            run_sweep(run, **options)
            devices.append(run.manifest(run.study.units()[0]).device)
            assert torch.get_num_threads() == 8
        assert [device.rsplit(", ", 1)[1] for device in devices] == ["3 threads", "5 threads"]


class TestPrecision:
    def test_tf32_is_not_for_a_cpu(self, tiny_study):
        with pytest.raises(ConfigError, match=r"training.precision must be .* on a CPU, not tf32"):
            Trainer(changed(tiny_study, precision="tf32"))

    @pytest.mark.parametrize(
        ("precision", "device", "expected"),
        [("float32", "cuda", "ieee"), ("tf32", "cuda", "tf32"), ("float32", "cpu", "ieee")],
    )
    @pytest.mark.parametrize("others", ["highest", "high", "medium", "cuda", "all"])
    def test_products_are_rounded_only_when_asked_for(self, tiny_study, precision, device, expected, others):
        unit = changed(tiny_study, precision=precision)
        settings = (torch.backends.cuda.matmul, torch.backends.mkldnn.matmul)
        start, usual = [one.fp32_precision for one in settings], torch.backends.fp32_precision
        try:
            if others == "cuda":
                settings[0].fp32_precision = "tf32"
            elif others == "all":
                torch.backends.fp32_precision = "tf32"
            else:
                torch.set_float32_matmul_precision(others)
            before = [one.fp32_precision for one in settings]
            with own_products(unit, torch.device(device)):
                assert [one.fp32_precision for one in settings] == [expected] * 2
            assert [one.fp32_precision for one in settings] == before
            if others in ("highest", "high", "medium"):
                assert torch.get_float32_matmul_precision() == others
        finally:
            torch.backends.fp32_precision = usual
            torch.set_float32_matmul_precision("highest")
            for one, value in zip(settings, start, strict=True):
                one.fp32_precision = value


class TestOwnThreads:
    @pytest.mark.parametrize("is_compiled", [True, False])
    def test_torch_has_one_while_compiled_code_has_the_cores(self, is_compiled):
        population = SimpleNamespace(is_compiled=is_compiled)
        before = torch.get_num_threads()
        torch.set_num_threads(2)
        try:
            with own_threads(population):
                assert torch.get_num_threads() == (1 if is_compiled else 2)
            assert torch.get_num_threads() == 2
        finally:
            torch.set_num_threads(before)
