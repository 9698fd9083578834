"""What somebody else has set in the libraries changes no result."""

import contextlib

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
import xarray as xr

from quanta.store.run_directory import RunDirectory, load_population
from quanta.study.spec import StudySpec
from quanta.sweep.units import run_sweep
from quanta.tasks.sparse_parity import MultitaskSparseParity
from quanta.tasks.spec import TaskSpec


@contextlib.contextmanager
def default_device(name):
    torch.set_default_device(name)
    try:
        yield
    finally:
        torch.set_default_device(None)


@contextlib.contextmanager
def default_dtype(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextlib.contextmanager
def deterministic():
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


@contextlib.contextmanager
def rounded_products():
    settings = (torch.backends.cuda.matmul, torch.backends.mkldnn.matmul)
    before = [one.fp32_precision for one in settings]
    settings[0].fp32_precision, settings[1].fp32_precision = "tf32", "bf16"
    try:
        yield
    finally:
        for one, value in zip(settings, before, strict=True):
            one.fp32_precision = value


@contextlib.contextmanager
def global_seeds():
    state, numpy_state = torch.get_rng_state(), np.random.get_state()  # noqa: NPY002
    torch.manual_seed(7)
    np.random.seed(7)  # noqa: NPY002
    try:
        yield
    finally:
        torch.set_rng_state(state)
        np.random.set_state(numpy_state)  # noqa: NPY002


SETTINGS = {
    "numpy raises": lambda: np.errstate(all="raise"),
    "numpy prints little": lambda: np.printoptions(precision=1, threshold=2),
    "default device": lambda: default_device("meta"),
    "default dtype": lambda: default_dtype(torch.float64),
    "half": lambda: default_dtype(torch.float16),
    "no gradients": torch.no_grad,
    "inference": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "deterministic": deterministic,
    "anomalies": lambda: torch.autograd.set_detect_anomaly(True, check_nan=False),
    "global seeds": global_seeds,
    "rounded products": rounded_products,
    "xarray": lambda: xr.set_options(keep_attrs=False, arithmetic_join="exact"),
    "matplotlib": lambda: plt.style.context("dark_background"),
}


USUAL = {}
"""Curves and weights on each path where nobody has set anything."""


@pytest.fixture(params=SETTINGS)
def setting(request):
    return SETTINGS[request.param]


def sweep(study, path):
    """Train a study, interrupted once on its way, and read its curves and weights."""
    run = RunDirectory.create(path, study)
    asked = iter([False] * 7 + [True])
    first = run_sweep(run, should_stop=lambda: next(asked, False))
    result = run_sweep(run)
    assert (first.stopped, first.failed, result.failed) == (True, {}, {})
    weights = load_population(run.folder(run.study.units()[0])).state_dict()
    return run.load(), {name: tensor.detach().numpy() for name, tensor in weights.items()}


@pytest.mark.filterwarnings("ignore:Anomaly Detection:UserWarning")
@pytest.mark.parametrize(
    "path", ["compiled", *(pytest.param(path, marks=pytest.mark.slow) for path in ("torch", "deep"))]
)
def test_training(tiny_study, tmp_path, setting, path, request):
    request.getfixturevalue("no_kernel" if path == "torch" else "compiler")
    values = {"seed": (0,), "n_train": (50, "online")}
    if path == "deep":
        values["population"] = tiny_study.population.model_copy(update={"n_hidden_layers": 2})
    study = StudySpec.parse(tiny_study.model_copy(update=values).model_dump_json())
    if path not in USUAL:
        USUAL[path] = sweep(study, tmp_path / "usual")
    expected, expected_weights = USUAL[path]
    with setting():
        curves, weights = sweep(study, tmp_path / "set")
    xr.testing.assert_identical(curves.drop_attrs(), expected.drop_attrs())
    for name, values in expected_weights.items():
        np.testing.assert_array_equal(weights[name], values)


def test_tasks(tmp_path, setting):
    def make(path):
        task = MultitaskSparseParity(TaskSpec(n_subtasks=5, n_bits=9), 2)
        task.save(path, task.draw_handout(20, 1), 1)
        loaded, sample = MultitaskSparseParity.load(path)
        return [
            *sample,
            *loaded.sample_stratified(2, torch.Generator().manual_seed(0)),
            loaded.dense_input(sample),
        ]

    expected = make(tmp_path / "usual")
    with setting():
        found = make(tmp_path / "set")
    assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))
