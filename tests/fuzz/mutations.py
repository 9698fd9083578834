"""Change sound files at random: their bytes, their words, and their structure.

`rng` decides; the sound files are bytes or, where they are text, strings.
"""

import json
import re
import struct
from contextlib import suppress

import h5py
import numpy as np


def split(words):
    return words.split()


WORDS = [
    *split("0 -1 1 2 0.5 1e308 -1e-320 1e999 nan inf NaN -Infinity true null online 1979-05-27T07:32:00Z"),
    *(str(2**power) for power in (16, 31, 32, 53, 63, 64)),
    *("9" * 5000, "0x" + "f" * 5000, "1" * 300, "10" * 9, "100000", "1000000000"),
    *('""', '"../../x"', '"/etc/passwd"', '"\\u0000"', '"\\ud800"', '"\\n\\u001b[31m"', '"uniform"'),
    *("'", '"', '"""', "[]", "{}", "[[]]", "[1,", *"{}]=,:.#\0\n\r\ufeffé\u2028\x1b"),
    *("[" * 5000, '{"a":' * 5000, "a." * 2000, "a={" * 2000),
]
"""Pieces of TOML and JSON that somebody may not have thought of."""


def choose(rng, values):
    return values[rng.integers(len(values))]


def count_changes(rng):
    """Two most often; none one time in ten, so that sound files are among the inputs."""
    return rng.binomial(4, 0.45)


def mutate_bytes(rng, sound):
    """Flip, cut, insert, repeat and splice."""
    data = bytearray(choose(rng, sound))
    for _ in range(count_changes(rng)):
        if not data:
            break
        start = int(rng.integers(len(data)))
        end = min(len(data), start + int(rng.geometric(1 / choose(rng, (2, 16, 200)))))
        size = choose(rng, (1, 2, 4, 8))
        number = int(choose(rng, (0, 1, 127, 128, 255, 2**15, 2**31, 2**32 - 1, 2**40, 2**63, 2**64 - 1)))
        other = choose(rng, sound)
        match rng.integers(9):
            case 0:
                data[start] ^= 1 << rng.integers(8)
            case 1:
                data[start] = rng.integers(256)
            case 2:
                packed = (number % 256**size).to_bytes(size, choose(rng, ("little", "big")))
                data[start : start + size] = packed
            case 3:
                del data[start:]
            case 4:
                del data[start:end]
            case 5:
                data[start:start] = rng.bytes(end - start)
            case 6:
                data[start:start] = data[start:end] * int(rng.integers(1, 20))
            case 7:
                data[start:end] = bytes(end - start)
            case 8:
                data[start:] = other[int(rng.integers(len(other))) if rng.integers(2) else start :]
    return bytes(data)


def mutate_text(rng, sound):
    """Change, drop, repeat and swap words and lines."""
    words = re.findall(r"\w+|\s+|[^\w\s]", choose(rng, sound))
    for _ in range(count_changes(rng)):
        place, other = (int(rng.integers(len(words))) for _ in range(2))
        match rng.integers(6):
            case 0 | 1:
                words[place] = choose(rng, WORDS)
            case 2:
                words[place] = ""
            case 3:
                words[place] *= int(rng.integers(2, 50))
            case 4:
                words[place], words[other] = words[other], words[place]
            case 5:
                lines = choose(rng, sound).splitlines(keepends=True)
                words[place] += choose(rng, lines)
    return "".join(words)


def mutate_any_text(rng, sound):
    if rng.integers(3):
        return mutate_text(rng, sound).encode()
    return mutate_bytes(rng, [text.encode() for text in sound])


def sort_header(data):
    """Write a safetensors file with its header in order, which otherwise differs from process to process."""
    end = 8 + struct.unpack("<Q", data[:8])[0]
    header = json.dumps(json.loads(data[8:end]), sort_keys=True).encode()
    return struct.pack("<Q", len(header)) + header + data[end:]


def mutate_tensors(rng, sound):
    """Change the header of a safetensors file as text, or its bytes."""
    if rng.integers(2):
        return mutate_bytes(rng, sound)
    data = choose(rng, sound)
    end = 8 + struct.unpack("<Q", data[:8])[0]
    header = data[8:end].decode()
    if rng.integers(2):
        values = json.loads(header)
        metadata = values.get("__metadata__", {})
        texts = [key for key in metadata if metadata[key].startswith("{")]
        key = choose(rng, texts if texts and rng.integers(4) else list(metadata))
        metadata[key] = mutate_text(rng, [metadata[key]]).encode(errors="replace").decode()
        header = json.dumps(values)
    else:
        header = mutate_text(rng, [header])
    header = header.encode()
    return struct.pack("<Q", len(header)) + header + data[end:]


def mutate_netcdf(rng, sound, folder):
    """Change the structure of a netCDF file, or its bytes."""
    path = folder / "sound.nc"
    path.write_bytes(choose(rng, sound))
    if rng.integers(2):
        with h5py.File(path, "r+") as file:
            for _ in range(count_changes(rng)):
                with suppress(
                    AttributeError, KeyError, OSError, RuntimeError, TypeError, ValueError
                ):  # what HDF5 refuses
                    mutate_structure(rng, file)
    if rng.integers(3):
        return mutate_bytes(rng, [path.read_bytes(), *sound])
    return path.read_bytes()


def mutate_structure(rng, file):
    name = choose(rng, sorted(file))
    owner = choose(rng, (file, file[name]))
    values = [
        *(1, -1, 2**40, 1.5, np.nan, np.inf, True, 1j, np.float16(1), np.arange(3), np.zeros(0)),
        *("text", "", "\x1b[31m\n", "[" * 3000, b"\xff\xfe", np.array(["a", "b"], dtype=object)),
        *(np.void(b"abc"), h5py.Empty("f"), np.zeros(2, dtype=[("a", "i4"), ("b", "f8")])),
    ]
    keys = split(
        "schema study units_missing _FillValue missing_value scale_factor add_offset valid_range units dtype "
        "coordinates grid_mapping compress calendar CLASS NAME DIMENSION_LIST _Netcdf4Coordinates "
        "_Netcdf4Dimid _Unsigned _Encoding x \x1b"
    )
    dtypes = [*split("f2 f4 f8 i1 u1 i8 u8 >f8 S3 c8 ? V3"), h5py.string_dtype(), h5py.vlen_dtype("f4")]
    dtype = choose(rng, dtypes)
    match rng.integers(12):
        case 0 | 1 | 2:
            owner.attrs[choose(rng, keys)] = choose(rng, values)
        case 3:
            for key in list(owner.attrs)[: rng.integers(1, 4)]:
                del owner.attrs[key]
        case 4:
            del file[name]
        case 5:
            file.move(name, choose(rng, ("x", "loss", "step", "\x1b", "_nc4_non_coord_step", name + "y")))
        case 6:
            shape = choose(rng, ((), (0,), (3,), (2, 3), file[name].shape, (10**9, 10**9)))
            chunks = None if 0 in shape or not shape else tuple(min(size, 10) for size in shape)
            attributes = dict(file[name].attrs) if rng.integers(2) else {}
            del file[name]
            new = file.create_dataset(name, shape, dtype, chunks=chunks)
            for key in attributes.keys() - {"REFERENCE_LIST", "DIMENSION_LIST"}:
                new.attrs[key] = attributes[key]
            if new.ndim == 1 and rng.integers(2):
                new.make_scale()
        case 7:
            new = file.create_dataset(f"extra{rng.integers(3)}", file[name].shape, dtype)
            for place in range(new.ndim):
                new.dims[place].attach_scale(file[choose(rng, sorted(file))])
        case 8:
            link = choose(rng, (h5py.SoftLink("/loss"), h5py.ExternalLink("other.nc", "/loss"), None))
            file["link"] = file[name] if link is None else link
        case 9:
            file.create_group("group")["inner"] = 1
        case 10:
            if file[name].ndim and file[name].size and file[name].dtype.kind in "fiu":
                place = tuple(int(rng.integers(size)) for size in file[name].shape)
                numbers = (0, 1, 100) + (np.nan, np.inf, 1e300, -1) * (file[name].dtype.kind == "f")
                with np.errstate(over="ignore"):
                    file[name][place] = choose(rng, numbers)
        case 11:
            if file[name].chunks:
                offset = (0,) * file[name].ndim
                file[name].id.write_direct_chunk(offset, rng.bytes(rng.integers(1, 99)), int(rng.integers(2)))
