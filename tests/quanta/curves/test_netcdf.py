import struct
import tracemalloc
import zlib
from contextlib import suppress

import h5py
import numpy as np
import pytest
import xarray as xr
from h5py import h5d, h5p, h5s, h5t, h5z

from quanta.curves import netcdf
from quanta.curves.dataset import load_curves, make_curves, save_curves
from quanta.curves.netcdf import NetCDFError, read_netcdf
from quanta.curves.schema import CurvesError

MANY = 10**12


@pytest.fixture
def path(tmp_path):
    """A file of curves, to be changed."""
    curves = make_curves(
        np.linspace(0, 2, 12).reshape(2, 2, 3),
        frequency=[0.5, 0.3, 0.2],
        step=[0, 10],
        width=[4, 8],
        n_parameters=[50, 98],
        study='{"name": "x"}',
    )
    save_curves(curves, tmp_path / "curves.nc")
    return tmp_path / "curves.nc"


def refuse(path, message):
    """Reading fails with one line that names the file."""
    with pytest.raises(CurvesError, match=message) as caught:
        load_curves(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def new_variable(file, *, dtype="f4", shape=(4,), **options):
    return file.create_dataset("accuracy", shape, dtype, **options)


def low_level(file, change):
    """Add a variable of 8 numbers in chunks of 4 whose properties were changed."""
    properties = h5p.create(h5p.DATASET_CREATE)
    properties.set_chunk((4,))
    change(properties)
    h5d.create(file.id, b"accuracy", h5t.IEEE_F32LE, h5s.create_simple((8,)), dcpl=properties)


def add_virtual(file):
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("other.nc", "loss", (4,))
    file.create_virtual_dataset("accuracy", layout)


def add_dimension_longer_than_its_variable(file):
    """By netCDF-4's rules a variable is as long as its dimensions, and what is not stored is filled up."""
    length = int(np.sqrt(netcdf.MAX_CURVES_BYTES / 4))
    variable = file.create_dataset("accuracy", (1, 1), "f8", maxshape=(None, None), chunks=(1, 1))
    for place, name in enumerate("xy"):
        dimension = file.create_dataset(name, (length,), "i1", maxshape=(None,), chunks=(1000,))
        dimension.make_scale("This is a netCDF dimension but not a netCDF variable.")
        variable.dims[place].attach_scale(dimension)


HOSTILE = {
    "soft link": (
        lambda f: f.update({"accuracy": h5py.SoftLink("/loss")}),
        "accuracy: expected a variable, found a link",
    ),
    "external link": (
        lambda f: f.update({"accuracy": h5py.ExternalLink("/etc/passwd", "/loss")}),
        "accuracy: expected a variable, found a link",
    ),
    "group": (lambda f: f.create_group("accuracy"), "accuracy: expected a variable, found a group or a type"),
    "type": (
        lambda f: f.update({"accuracy": np.dtype("f4")}),
        "accuracy: expected a variable, found a group or a type",
    ),
    "virtual data": (
        add_virtual,
        "accuracy: expected numbers in the file itself, found a reference to another file",
    ),
    "external data": (
        lambda f: new_variable(f, external=[("/etc/passwd", 0, 16)]),
        "accuracy: expected numbers in the file itself, found a reference to another file",
    ),
    "text": (
        lambda f: new_variable(f, dtype="S3"),
        "accuracy: expected numbers of 4 or 8 bytes, or whole ones, found text",
    ),
    "objects": (
        lambda f: new_variable(f, dtype=h5py.string_dtype()),
        "accuracy: expected numbers of 4 or 8 bytes, .* found text",
    ),
    "variable length": (
        lambda f: new_variable(f, dtype=h5py.vlen_dtype("f4")),
        "accuracy: expected numbers of 4 or 8 bytes, .* found data of variable length",
    ),
    "compound": (
        lambda f: new_variable(f, dtype=[("a", "i4")]),
        "accuracy: expected numbers of 4 or 8 bytes, .* found compound data",
    ),
    "opaque": (
        lambda f: new_variable(f, dtype="V3"),
        "accuracy: expected numbers of 4 or 8 bytes, .* found opaque data",
    ),
    "references": (
        lambda f: new_variable(f, dtype=h5py.ref_dtype),
        "accuracy: expected numbers of 4 or 8 bytes, .* found references",
    ),
    "booleans": (
        lambda f: new_variable(f, dtype="?"),
        "accuracy: expected numbers of 4 or 8 bytes, .* found an enumeration",
    ),
    "half floats": (
        lambda f: new_variable(f, dtype="f2"),
        "accuracy: expected numbers of 4 or 8 bytes, .* found others of 2 bytes",
    ),
    "long floats": (
        lambda f: new_variable(f, dtype="g"),
        "accuracy: expected numbers of 4 or 8 bytes, .* found others of 16 bytes",
    ),
    "another filter": (
        lambda f: new_variable(f, dtype="i4", scaleoffset=2),
        "accuracy: expected zlib's compression or none, found scaleoffset: write it with zlib",
    ),
    "a filter from a plugin": (
        lambda f: low_level(f, lambda p: p.set_filter(32015, h5z.FLAG_OPTIONAL)),
        "accuracy: expected zlib's compression or none, found Zstandard: write it with zlib",
    ),
    "a filter twice": (
        lambda f: low_level(f, lambda p: [p.set_filter(h5z.FILTER_DEFLATE, 0, (9,)) for _ in range(2)]),
        r"accuracy: expected each filter once and shuffle first, found \[1, 1\]",
    ),
    "shuffle last": (
        lambda f: low_level(f, lambda p: [p.set_deflate(1), p.set_shuffle()]),
        r"accuracy: expected each filter once and shuffle first, found \[1, 2\]",
    ),
    "a declared size": (
        lambda f: new_variable(f, shape=(MANY,), chunks=(1000,), compression="gzip"),
        r"expected at most .* of numbers in a file of .*, found 3\.638 TiB declared",
    ),
    "declared sizes together": (
        lambda f: [
            f.create_dataset(name, (3 * 10**6,), "f8", chunks=(1000,))
            for name in ("accuracy", "brier", "samples_seen")
        ],
        r"expected at most .* of numbers in a file of .*, found 68\.66 MiB declared",
    ),
    "a declared chunk": (
        lambda f: new_variable(f, shape=(1,), maxshape=(None,), chunks=(10**8,)),
        r"expected at most .* of numbers in a file of .*, found 381\.5 MiB declared",
    ),
    "many numbers in an attribute": (
        lambda f: f.attrs.update({"x": np.zeros(2**24 + 1, "i1")}),
        "the file: expected at most 16 MiB in x, found 16 MiB",
    ),
    "a long text": (
        lambda f: f["loss"].attrs.update({"units": "x" * (2**24 + 1)}),
        "loss: expected at most 16 MiB in units, found 16 MiB",
    ),
    "many texts": (
        lambda f: f.attrs.update({"x": ["text"] * 33}),
        "the file: expected at most 32 texts in x, found 33",
    ),
    "an attribute that is no text": (
        lambda f: f.attrs.update({"x": np.zeros(1, [("a", "i4")])}),
        "the file: expected numbers or text in x, found compound data",
    ),
    "many variables": (
        lambda f: [f.create_dataset(f"extra{i}", data=1.0) for i in range(1001)],
        r"expected at most 1000 variables, found 10\d\d",
    ),
    "many attributes": (
        lambda f: [f["loss"].attrs.create(f"x{i}", 1) for i in range(1001)],
        r"loss: expected at most 1000 attributes, found 10\d\d",
    ),
    "two fill values": (
        lambda f: f["n_parameters"].attrs.update({"missing_value": 1, "_FillValue": 2}),
        r"not a readable netCDF file \(variable 'n_parameters' has multiple fill values",
    ),
    "a study that is no text": (
        lambda f: f.attrs.update({"study": 3}),
        "attribute study: expected text, found",
    ),
    "half a unit missing": (
        lambda f: f.attrs.update({"units_missing": 0.5}),
        "attribute units_missing: expected a number from 0 up, found",
    ),
}


class TestHostile:
    @pytest.mark.parametrize("name", HOSTILE)
    def test_is_refused_with_the_reason(self, path, name):
        load_curves(path)
        change, message = HOSTILE[name]
        with h5py.File(path, "r+", track_order=True) as file:
            change(file)
        refuse(path, message)

    def test_dimensions_longer_than_their_variable(self, path):
        with h5py.File(path, "r+") as file:
            add_dimension_longer_than_its_variable(file)
        refuse(path, r"expected at most .*iB of numbers, found 128 GiB")

    def test_data_in_another_file_are_not_read(self, path, tmp_path):
        (tmp_path / "secret").write_bytes(np.linspace(0, 1, 12).astype("f4").tobytes())
        with h5py.File(path, "r+") as file:
            old = file["loss"]
            shape, attributes = old.shape, dict(old.attrs)
            scales = [dimension[0] for dimension in old.dims]
            del file["loss"], file["mean_loss"]
            new = file.create_dataset("loss", shape, "f4", external=[(str(tmp_path / "secret"), 0, 48)])
            new.attrs.update({key: attributes[key] for key in ("units", "long_name")})
            for dimension, scale in zip(new.dims, scales, strict=True):
                dimension.attach_scale(scale)
        assert xr.load_dataset(path, engine="h5netcdf")["loss"].max() == 1  # HDF5 reads it
        refuse(path, "loss: expected numbers in the file itself")

    @pytest.mark.parametrize("shuffle", [False, True])
    @pytest.mark.parametrize("fletcher32", [False, True])
    def test_a_chunk_that_unpacks_to_more_than_it_should(self, path, shuffle, fletcher32):
        bomb = zlib.compress(bytes(2**26), 9)
        with h5py.File(path, "r+") as file:
            options = {"compression": "gzip", "shuffle": shuffle, "fletcher32": fletcher32}
            variable = new_variable(file, dtype="f8", shape=(100,), chunks=(100,), **options)
            variable.id.write_direct_chunk((0,), bomb)
        tracemalloc.start()
        refuse(path, "accuracy: expected chunks of 800 bytes, found a larger one")
        assert tracemalloc.get_traced_memory()[1] < 2**24
        tracemalloc.stop()

    def test_a_stored_chunk_that_is_longer_than_it_should(self, path):
        with h5py.File(path, "r+") as file:
            variable = new_variable(file, dtype="f8", shape=(100,), chunks=(100,), compression="gzip")
            variable.id.write_direct_chunk((0,), bytes(2**22), filter_mask=1)
        refuse(path, "accuracy: expected chunks of 800 bytes, found a larger one")

    def test_large_sound_chunks_are_read(self, path):
        # Their compressed size alone would allow hundreds of MiB, so they are unpacked to see.
        values = np.random.default_rng(0).random(2**18)
        with h5py.File(path, "r+") as file:
            variable = file.create_dataset(
                "x", data=values, chunks=(2**18,), compression="gzip", fletcher32=True
            )
            variable.make_scale()
        np.testing.assert_array_equal(read_netcdf(path, ["x"])["x"], values)

    @pytest.mark.parametrize("length", [0, 8, 2**64 - 16, 2**64 - 24, 2**40])
    def test_a_heap_with_which_hdf5_would_never_end(self, path, length):
        data = bytearray(path.read_bytes())
        heap = data.find(b"GCOL\1")
        assert heap > 0
        index, size = struct.unpack_from("<H6xQ", data, heap + 16)
        free = heap + 16 + 16 + size + -size % 8
        struct.pack_into("<H6xQ", data, free, 0 if length < 16 else index + 1, length)
        path.write_bytes(bytes(data))
        refuse(path, "a heap of text and references is damaged")

    def test_places_of_four_bytes(self, tmp_path):
        properties = h5p.create(h5p.FILE_CREATE)
        properties.set_sizes(4, 4)
        h5py.h5f.create(str(tmp_path / "curves.nc").encode(), fcpl=properties).close()
        refuse(tmp_path / "curves.nc", "expected places and lengths in the file to be of 8 bytes")

    def test_more_than_there_is_memory_for(self, path, monkeypatch):
        monkeypatch.setattr(netcdf, "memory_size", lambda: 1000)
        refuse(path, r"expected at most 500 bytes of numbers, found 1?\d\d\d bytes|expected at most 32 texts")


class TestSound:
    @pytest.mark.parametrize(
        "encoding",
        [
            {},
            {"zlib": True},
            {"zlib": True, "shuffle": True, "fletcher32": True},
            {"dtype": "int16", "scale_factor": 0.001, "_FillValue": -1},
        ],
        ids=str,
    )
    def test_files_of_other_tools_are_read(self, path, tmp_path, encoding):
        curves = load_curves(path).drop_encoding()
        other = tmp_path / "other.nc"
        curves.drop_vars("mean_loss").to_netcdf(
            other, engine="h5netcdf", encoding={"loss": encoding}, unlimited_dims=["step"]
        )
        np.testing.assert_allclose(load_curves(other)["loss"], curves["loss"], atol=5e-4)

    @pytest.mark.parametrize(
        "name",
        [
            "text",
            "objects",
            "variable length",
            "compound",
            "opaque",
            "references",
            "booleans",
            "half floats",
            "another filter",
            "a filter from a plugin",
            "a declared size",
            "a declared chunk",
        ],
    )
    def test_what_nobody_asks_for_is_left_aside(self, path, name):
        expected, (change, _) = load_curves(path), HOSTILE[name]
        with h5py.File(path, "r+") as file:
            change(file)
            file.move("accuracy", "extra")
        xr.testing.assert_identical(load_curves(path), expected)

    def test_names_of_subtasks(self, path):
        curves = load_curves(path)
        named = curves.assign_coords(name=("subtask", ["a", "b", "c"])).drop_encoding()
        named.to_netcdf(path.with_name("named.nc"), engine="h5netcdf")
        xr.testing.assert_identical(load_curves(path.with_name("named.nc")), curves)

    @pytest.mark.parametrize("version", ["NETCDF3_CLASSIC", "NETCDF3_64BIT"])
    def test_classic_files(self, path, tmp_path, version):
        curves = load_curves(path)
        narrow = curves.drop_encoding().assign(
            n_parameters=curves["n_parameters"].astype("int32")
        )  # it has no longer ones
        for axis in ("seed", "width", "step", "subtask"):
            narrow[axis] = narrow[axis].astype("int32")
        narrow.to_netcdf(tmp_path / "classic.nc", engine="scipy", format=version)
        found = load_curves(tmp_path / "classic.nc")
        xr.testing.assert_equal(found, curves)
        assert found.attrs["study"] == curves.attrs["study"]

    def test_classic_files_of_a_later_version(self, path, tmp_path):
        load_curves(path).drop_encoding().astype("float32").to_netcdf(tmp_path / "a.nc", engine="scipy")
        data = bytearray((tmp_path / "a.nc").read_bytes())
        data[3] = 5  # with numbers of 8 bytes in all places
        (tmp_path / "a.nc").write_bytes(bytes(data))
        refuse(tmp_path / "a.nc", "expected netCDF-3 of version 1 or 2, found 05: write it with")

    def test_damaged_classic_files(self, path, tmp_path):
        load_curves(path).drop_encoding().astype("float32").to_netcdf(tmp_path / "a.nc", engine="scipy")
        whole = (tmp_path / "a.nc").read_bytes()
        rng, n_read = np.random.default_rng(0), 0
        for _ in range(100):
            data = bytearray(whole[: rng.integers(4, len(whole))])
            data[int(rng.integers(3, len(data)))] ^= 1 << int(rng.integers(8))
            (tmp_path / "b.nc").write_bytes(bytes(data))
            with suppress(CurvesError):
                load_curves(tmp_path / "b.nc")
                n_read += 1
        assert n_read < 50  # most are cut off

    def test_times_stay_numbers(self, tmp_path):
        times = xr.Dataset(
            {"x": ("x", [1, 2], {"units": "days since 2000-01-01"}), "y": ((), 3, {"units": "s"})}
        )
        times.to_netcdf(tmp_path / "x.nc", engine="h5netcdf")
        assert read_netcdf(tmp_path / "x.nc", "xy")["x"].values.tolist() == [1, 2]

    def test_no_netcdf(self, tmp_path):
        with h5py.File(tmp_path / "x.h5", "w") as file:
            file["x"] = np.zeros((2, 3))
        refuse(tmp_path / "x.h5", "step: expected a coordinate of one dimension, found none")

    def test_no_file(self, tmp_path):
        with pytest.raises(NetCDFError, match="not a readable netCDF file"):
            read_netcdf(tmp_path / "missing.nc", "x")

    def test_what_was_checked_is_what_is_read(self, path, tmp_path, monkeypatch):
        expected = load_curves(path)
        check = netcdf._check_file

        def check_and_replace(*arguments):
            check(*arguments)
            (tmp_path / "other.nc").write_bytes(b"what nobody has checked")
            (tmp_path / "other.nc").replace(path)

        monkeypatch.setattr(netcdf, "_check_file", check_and_replace)
        xr.testing.assert_identical(load_curves(path), expected)
        assert path.read_bytes() == b"what nobody has checked"
