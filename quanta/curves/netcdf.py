"""Read netCDF files that anybody may have written: plain numbers, of a size that the file can hold.

netCDF-4 files are HDF5 files, and those can do more than hold numbers: links and data in other files of the
machine, filters that load code, declared sizes without bounds. So the structure is read first, and a file
that has any of these in what is to be read is refused before its data are touched. netCDF-3 files can hold
numbers and text alone, as they are; scipy reads them.
"""

import math
import mmap
import os
import struct
import warnings
import zlib
from collections.abc import Container, Mapping
from typing import Any, BinaryIO

import h5py
import numpy as np
import xarray as xr
from h5py import h5a, h5d, h5s, h5t, h5z
from scipy.io import netcdf_file

from quanta.study.size import MAX_CURVES_BYTES
from quanta.tasks.config import one_line
from quanta.tasks.errors import QuantaError
from quanta.tasks.memory import format_bytes, memory_size

MAX_OBJECTS = 1000
"""The most variables of a file, and the most attributes of one: curves have a dozen of either."""

MAX_ATTRIBUTE_BYTES = 2**24
"""The most that one attribute may hold: a study is a hundredth of it."""

MAX_COMPRESSION = 1032
"""The most that deflate can compress (https://zlib.net/zlib_tech.html): what is beyond it was not stored."""

MAX_TEXTS = 32
"""The most texts in one attribute, and axes of a variable: each may be the same long piece of the file."""

_SMALL = 2**20
"""Bytes that need no reason, such as those of dimensions without a variable, which take no space."""

_CLASSIC = b"CDF"
"""The first bytes of netCDF-3."""

_HEAP = b"GCOL\1"
_PIECE = 2**12
"""Compressed bytes that are unpacked at a time."""

_FILTERS = (h5z.FILTER_SHUFFLE, h5z.FILTER_FLETCHER32, h5z.FILTER_DEFLATE)
_OTHER_FILTERS = {
    h5z.FILTER_SZIP: "szip",
    h5z.FILTER_NBIT: "nbit",
    h5z.FILTER_SCALEOFFSET: "scaleoffset",
    305: "LZO",
    307: "bzip2",
    32000: "LZF",
    32001: "Blosc",
    32004: "LZ4",
    32008: "bitshuffle",
    32013: "ZFP",
    32015: "Zstandard",
    32017: "SZ",
    32026: "Blosc2",
}
"""Names of what HDF5 registers (https://github.com/HDFGroup/hdf5_plugins), for messages: reading them would
load code from the machine's plugins."""
_REMEDY = "write it with zlib or uncompressed, as xarray does with to_netcdf(path, engine='h5netcdf')"
_KINDS = {
    h5t.STRING: "text",
    h5t.TIME: "times",
    h5t.BITFIELD: "bit fields",
    h5t.OPAQUE: "opaque data",
    h5t.COMPOUND: "compound data",
    h5t.REFERENCE: "references",
    h5t.ENUM: "an enumeration",
    h5t.VLEN: "data of variable length",
    h5t.ARRAY: "arrays",
}
_NUMBERS = {*((h5t.INTEGER, size) for size in (1, 2, 4, 8)), (h5t.FLOAT, 4), (h5t.FLOAT, 8)}
_OF_HDF5 = {
    *("CLASS", "NAME", "DIMENSION_LIST", "REFERENCE_LIST", "DIMENSION_LABELS"),
    *("_Netcdf4Dimid", "_Netcdf4Coordinates", "_nc3_strict", "_NCProperties"),
}
"""Attributes by which netCDF-4 and HDF5 note their own things."""
_NO_VARIABLE = b"This is a netCDF dimension but not a netCDF variable"
_SCALES = ("DIMENSION_LIST", "REFERENCE_LIST")  # how netCDF-4 notes which dimension belongs to which axis


class NetCDFError(QuantaError):
    """A file that holds something else than plain numbers, or too much."""


def read_netcdf(path: str | os.PathLike[str], names: Container[str]) -> xr.Dataset:
    """Read variables of a netCDF file into memory, whoever wrote it.

    Parameters
    ----------
    path : path-like
    names : container of str
        The variables that are read if they are there; others are left aside, whatever they hold.

    Returns
    -------
    Dataset
        Times are left as numbers.

    Raises
    ------
    NetCDFError
        If it is damaged, or is not plain variables of numbers at its top: if there are groups, types, links,
        data in other files, anything but numbers in a variable or numbers and text in an attribute, or
        filters other than deflate, shuffle and fletcher32. If it declares more than it can hold, or holds
        more than `MAX_CURVES_BYTES` or half of this machine's memory.
    """
    try:
        with open(path, "rb") as file, warnings.catch_warnings():
            # Text that is no text, two fill values, numbers that overflow: not what a sound file has.
            for category in (UserWarning, UnicodeWarning, RuntimeWarning):
                warnings.simplefilter("error", category)
            if file.read(len(_CLASSIC)) == _CLASSIC:
                return _decode(*_read_classic(file, names))
            # What was checked is what is read, whatever becomes of the path meanwhile.
            with h5py.File(file, "r") as checked:
                _check_file(checked, file.fileno(), names)
                return _decode(*_read_hdf5(checked, names))
    except NetCDFError:
        raise
    except Exception as error:  # h5py raises OSError, KeyError, RuntimeError ... on damaged files
        raise NetCDFError(f"not a readable netCDF file ({one_line(error)})") from error


def _decode(variables: Mapping[str, xr.Variable], attributes: Mapping[str, Any]) -> xr.Dataset:
    """Apply fill values and scales; raises ValueError if the variables do not fit each other."""
    whole = xr.Dataset(
        {
            name: (variable.dims, variable.values, _plain(variable.attrs))
            for name, variable in variables.items()
        },
        attrs=_plain(attributes),
    )
    return xr.decode_cf(whole, decode_times=False).load().drop_encoding()


def _plain(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return text and single numbers in place of bytes and arrays of one."""
    found = {}
    for name, value in attributes.items():
        if isinstance(value, np.ndarray) and value.size == 1:
            value = value.ravel()[0]
        found[name] = value.decode("utf-8") if isinstance(value, bytes) else value
    return found


def _read_hdf5(file: h5py.File, names: Container[str]) -> tuple[dict[str, xr.Variable], dict[str, Any]]:
    """Read variables and attributes of netCDF-4, which notes dimensions as HDF5's scales."""
    found = {}
    for name in file:
        if name not in names:
            continue
        variable = file[name]
        if variable.attrs.get("NAME", b"").startswith(_NO_VARIABLE):
            continue
        if variable.attrs.get("CLASS") == b"DIMENSION_SCALE" and variable.ndim == 1:
            dims, sizes = [name], variable.shape
        else:
            scales = [dimension[0] if len(dimension) else None for dimension in variable.dims]
            dims = [
                f"{name}_{place}" if scale is None else scale.name.rpartition("/")[2]
                for place, scale in enumerate(scales)
            ]
            # A variable may be shorter than its dimensions; the rest of it was never written.
            sizes = [
                size if scale is None else max(size, *scale.shape)
                for size, scale in zip(variable.shape, scales, strict=True)
            ]
        if math.prod(sizes) > variable.size:
            _check_size(math.prod(sizes) * variable.dtype.itemsize)
        values = np.empty(sizes, variable.dtype.newbyteorder("="))
        if values.shape != variable.shape:
            values[...] = np.nan if values.dtype.kind == "f" else 0
        if variable.size:
            variable.read_direct(values, dest_sel=tuple(slice(0, size) for size in variable.shape))
        attributes = {key: value for key, value in variable.attrs.items() if key not in _OF_HDF5}
        found[name] = xr.Variable(dims, values, attributes)
    return found, {key: value for key, value in file.attrs.items() if key not in _OF_HDF5}


def _read_classic(file: BinaryIO, names: Container[str]) -> tuple[dict[str, xr.Variable], dict[str, Any]]:
    """Read variables and attributes of netCDF-3, which cannot hold more numbers than it has bytes."""
    _check_size(os.fstat(file.fileno()).st_size)
    version = file.read(1)
    if version not in (b"\1", b"\2"):
        raise NetCDFError(
            f"expected netCDF-3 of version 1 or 2, found {version.hex()}: write it with engine='h5netcdf'"
        )
    file.seek(0)
    with netcdf_file(file, "r", mmap=False, maskandscale=False) as there:
        found = {}
        for name, variable in there.variables.items():
            if name in names:
                values = variable.data.astype(variable.data.dtype.newbyteorder("="))
                found[name] = xr.Variable(variable.dimensions, values, dict(variable._attributes))
        return found, dict(there._attributes)


def _check_size(n_bytes: int) -> None:
    most = min(MAX_CURVES_BYTES, memory_size() // 2)  # numbers are held twice when they are decoded
    if n_bytes > most:
        raise NetCDFError(f"expected at most {format_bytes(most)} of numbers, found {format_bytes(n_bytes)}")


def _check_file(file: h5py.File, descriptor: int, names: Container[str]) -> None:
    """Refuse a file that is not what it should be."""
    if file.id.get_create_plist().get_sizes() != (8, 8):
        raise NetCDFError("expected places and lengths in the file to be of 8 bytes, found others")
    _check_heaps(descriptor)
    if len(file) > MAX_OBJECTS:
        raise NetCDFError(f"expected at most {MAX_OBJECTS} variables, found {len(file)}")
    size = os.fstat(descriptor).st_size
    _check_attributes(file, "the file", size)
    declared = 0
    for name in file:
        if not isinstance(file.get(name, getlink=True), h5py.HardLink):
            raise NetCDFError(f"{name}: expected a variable, found a link")
        if file.get(name, getclass=True) is not h5py.Dataset:
            raise NetCDFError(f"{name}: expected a variable, found a group or a type")
        variable = file[name]
        properties = variable.id.get_create_plist()
        # Even the shape of a virtual one is that of data in other files.
        if properties.get_layout() == h5d.VIRTUAL or properties.get_external_count():
            raise NetCDFError(
                f"{name}: expected numbers in the file itself, found a reference to another file"
            )
        if name in names:
            declared += _check_variable(variable, name)
        _check_attributes(variable, name, size)
    if declared > MAX_COMPRESSION * size + _SMALL:
        raise NetCDFError(
            f"expected at most {format_bytes(MAX_COMPRESSION * size)} of numbers in a file of "
            f"{format_bytes(size)}, found {format_bytes(declared)} declared"
        )
    _check_size(declared)


def _check_heaps(descriptor: int) -> None:
    """Refuse heaps of text and references whose objects do not follow each other.

    HDF5 goes from object to object by their lengths, and with some lengths for ever. A heap is "GCOL", 1,
    three bytes, its length, and objects: the number of each (two bytes), six bytes, its length, and what it
    holds, filled up to a multiple of 8. The length of object 0, which is free space, counts all of it.
    """
    with mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ) as data:
        heap = data.find(_HEAP)
        while heap >= 0:
            (length,) = struct.unpack_from("<Q", data, heap + 8)
            end = min(heap + length, len(data))
            place = heap + 16
            while place + 16 <= end:
                index, size = struct.unpack_from("<H6xQ", data, place)
                taken = 16 + size + -size % 8 if index else size
                if not 16 <= taken <= end - place:
                    raise NetCDFError("a heap of text and references is damaged")
                place += taken
            heap = data.find(_HEAP, heap + 1)


def _check_variable(variable: h5py.Dataset, name: str) -> int:
    """Check how a variable is stored, and return the bytes that reading it takes."""
    properties = variable.id.get_create_plist()
    filters = [properties.get_filter(place)[0] for place in range(properties.get_nfilters())]
    for code in filters:
        if code not in _FILTERS:
            found = _OTHER_FILTERS.get(code, f"filter {code}")
            raise NetCDFError(f"{name}: expected zlib's compression or none, found {found}: {_REMEDY}")
    if len(set(filters)) < len(filters) or h5z.FILTER_SHUFFLE in filters[1:]:
        raise NetCDFError(f"{name}: expected each filter once and shuffle first, found {filters}")
    kind = variable.id.get_type()
    if (kind.get_class(), kind.get_size()) not in _NUMBERS:
        found = _KINDS.get(kind.get_class(), f"others of {kind.get_size()} bytes")
        raise NetCDFError(f"{name}: expected numbers of 4 or 8 bytes, or whole ones, found {found}")
    declared: int = _count(variable.id.get_space()) * kind.get_size()
    if properties.get_layout() != h5d.CHUNKED:
        return declared
    chunk: int = math.prod(properties.get_chunk()) * kind.get_size()
    _check_chunks(variable, name, chunk, filters)
    return max(declared, chunk)


def _check_chunks(variable: h5py.Dataset, name: str, expected: int, filters: list[int]) -> None:
    """Refuse chunks that hold more than they should, since HDF5 unpacks them whole, without a bound."""
    most = expected + _SMALL
    stored: list[h5d.StoreInfo] = []
    variable.id.chunk_iter(stored.append)
    for chunk in stored:
        size = chunk.size
        if h5z.FILTER_DEFLATE in filters and size * MAX_COMPRESSION > most >= size:
            skipped, packed = variable.id.read_direct_chunk(chunk.chunk_offset)
            if not skipped & 1 << filters.index(h5z.FILTER_DEFLATE):
                size = _count_unpacked(packed, most)
        if size > most:
            raise NetCDFError(f"{name}: expected chunks of {format_bytes(expected)}, found a larger one")


def _count_unpacked(packed: bytes, most: int) -> int:
    """Count the bytes that a deflated chunk holds, or some that are more than `most`."""
    stream = zlib.decompressobj()
    size = 0
    for start in range(0, len(packed), _PIECE):
        size += len(stream.decompress(packed[start : start + _PIECE]))
        if size > most or stream.eof:
            break
    return size


def _check_attributes(owner: h5py.File | h5py.Dataset, name: str, file_size: int) -> None:
    """Check the attributes of the file or of a variable."""
    n_attributes = h5a.get_num_attrs(owner.id)
    if n_attributes > MAX_OBJECTS:
        raise NetCDFError(f"{name}: expected at most {MAX_OBJECTS} attributes, found {n_attributes}")
    for place in range(n_attributes):
        attribute = h5a.open(owner.id, index=place)
        key = attribute.name.decode(errors="surrogateescape")
        kind, n_values = attribute.get_type(), _count(attribute.get_space())
        found = kind.get_class()
        if found == h5t.VLEN or (found == h5t.STRING and kind.is_variable_str()):
            if n_values > MAX_TEXTS or n_values * file_size > memory_size():
                raise NetCDFError(f"{name}: expected at most {MAX_TEXTS} texts in {key}, found {n_values}")
            held = 0 if found == h5t.VLEN else sum(map(len, np.ravel(owner.attrs[key])))
        else:
            held = n_values * kind.get_size()
        if found not in (h5t.STRING, h5t.INTEGER, h5t.FLOAT) and key not in _SCALES:
            other = _KINDS.get(found, "something else")
            raise NetCDFError(f"{name}: expected numbers or text in {key}, found {other}")
        if held > MAX_ATTRIBUTE_BYTES:
            most = format_bytes(MAX_ATTRIBUTE_BYTES)
            raise NetCDFError(f"{name}: expected at most {most} in {key}, found {format_bytes(held)}")


def _count(space: h5s.SpaceID) -> int:
    """Elements of a space; none if it is empty."""
    if space.get_simple_extent_type() == h5s.NULL:
        return 0
    return math.prod(space.get_simple_extent_dims())
