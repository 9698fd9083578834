"""Read netCDF-4 files that anybody may have written: plain numbers, of a size that the file can hold.

netCDF-4 files are HDF5 files, and those can do more than hold numbers: links and data in other files of the
machine, filters that load code, declared sizes without bounds. So the structure is read first, and a file
that has any of these is refused before its data are touched.
"""

import math
import mmap
import os
import struct
import warnings
import zlib

import h5netcdf
import h5py
import numpy as np
import xarray as xr
from h5py import h5a, h5d, h5s, h5t, h5z
from xarray.backends import H5NetCDFStore

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

_HEAP = b"GCOL\1"
_PIECE = 2**12
"""Compressed bytes that are unpacked at a time."""

_FILTERS = (h5z.FILTER_SHUFFLE, h5z.FILTER_FLETCHER32, h5z.FILTER_DEFLATE)
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
_SCALES = ("DIMENSION_LIST", "REFERENCE_LIST")  # how netCDF-4 notes which dimension belongs to which axis


class NetCDFError(QuantaError):
    """A file that holds something else than plain numbers, or too much."""


def read_netcdf(path: str | os.PathLike[str]) -> xr.Dataset:
    """Read a netCDF-4 file into memory, whoever wrote it.

    Parameters
    ----------
    path : path-like

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
        # What was checked is what is read, whatever becomes of the path meanwhile.
        with h5py.File(path, "r") as file, warnings.catch_warnings():
            _check_file(file)
            # Text that is no text, two fill values, numbers that overflow: not what a sound file has.
            for category in (UserWarning, UnicodeWarning, RuntimeWarning):
                warnings.simplefilter("error", category)
            checked = h5netcdf.File(file, "r", decode_vlen_strings=True, phony_dims="access")
            with checked, xr.open_dataset(H5NetCDFStore(checked), decode_times=False) as there:
                _check_size(there.nbytes)
                return there.load().assign()  # which raises if the variables do not fit each other
    except NetCDFError:
        raise
    except Exception as error:  # h5py raises OSError, KeyError, RuntimeError ... on damaged files
        raise NetCDFError(f"not a readable netCDF-4 file ({one_line(error)})") from error


def _check_size(n_bytes: int) -> None:
    most = min(MAX_CURVES_BYTES, memory_size() // 2)  # numbers are held twice when they are decoded
    if n_bytes > most:
        raise NetCDFError(f"expected at most {format_bytes(most)} of numbers, found {format_bytes(n_bytes)}")


def _check_file(file: h5py.File) -> None:
    if file.id.get_create_plist().get_sizes() != (8, 8):
        raise NetCDFError("expected places and lengths in the file to be of 8 bytes, found others")
    descriptor = file.id.get_vfd_handle()
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
    # Its shape must not be asked for before: that of a virtual one is that of data in other files.
    properties = variable.id.get_create_plist()
    if properties.get_layout() == h5d.VIRTUAL or properties.get_external_count():
        raise NetCDFError(f"{name}: expected numbers in the file itself, found a reference to another file")
    filters = [properties.get_filter(place)[0] for place in range(properties.get_nfilters())]
    for code in filters:
        if code not in _FILTERS:
            raise NetCDFError(f"{name}: expected no filters but shuffle, fletcher32, deflate, found {code}")
    if len(set(filters)) < len(filters) or h5z.FILTER_SHUFFLE in filters[1:]:
        raise NetCDFError(f"{name}: expected each filter once and shuffle first, found {filters}")
    kind = variable.id.get_type()
    if (kind.get_class(), kind.get_size()) not in _NUMBERS:
        found = _KINDS.get(kind.get_class(), f"others of {kind.get_size()} bytes")
        raise NetCDFError(f"{name}: expected numbers, floating-point or whole, found {found}")
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
