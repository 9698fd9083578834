"""Other people's data: what is put right without a guess, and what is refused by name and value."""

import gc
import math
import weakref

import h5py
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from quanta.curves.conversion import FILL, as_curves
from quanta.curves.dataset import load_curves, make_curves, save_curves
from quanta.curves.schema import AXES, CurvesError, validate
from quanta.curves.tables import curves_from_table
from quanta.store.run_directory import RunDirectory
from quanta.tasks.frequencies import zipf_frequencies

P = zipf_frequencies(4, 0.4)
KNOWN = {
    "frequency": P,
    "step": [0, 10, 100],
    "width": [4, 8],
    "n_parameters": [50, 98],
    "seed": [0, 1, 2],
    "alpha": 0.4,
    "chance": 1.0,
}
LOSS = np.random.default_rng(0).uniform(0.1, 1, (3, 2, 3, 4)).astype(np.float32)


@pytest.fixture
def curves():
    return make_curves(LOSS, **KNOWN)


def change(curves, name, values, **attributes):
    old = curves[name]
    return curves.assign({name: (old.dims, values, old.attrs | attributes)})


class TestPutRight:
    def test_nothing_to_do(self, curves):
        assert as_curves(curves) is curves

    @pytest.mark.parametrize(
        "other",
        [
            lambda c: c.transpose("step", "width", "seed", "subtask", "alpha", "n_train"),
            lambda c: c.squeeze(["alpha", "n_train"]),
            lambda c: c.squeeze(["alpha", "n_train"]).drop_vars("n_train"),
            lambda c: c.drop_vars("subtask"),
            lambda c: c.isel(step=slice(None, None, -1)),
            lambda c: c.isel(seed=[2, 0, 1], width=[1, 0], subtask=[3, 1, 0, 2]),
            lambda c: c.drop_vars("mean_loss"),
            lambda c: c.assign_attrs(history="made by hand", schema=1),
            lambda c: c.assign(note=("subtask", list("abcd"))),
            lambda c: c.assign_coords(skill=("subtask", ["a", "b", "c", "d"])),
            lambda c: c.assign_coords(step=c["step"].astype(np.float64)),
            lambda c: c.assign(n_parameters=c["n_parameters"].astype(np.float32)),
            lambda c: change(c, "loss", c["loss"].values, units="bits"),
            lambda c: change(c, "loss", c["loss"].values, units=" Bit "),
            lambda c: xr.Dataset(c.variables),  # without attributes
        ],
    )
    def test_same_curves_in_another_way(self, curves, other):
        found = as_curves(other(curves))
        xr.testing.assert_allclose(found.drop_attrs(), curves.drop_attrs(), rtol=1e-6)
        assert found["loss"].dims == AXES
        assert {name: x.dtype for name, x in found.variables.items()} == {
            name: x.dtype for name, x in curves.variables.items()
        }

    @pytest.mark.parametrize("unit", ["nat", "nats", "Nats"])
    def test_nats_become_bits(self, curves, unit):
        nats = curves
        for name in ("loss", "mean_loss", "chance"):
            nats = change(nats, name, curves[name].values * math.log(2), units=unit)
        found = as_curves(nats)
        xr.testing.assert_allclose(found, curves, rtol=1e-6)
        assert {found[name].attrs["units"] for name in ("loss", "mean_loss", "chance")} == {"bit"}

    @pytest.mark.parametrize("unit", ["dB", "nats/token", "byte", 2])
    def test_other_units_are_refused(self, curves, unit):
        with pytest.raises(CurvesError, match="loss: expected units of bit or nat, found"):
            as_curves(change(curves, "loss", curves["loss"].values, units=unit))

    def test_rounding_below_zero_is_zero(self, curves):
        loss = curves["loss"].values.copy()
        loss[0, 0, 0, 0, 2, 3] = -1e-7
        found = as_curves(change(curves.drop_vars("mean_loss"), "loss", loss))
        assert found["loss"].values[0, 0, 0, 0, 2, 3] == 0
        loss[0, 0, 0, 0, 2, 3] = -1e-3
        with pytest.raises(CurvesError, match=r"loss: expected 0\.\.inf, found -0\.001"):
            as_curves(change(curves.drop_vars("mean_loss"), "loss", loss))

    @pytest.mark.parametrize("mark", [FILL, -999.0])
    def test_what_was_never_written_is_missing(self, curves, mark):
        loss = curves["loss"].values.copy()
        loss[..., 1, 1:, :] = mark
        attributes = {} if mark == FILL else {"missing_value": mark}
        found = as_curves(change(curves.drop_vars("mean_loss"), "loss", loss, **attributes))
        assert np.isnan(found["loss"].values[..., 1, 1:, :]).all()
        assert np.isnan(found["mean_loss"].values[..., 1, 1:]).all()

    def test_lazily_opened(self, curves, tmp_path):
        save_curves(curves, tmp_path / "a.nc")
        with xr.open_dataset(tmp_path / "a.nc", engine="h5netcdf") as lazy:
            xr.testing.assert_identical(as_curves(lazy), load_curves(tmp_path / "a.nc"))

    def test_of_one_size_and_seed(self):
        """Axes of length one that nobody names."""
        data = xr.Dataset(
            {
                "loss": (("step", "subtask"), LOSS[0, 0]),
                "frequency": ("subtask", P),
                "n_parameters": 50,
            },
            {"step": [0, 10, 100]},
        )
        found = as_curves(data)
        assert found.sizes == {"alpha": 1, "n_train": 1, "seed": 1, "width": 1, "step": 3, "subtask": 4}
        assert math.isnan(found["alpha"].item())
        assert math.isinf(found["n_train"].item())
        xr.testing.assert_identical(found.isel(seed=0), as_curves(found).isel(seed=0))

    @pytest.mark.parametrize("other", [1.002, math.nan])
    def test_another_mean_is_left_aside(self, curves, other):
        """Of samples of its own, as the paper's, or of losses before they were rounded."""
        found = as_curves(change(curves, "mean_loss", curves["mean_loss"].values * other))
        assert found.attrs["left_out"].startswith("mean_loss as it was given")
        xr.testing.assert_equal(found, curves)

    def test_numbers_along_one_axis_stay(self, curves, tmp_path):
        """They may be an axis of the analysis; a file has what the schema knows."""
        found = as_curves(curves.assign(flops=("width", [10.0, 20.0]), text=("width", ["a", "b"])))
        assert found["flops"].values.tolist() == [10, 20]
        assert "text" not in found
        save_curves(found, tmp_path / "a.nc")
        xr.testing.assert_identical(load_curves(tmp_path / "a.nc"), curves)

    def test_what_is_put_in_place_of_a_variable_is_seen(self, curves):
        other = curves.transpose(*AXES[::-1])
        before = as_curves(other)
        other["loss"] = other["loss"] * 0.5
        np.testing.assert_allclose(as_curves(other)["loss"], 0.5 * before["loss"], rtol=1e-6)
        other["loss"].attrs["units"] = "dB"
        with pytest.raises(CurvesError, match="units of bit or nat"):
            as_curves(other)

    def test_is_done_once(self, curves):
        other = curves.transpose(*AXES[::-1])
        found = as_curves(other)
        assert as_curves(other) is found
        assert as_curves(found) is found
        gone = weakref.ref(other)
        del other
        gc.collect()
        assert gone() is None


class TestRefused:
    @pytest.mark.parametrize(
        ("wrong", "message"),
        [
            (lambda c: c.isel(seed=[0, 0, 0]), "seed: expected each value once, found 0 after 0"),
            (lambda c: c.isel(step=[0, 1, 2, 2]), "step: expected each value once, found 100 after 100"),
            (
                lambda c: xr.concat([c, c], "seed", data_vars="minimal"),
                "seed: expected each value once, found 0 after 0",
            ),
            (lambda c: c.isel(subtask=[0, 2]), "subtask: expected 1..2, all of them, found 3 at place 2"),
            (lambda c: c.isel(subtask=[0, 1]), "frequency: expected a sum of 1 over subtasks, found"),
            (
                lambda c: c.assign_coords(width=[1, 1.4]),
                "width: expected whole numbers, found 1.4",
            ),
            (lambda c: c.assign_coords(width=[0.07, 1]), "width: expected whole numbers, found 0.07"),
            (lambda c: c.assign_coords(seed=[0, 0.5, 1]), "seed: expected whole numbers, found 0.5"),
            (
                lambda c: c.assign_coords(step=c["step"] / 3000),
                "step: expected whole numbers, found 0.00333333",
            ),
            (
                lambda c: c.assign_coords(step=[0, 1, math.inf]),
                "step: expected whole numbers, found inf",
            ),
            (
                lambda c: c.assign(n_parameters=("width", [98, 50])),
                "n_parameters: expected not to fall with width, found 50 at width 8 after 98",
            ),
            (
                lambda c: c.assign(n_parameters=("width", [50.5, 98])),
                "n_parameters: expected whole numbers, found 50.5",
            ),
            (
                lambda c: c.assign(frequency=("subtask", P[::-1])),
                "frequency: expected the most frequent subtask first, found",
            ),
            (lambda c: c.rename(loss="nll").drop_vars("mean_loss"), "loss: expected a variable"),
            (
                lambda c: c.drop_vars("mean_loss").assign(loss=c["loss"].expand_dims(layer=2)),
                r"loss: expected dimensions .* found \('layer', ",
            ),
            (lambda c: c.drop_vars("step"), "step: expected a coordinate"),
            (lambda c: c.drop_vars("width"), "width: expected a coordinate"),
        ],
    )
    def test_by_name_and_value(self, curves, wrong, message, tmp_path):
        with pytest.raises(CurvesError, match=message):
            as_curves(wrong(curves))
        with pytest.raises(CurvesError, match=message):
            save_curves(wrong(curves), tmp_path / "a.nc")
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("kind", [bool, complex, str, "datetime64[s]"])
    @pytest.mark.parametrize("masked", [True, False])
    def test_what_is_no_number_is_never_cast(self, kind, masked):
        loss = np.rint(LOSS).astype(int).astype(kind)
        if masked:
            loss = np.ma.array(loss, mask=loss == loss[0, 0, 0, 0])
        with pytest.raises(CurvesError, match="loss: expected numbers, found type"):
            make_curves(loss, **KNOWN)

    def test_what_is_no_dataset(self, curves):
        with pytest.raises(CurvesError, match="curves: expected a Dataset, found DataArray"):
            as_curves(curves["loss"])

    @pytest.mark.parametrize("subtask", [slice(None), 3])
    def test_an_evaluation_that_is_missing_is_named(self, curves, subtask):
        loss = curves["loss"].values.copy()
        loss[0, 0, 1, 1, 1, subtask] = np.nan
        with pytest.raises(CurvesError, match="found NaN before measured values at seed 1, width 8, step 10"):
            as_curves(change(curves.drop_vars("mean_loss"), "loss", loss))

    def test_networks_that_were_never_measured(self, curves):
        loss = curves["loss"].values.copy()
        for seed, width in ((0, 0), (1, 1), (2, 0)):
            loss[0, 0, seed, width] = np.nan
        with pytest.raises(CurvesError, match="nothing was measured for seed 0, width 4: leave out"):
            as_curves(change(curves.drop_vars("mean_loss"), "loss", loss))


class TestLeftOut:
    @pytest.mark.parametrize(
        ("never", "note", "sizes"),
        [
            ([(2, 1)], "seed 2: nothing was measured at width 8", (2, 2)),
            ([(0, 0), (2, 1)], "seed 0, 2: nothing was measured at width 4, 8", (1, 2)),
            ([(0, 1), (1, 1), (2, 1)], "width 8: nothing was measured at seed 0, 1, 2", (3, 1)),
        ],
    )
    def test_is_named(self, curves, never, note, sizes, tmp_path):
        loss = curves["loss"].values.copy()
        for seed, width in never:
            loss[0, 0, seed, width] = np.nan
        for data in (curves.drop_vars("mean_loss"), curves):
            missing = change(data, "loss", loss)
            if "mean_loss" in data:
                missing["mean_loss"] = missing["mean_loss"].where(~np.isnan(missing["loss"][..., 0]))
            found = as_curves(missing)
            assert found.attrs["left_out"] == note
            assert (found.sizes["seed"], found.sizes["width"]) == sizes
        save_curves(found, tmp_path / "a.nc")
        xr.testing.assert_identical(load_curves(tmp_path / "a.nc"), found)

    def test_a_run_that_stopped_early_is_none(self, curves):
        loss = curves["loss"].values.copy()
        loss[0, 0, 2, 1, 1:] = np.nan
        found = as_curves(change(curves.drop_vars("mean_loss"), "loss", loss))
        assert found.sizes["seed"] == 3
        assert "left_out" not in found.attrs


class TestMake:
    def test_masked_arrays(self):
        mask = np.zeros(LOSS.shape, dtype=bool)
        mask[2, 1, 1:] = True
        found = make_curves(np.ma.array(LOSS, mask=mask), **KNOWN)
        expected = make_curves(np.where(mask, np.nan, LOSS), **KNOWN)
        xr.testing.assert_identical(found, expected)

    @pytest.mark.parametrize("name", ["step", "seed", "width", "n_parameters"])
    def test_nothing_is_cut_to_a_whole_number(self, name):
        values = np.asarray(KNOWN[name], dtype=float)
        xr.testing.assert_identical(make_curves(LOSS, **KNOWN | {name: values}), make_curves(LOSS, **KNOWN))
        values[-1] += 0.9
        with pytest.raises(CurvesError, match=rf"{name}: expected whole numbers, found {values[-1]:g}"):
            make_curves(LOSS, **KNOWN | {name: values})

    def test_arrays_with_names(self, curves):
        dims = ("seed", "width", "step", "subtask")
        named = xr.DataArray(LOSS, dims=dims, coords={"step": [0, 10, 100], "seed": [0, 1, 2]})
        for loss in (
            named,
            named.transpose("subtask", "step", "seed", "width"),
            named.isel(step=[2, 0, 1]),
            named.drop_vars("seed"),
        ):
            xr.testing.assert_allclose(make_curves(loss, **KNOWN), curves)
        with pytest.raises(CurvesError, match="loss: expected the values of step, found others"):
            make_curves(named.assign_coords(step=[0, 10, 99]), **KNOWN)

    def test_the_last_line_twice_after_a_resume(self):
        with pytest.raises(CurvesError, match="step: expected each value once, found 100 after 100"):
            make_curves(LOSS[:, :, [0, 1, 2, 2]], **KNOWN | {"step": [0, 10, 100, 100]})


def test_names_of_subtasks_are_left_aside_when_saved(curves, tmp_path):
    named = curves.assign_coords(name=("subtask", [f"skill {i}" for i in range(4)]))
    save_curves(named, tmp_path / "a.nc")
    xr.testing.assert_identical(load_curves(tmp_path / "a.nc"), curves)


def as_table(curves):
    """One row a measurement, of whatever a table can hold."""
    kept = [name for name in ("loss", "accuracy", "brier", "frequency", "n_parameters") if name in curves]
    native = {name: curves[name].astype(curves[name].dtype.newbyteorder("=")) for name in kept}
    return xr.Dataset(native).to_dataframe().reset_index()  # pandas has no other order of bytes


def assert_same_bytes(found, expected):
    assert set(found.variables) == set(expected.variables)
    for name, variable in expected.variables.items():
        assert found[name].dims == variable.dims, name
        assert found[name].dtype == variable.dtype, name
        assert np.ascontiguousarray(found[name].values).tobytes() == variable.values.tobytes(), name


@settings(max_examples=8)
@given(st.data())
def test_the_same_bytes_whatever_the_way(tmp_path_factory, finished, data):
    """A run directory, a file, arrays, masked arrays, arrays with names, lazy datasets and long tables."""
    read = RunDirectory(finished).load()
    assert_same_bytes(as_curves(read), read)
    # A table does not hold how many samples were seen; the mean is taken anew by every way.
    expected = as_curves(read.drop_vars(["samples_seen", "mean_loss"]))
    if data.draw(st.booleans()):  # a network that stopped early
        loss = expected["loss"].copy()
        loss[0, 0, 1, 0, 3:] = np.nan
        expected = expected.drop_vars("mean_loss").assign(loss=loss)
        expected = expected.assign({n: expected[n].where(loss.notnull()) for n in ("accuracy", "brier")})
        expected = as_curves(expected)
    kind = st.sampled_from(["float32", "float64", ">f4", "<f8"])
    whole = st.sampled_from(["int32", "int64", "uint16", "float32", "float64"])
    other = expected.drop_vars("mean_loss").drop_encoding()
    for axis in ("seed", "width", "step", "subtask"):
        other = other.isel({axis: data.draw(st.permutations(range(other.sizes[axis])))})
    other = other.transpose(*data.draw(st.permutations(AXES)))
    for name in ("loss", "accuracy", "brier"):
        other[name] = other[name].astype(data.draw(kind))
    for name in ("step", "seed", "width", "subtask", "n_parameters"):
        other[name] = other[name].astype(data.draw(whole))
    table = as_table(other)
    # alpha has a value that must be known; online is what is meant where nothing is said.
    other = other.squeeze(data.draw(st.sampled_from([[], ["alpha"], ["alpha", "n_train"]])))
    if data.draw(st.booleans()):
        other = other.squeeze("n_train", drop=True) if "n_train" in other.dims else other.drop_vars("n_train")
    assert_same_bytes(as_curves(other), expected)

    path = tmp_path_factory.mktemp("curves") / "a.nc"
    other.to_netcdf(path, engine="h5netcdf")
    assert_same_bytes(load_curves(path), expected)
    with xr.open_dataset(path, engine="h5netcdf", chunks=data.draw(st.sampled_from([{}, None]))) as lazy:
        assert_same_bytes(as_curves(lazy), expected)

    order = data.draw(st.permutations(range(20)))
    table = table.iloc[np.argsort([order[i % 20] for i in range(len(table))], kind="stable")]
    if data.draw(st.booleans()):
        table = table.dropna(subset="loss")
    found = curves_from_table(table, chance=1.0)
    assert_same_bytes(found, expected)

    known = {name: expected[name].values for name in ("frequency", "n_parameters", "chance", *AXES[:5])}
    values = {name: expected[name].values for name in ("loss", "accuracy", "brier")}
    masked = {name: np.ma.masked_invalid(array) for name, array in values.items()}
    named = {name: other[name].astype("float64") for name in values}
    for given_as in (values, masked, named):
        assert_same_bytes(make_curves(**given_as, **known), expected)


@settings(max_examples=20)
@given(st.data())
def test_every_way_in_gives_the_same(tmp_path_factory, data):
    """Order, presence of axes, masks and types do not matter, through arrays, datasets and files alike."""
    stopped = data.draw(st.booleans())
    loss = LOSS.copy()
    if stopped:
        loss[1, 0, 2] = np.nan
    expected = make_curves(loss, **KNOWN)
    other = expected
    for axis in ("seed", "width", "step", "subtask"):
        other = other.isel({axis: data.draw(st.permutations(range(other.sizes[axis])))})
    other = other.transpose(*data.draw(st.permutations(AXES)))
    squeezed = data.draw(st.sets(st.sampled_from(["alpha", "n_train"])))
    other = other.squeeze(sorted(squeezed))
    if data.draw(st.booleans()):
        other = other.drop_vars("mean_loss")
    for name in ("step", "seed", "width", "n_parameters"):
        kind = data.draw(st.sampled_from(["int32", "int64", "float32", "float64"]))
        other[name] = other[name].astype(kind)
    if data.draw(st.booleans()):
        other["loss"] = other["loss"].fillna(FILL)
        other = other.drop_vars("mean_loss", errors="ignore")
    xr.testing.assert_identical(as_curves(other), expected)
    path = tmp_path_factory.mktemp("curves") / "a.nc"
    other.drop_encoding().to_netcdf(path, engine="h5netcdf")
    xr.testing.assert_identical(load_curves(path), expected)


def test_unwritten_values_of_netcdf4(curves, tmp_path):
    """As its own library leaves them: the default fill value, declared nowhere."""
    save_curves(curves.drop_vars("mean_loss"), tmp_path / "a.nc")
    with h5py.File(tmp_path / "a.nc", "r+") as file:
        assert "_FillValue" not in file["loss"].attrs or np.isnan(file["loss"].attrs["_FillValue"])
        file["loss"][..., 1, 2:, :] = FILL
        del file["mean_loss"]
    found = load_curves(tmp_path / "a.nc")
    assert np.isnan(found["loss"].values[..., 1, 2:, :]).all()
    assert found["mean_loss"].max() < 2
    assert validate(found) is found
