import random

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from quanta.curves.dataset import load_curves, make_curves, save_curves, with_chance
from quanta.curves.schema import AXES, VARIABLES, CurvesError, validate

SHAPE = (2, 1, 2, 2, 3, 3)
FREQUENCY = [[0.5, 0.3, 0.2], [0.4, 0.3, 0.3]]


def example(seed=(0, 1), alpha=(0.2, 0.4), n_train=(100.0,), frequency=FREQUENCY, **given_values):
    """Curves of two widths, three steps and three subtasks, with everything optional in them."""
    rng = np.random.default_rng(list(map(int, seed)))
    shape = (len(alpha), len(n_train), len(seed), *SHAPE[3:])
    values = {
        "loss": rng.uniform(0, 2, shape),
        "accuracy": rng.uniform(0, 1, shape),
        "brier": rng.uniform(0, 1, shape),
        "samples_seen": rng.integers(0, 9, shape[:3] + shape[4:]).cumsum(axis=3),
        "chance": [1.0, 2.0, 0.5],
        "study": "{}",
    } | given_values
    halves = {
        "selection_loss": np.multiply(values["loss"], 0.75),
        "reported_loss": np.multiply(values["loss"], 1.25),
    }
    values = {"examples_seen": np.asarray(values["samples_seen"]) // 2} | halves | values
    return make_curves(
        **values,
        frequency=frequency,
        step=[0, 10, 20],
        width=[4, 8],
        n_parameters=[50, 98],
        seed=seed,
        alpha=alpha,
        n_train=n_train,
    )


class TestMake:
    def test_mean_loss_is_weighted_by_frequency(self):
        curves = make_curves(
            [[[1.0, 0.5, 0.0]]], frequency=[0.5, 0.3, 0.2], step=[7], width=[4], n_parameters=[50]
        )
        assert curves["loss"].dims == AXES
        assert curves["loss"].shape == (1, 1, 1, 1, 1, 3)
        assert float(curves["mean_loss"].squeeze()) == pytest.approx(0.65, rel=1e-7)  # float32

    def test_axes_and_attributes(self):
        curves = example()
        assert {axis: curves[axis].values.tolist() for axis in AXES} == {
            "alpha": [0.2, 0.4],
            "n_train": [100],
            "seed": [0, 1],
            "width": [4, 8],
            "step": [0, 10, 20],
            "subtask": [1, 2, 3],
        }
        assert curves.attrs.keys() == {"schema", "version", "study"}
        for name, variable in VARIABLES.items():
            assert curves[name].dims == variable.dims
            assert curves[name].dtype == variable.dtype
            assert curves[name].attrs == {"long_name": variable.meaning, "units": variable.units}

    def test_what_is_not_known(self):
        curves = make_curves(np.ones((1, 1, 2)), frequency=[0.5, 0.5], step=1, width=1, n_parameters=9)
        assert set(curves.data_vars) == {"loss", "mean_loss", "frequency", "n_parameters"}
        assert np.isnan(curves["alpha"].item())
        assert np.isinf(curves["n_train"].item())
        assert "study" not in curves.attrs

    @pytest.mark.parametrize("given", [0.7, [0.7, 0.7]])
    def test_chance_is_one_number_or_one_a_subtask(self, given):
        curves = make_curves(
            np.ones((1, 1, 2)), frequency=[0.5, 0.5], step=1, width=1, n_parameters=9, chance=given
        )
        assert curves["chance"].dims == ("subtask",)
        assert curves["chance"].values.tolist() == [0.7, 0.7]

    def test_chance_is_given_to_curves_that_lack_it(self):
        known, unknown = example(), example(chance=None)
        assert with_chance(known, 1.0) is known
        given = validate(with_chance(unknown, 1.0))
        xr.testing.assert_identical(given.drop_vars("chance"), unknown)
        xr.testing.assert_identical(given["chance"], example(chance=1.0)["chance"])

    @pytest.mark.parametrize(
        ("name", "value", "message"),
        [
            (
                "loss",
                np.ones((2, 1, 2, 2, 3, 4)),
                r"loss: expected shape \(2, 1, 2, 2, 3, 3\) .* \(2, 1, 2, 2, 3, 4\)",
            ),
            ("loss", np.ones((1, 2, 2, 3, 3)), "loss: expected shape"),  # the alpha left out has length 2
            ("accuracy", np.ones(SHAPE[1:]), "accuracy: expected shape"),
            ("samples_seen", np.ones(SHAPE), "samples_seen: expected shape"),
            ("frequency", [0.5, 0.3, 0.2], "frequency: expected shape"),
            ("chance", [1.0], r"chance: expected shape \(3,\) .* found \(1,\)"),
            ("chance", 0.0, "chance: expected positive values, found 0"),
            ("chance", np.nan, "chance: expected finite values, found NaN"),
        ],
    )
    def test_names_the_array_that_does_not_fit(self, name, value, message):
        with pytest.raises(CurvesError, match=message):
            example(**{name: value})


def put(name, value, **where):
    """Mutation: set some values of a variable."""

    def mutate(curves):
        changed = curves[name].copy(deep=True)
        changed[where or ...] = value
        return curves.assign({name: changed})

    return mutate


def axis(name, values):
    """Mutation: other values on an axis."""
    return lambda curves: curves.assign_coords({name: values})


MUTATIONS = {
    "schema missing": (lambda c: c.drop_attrs(deep=False), "attribute schema: expected 1, found None"),
    "schema newer": (lambda c: c.assign_attrs(schema=2), "attribute schema: expected 1, found 2"),
    "schema text": (lambda c: c.assign_attrs(schema="1"), "attribute schema: expected 1, found '1'"),
    "schema array": (lambda c: c.assign_attrs(schema=np.array([1, 2])), "attribute schema: expected 1"),
    "axis missing": (lambda c: c.isel(n_train=0, drop=True), "n_train: expected a coordinate"),
    "axis scalar": (lambda c: c.isel(seed=0), "seed: expected a coordinate"),
    "axis without values": (lambda c: c.drop_vars("step"), "step: expected a coordinate"),
    "axis empty": (lambda c: c.isel(width=slice(0)), "width: expected at least one value, found none"),
    "axis of text": (axis("seed", ["a", "b"]), "seed: expected numbers, found type <U1"),
    "axis of booleans": (axis("seed", [False, True]), "seed: expected numbers, found type bool"),
    "seed falling": (axis("seed", [1, 0]), r"seed: expected increasing values, found 0 after 1"),
    "alpha repeated": (axis("alpha", [0.2, 0.2]), "alpha: expected increasing values"),
    "alpha not known": (axis("alpha", [0.2, np.nan]), "alpha: expected increasing values"),
    "n_train zero": (axis("n_train", [0.0]), "n_train: expected values from 1 up, found 0"),
    "n_train NaN": (axis("n_train", [np.nan]), "n_train: expected values from 1 up, found nan"),
    "width zero": (axis("width", [0, 8]), "width: expected values from 1 up, found 0"),
    "width falling": (axis("width", [8, 4]), r"width: expected increasing values, found 4 after 8"),
    "step negative": (axis("step", [-1, 0, 1]), "step: expected values from 0 up, found -1"),
    "step repeated": (axis("step", [0, 1, 1]), r"step: expected increasing values, found 1 after 1"),
    "subtask from 0": (
        axis("subtask", [0, 1, 2]),
        r"subtask: expected 1\.\.3, all of them, found 0 at place 1",
    ),
    "loss missing": (lambda c: c.drop_vars("loss"), "loss: expected a variable over .* found none"),
    "mean_loss missing": (lambda c: c.drop_vars("mean_loss"), "mean_loss: expected a variable"),
    "frequency missing": (lambda c: c.drop_vars("frequency"), "frequency: expected a variable"),
    "n_parameters missing": (lambda c: c.drop_vars("n_parameters"), "n_parameters: expected a variable"),
    "loss transposed": (
        lambda c: c.assign(loss=c["loss"].transpose(*AXES[::-1])),
        "loss: expected dimensions",
    ),
    "frequency without alpha": (
        lambda c: c.assign(frequency=c["frequency"].isel(alpha=0, drop=True)),
        "frequency: expected dimensions",
    ),
    "loss of text": (lambda c: c.assign(loss=c["loss"].astype(str)), "loss: expected numbers, found type <U"),
    "loss infinite": (put("loss", np.inf, step=1), "loss: expected finite values, found an infinite one"),
    "loss negative": (put("loss", -0.5, step=1), r"loss: expected 0\.\.inf, found -0\.5\.\."),
    "loss NaN first": (put("loss", np.nan, step=0), "loss: expected NaN only after an early stop"),
    "loss NaN between": (put("loss", np.nan, step=1), "loss: expected NaN only after an early stop"),
    "loss NaN for one subtask": (
        put("loss", np.nan, step=2, subtask=0),
        "loss: expected NaN only after an early stop",
    ),
    "accuracy above one": (put("accuracy", 1.1, step=1), r"accuracy: expected 0\.\.1, found .*\.\.1\.1"),
    "accuracy negative": (put("accuracy", -0.1, step=1), r"accuracy: expected 0\.\.1, found -0\.1"),
    "brier above one": (put("brier", 2, step=1), r"brier: expected 0\.\.1, found .*\.\.2"),
    "samples_seen negative": (put("samples_seen", -1, step=1), "samples_seen: expected"),
    "samples_seen NaN": (
        lambda c: c.assign(samples_seen=c["samples_seen"] * np.nan),
        "samples_seen: expected finite values, found NaN",
    ),
    "frequency zero": (put("frequency", [0.5, 0.5, 0.0]), "frequency: expected positive values, found 0"),
    "frequency above one": (
        put("frequency", [1.5, 0.3, 0.2]),
        r"frequency: expected 0\.\.1, found 0\.2\.\.1\.5",
    ),
    "frequency NaN": (put("frequency", np.nan, subtask=0), "frequency: expected finite values, found NaN"),
    "frequency sum": (
        put("frequency", [0.5, 0.3, 0.1], alpha=1),
        "frequency: expected a sum of 1 over subtasks, found 0.9",
    ),
    "frequency rising": (
        put("frequency", [0.3, 0.5, 0.2], alpha=1),
        "frequency: expected the most frequent subtask first",
    ),
    "chance zero": (put("chance", 0, subtask=0), "chance: expected positive values, found 0"),
    "chance negative": (put("chance", -1, subtask=0), r"chance: expected 0\.\.inf, found -1\.\."),
    "chance infinite": (
        put("chance", np.inf, subtask=0),
        "chance: expected finite values, found an infinite",
    ),
    "chance NaN": (put("chance", np.nan, subtask=0), "chance: expected finite values, found NaN"),
    "chance of each network": (lambda c: c.assign(chance=c["loss"]), "chance: expected dimensions"),
    "n_parameters zero": (put("n_parameters", 0, width=0), "n_parameters: expected at least 1, found 0"),
    "mean_loss other": (
        lambda c: c.assign(mean_loss=c["mean_loss"] + 0.01),
        r"mean_loss: expected the sum of frequency times loss, found a gap of 0\.01",
    ),
    "mean_loss unweighted": (
        lambda c: c.assign(mean_loss=c["loss"].mean("subtask")),
        "mean_loss: expected the sum of frequency times loss",
    ),
    "mean_loss NaN": (put("mean_loss", np.nan), "mean_loss: expected NaN where loss is NaN and nowhere else"),
}


PUT_RIGHT = {
    "schema missing",
    "axis missing",
    "axis scalar",
    "seed falling",
    "mean_loss missing",
    "mean_loss other",
    "mean_loss unweighted",
    "mean_loss NaN",
    "loss transposed",
}
"""What the schema does not allow, and the way in brings to it."""


class TestValidate:
    @pytest.mark.parametrize("name", MUTATIONS)
    def test_names_what_does_not_fit(self, name, tmp_path):
        mutate, message = MUTATIONS[name]
        curves = example()
        assert validate(curves) is curves
        with pytest.raises(CurvesError, match=message):
            validate(mutate(curves))
        if name in PUT_RIGHT:
            save_curves(mutate(curves), tmp_path / "right.nc")
            assert validate(load_curves(tmp_path / "right.nc"))
            return
        with pytest.raises(CurvesError, match=rf"^({message.split(':')[0]}|n_parameters): expected"):
            save_curves(mutate(curves), tmp_path / "bad.nc")
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("name", ["accuracy", "brier", "samples_seen", "examples_seen", "chance"])
    def test_curves_from_elsewhere_may_lack_some(self, name):
        validate(example().drop_vars(name))

    @pytest.mark.parametrize("name", ["selection_loss", "reported_loss"])
    def test_halves_may_lack_of_a_unit(self, name):
        curves = example()
        validate(put(name, np.nan, alpha=1, seed=0)(curves))
        for where in ({"alpha": 1, "seed": 0, "step": 2}, {"alpha": 1, "seed": 0, "width": 0}):
            message = (
                f"{name}: expected NaN where loss is NaN, or everywhere, found others at alpha 0.4, .* seed 0"
            )
            with pytest.raises(CurvesError, match=message):
                validate(put(name, np.nan, **where)(curves))

    def test_an_early_stop(self):
        curves = example()
        loss = curves["loss"].values.copy()
        loss[0, 0, 1, 1, 1:] = np.nan
        stopped = example(loss=loss)
        missing = np.isnan(stopped["mean_loss"])
        assert int(missing.sum()) == 2
        assert missing.isel(alpha=0, n_train=0, seed=1, width=1, step=slice(1, None)).all()

    def test_other_variables_are_let_be(self):
        validate(example().assign(temperature=("width", [1.0, 2.0])))


@st.composite
def curves_of_any_size(draw):
    n_alpha, n_seed, n_width, n_step, n_subtasks = (draw(st.integers(1, 3)) for _ in range(5))
    shape = (n_alpha, 1, n_seed, n_width, n_step, n_subtasks)

    def increasing(values, n):
        return sorted(draw(st.lists(values, min_size=n, max_size=n, unique=True)))

    def floats(upper):
        return draw(arrays(np.float32, shape, elements=st.floats(0, upper, width=32)))

    loss = floats(1000)
    for curve in np.ndindex(shape[:4]):
        loss[curve][draw(st.integers(1, n_step)) :] = np.nan
    weight = np.sort(draw(arrays(np.float64, (n_alpha, n_subtasks), elements=st.floats(1e-3, 1))))[:, ::-1]
    known = draw(st.booleans()) or n_alpha > 1
    return make_curves(
        loss,
        frequency=weight / weight.sum(axis=1, keepdims=True),
        step=increasing(st.integers(0, 2**40), n_step),
        width=increasing(st.integers(1, 10**6), n_width),
        n_parameters=np.sort(draw(arrays(np.int64, n_width, elements=st.integers(1, 2**60)))),
        seed=increasing(st.integers(0, 2**62), n_seed),
        alpha=increasing(st.floats(-1, 10), n_alpha) if known else np.nan,
        n_train=draw(st.sampled_from([np.inf, 1.0, 1e9])),
        accuracy=floats(1) if draw(st.booleans()) else None,
        brier=floats(1) if draw(st.booleans()) else None,
        samples_seen=(
            draw(arrays(np.int64, shape[:3] + shape[4:], elements=st.integers(0, 2**60)))
            if draw(st.booleans())
            else None
        ),
        chance=draw(st.none() | st.floats(1e-3, 1e3)),
        study=draw(st.none() | st.text('aé{}" \n', max_size=20)),
    )


class TestFile:
    @given(curves=curves_of_any_size())
    @settings(max_examples=15)
    def test_save_then_load_is_the_identity(self, tmp_path_factory, curves):
        path = tmp_path_factory.mktemp("curves") / "curves.nc"
        save_curves(curves, path)
        loaded = load_curves(path)
        xr.testing.assert_identical(loaded, curves)
        assert {name: x.dtype for name, x in loaded.variables.items()} == {
            name: x.dtype for name, x in curves.variables.items()
        }

    def test_what_was_read_can_be_written_where_it_came_from(self, tmp_path):
        path = tmp_path / "curves.nc"
        save_curves(example(), path)
        save_curves(load_curves(path), path)
        xr.testing.assert_identical(load_curves(path), example())

    def test_is_netcdf_4(self, tmp_path):
        save_curves(example(), tmp_path / "curves.nc")
        assert (tmp_path / "curves.nc").read_bytes().startswith(b"\x89HDF\r\n\x1a\n")

    def test_a_missing_mean_loss_is_computed(self, tmp_path):
        curves = example()
        curves.drop_vars("mean_loss").to_netcdf(tmp_path / "foreign.nc", engine="h5netcdf")
        xr.testing.assert_identical(load_curves(tmp_path / "foreign.nc"), curves)

    @pytest.mark.parametrize(
        "name",
        [
            "schema array",
            "axis without values",
            "frequency sum",
        ],
    )
    def test_loading_names_the_file_and_what_does_not_fit(self, name, tmp_path):
        mutate, message = MUTATIONS[name]
        path = tmp_path / "foreign.nc"
        mutate(example()).to_netcdf(path, engine="h5netcdf")
        with pytest.raises(CurvesError, match=message) as caught:
            load_curves(path)
        assert str(caught.value).startswith(f"{path}: ")

    def test_text_where_losses_should_be(self, tmp_path):
        foreign = example().drop_vars("mean_loss")
        foreign.assign(loss=foreign["loss"].astype(str)).to_netcdf(tmp_path / "foreign.nc", engine="h5netcdf")
        with pytest.raises(CurvesError, match=r"foreign\.nc: loss: expected numbers"):
            load_curves(tmp_path / "foreign.nc")

    def test_a_file_that_is_not_there(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"no curves at .*none\.nc"):
            load_curves(tmp_path / "none.nc")

    @pytest.mark.parametrize("content", [b"", b"CDF\x01", b"{}", b"\x89HDF\r\n\x1a\n" + bytes(900)])
    def test_foreign_files(self, tmp_path, content):
        path = tmp_path / "foreign.nc"
        path.write_bytes(content)
        with pytest.raises(CurvesError, match="not a readable netCDF file") as caught:
            load_curves(path)
        assert str(caught.value).startswith(f"{path}: ")

    def test_truncated_files(self, tmp_path):
        path = tmp_path / "curves.nc"
        save_curves(example(), path)
        whole = path.read_bytes()
        for tenths in range(10):
            path.write_bytes(whole[: len(whole) * tenths // 10])
            with pytest.raises(CurvesError, match="not a readable netCDF file"):
                load_curves(path)
        path.write_bytes(whole[:-1])
        with pytest.raises(CurvesError, match="not a readable netCDF file"):
            load_curves(path)

    def test_damaged_files(self, tmp_path):
        """A block of noise anywhere: either it did not matter, or the error is ours."""
        path = tmp_path / "curves.nc"
        save_curves(example(), path)
        whole = path.read_bytes()
        noise = random.Random(0)
        messages = []
        for start in range(0, len(whole), len(whole) // 20):
            path.write_bytes(whole[:start] + noise.randbytes(16) + whole[start + 16 :])
            try:
                validate(load_curves(path))
            except CurvesError as error:
                messages.append(str(error))
        assert len(messages) > 3
        assert all(message.startswith(f"{path}: ") for message in messages)

    def test_a_failure_half_way_leaves_the_old_file(self, tmp_path, monkeypatch):
        path = tmp_path / "curves.nc"
        old = example(seed=(0, 1))
        save_curves(old, path)

        def write_half(target, contents):
            target.write_text("half")
            raise OSError("disk full")

        with monkeypatch.context() as patch:
            patch.setattr(type(path), "write_bytes", write_half)
            with pytest.raises(OSError, match="disk full"):
                save_curves(example(seed=(2, 3)), path)
        assert list(tmp_path.iterdir()) == [path]
        xr.testing.assert_identical(load_curves(path), old)
