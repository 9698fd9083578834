from types import SimpleNamespace

import pytest
import torch

from quanta.tasks.config import ConfigError
from quanta.training.device import check_device, own_products, own_threads, resolve_device
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
        needed = sum(unit.memory_needed.values())
        monkeypatch.setattr("quanta.training.device.memory_size", lambda: needed)
        Trainer(unit)
        monkeypatch.setattr("quanta.training.device.memory_size", lambda: needed - 1)
        with pytest.raises(
            ConfigError, match=r"^a unit must need at most .* \(all there is here\), not .* for its"
        ):
            Trainer(unit)
        check_device(unit, torch.device("cuda"))  # torch itself says when that is full


class TestPrecision:
    def test_tf32_is_not_for_a_cpu(self, tiny_study):
        with pytest.raises(ConfigError, match=r"training.precision must be .* on a CPU, not tf32"):
            Trainer(changed(tiny_study, precision="tf32"))

    @pytest.mark.parametrize(("precision", "expected"), [("float32", "highest"), ("tf32", "high")])
    def test_products_on_cuda_are_rounded_only_when_asked_for(self, tiny_study, precision, expected):
        unit = changed(tiny_study, precision=precision)
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("medium")
        try:
            with own_products(unit, torch.device("cuda")):
                assert torch.get_float32_matmul_precision() == expected
            assert torch.get_float32_matmul_precision() == "medium"
        finally:
            torch.set_float32_matmul_precision(before)


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
