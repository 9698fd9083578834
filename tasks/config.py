"""Frozen configurations, and one-line errors about them."""

import difflib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from quanta.tasks.errors import QuantaError, printable

MAX_TEXT_BYTES = 2**21
"""The longest text of a configuration: one that gives k for each of the most subtasks has half of it."""

_MAX_COMPLAINTS = 10
_MAX_VALUE = 80
_MAX_MESSAGE = 300


class ConfigError(QuantaError):
    """A configuration that is not allowed; one line that names the key, what is allowed and what came."""


class Config(BaseModel):
    """Base of every configuration: frozen, and refuses keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)

    @classmethod
    def parse(cls, values: dict[str, Any] | str) -> Self:
        """Validate a dictionary, or a JSON text, into a configuration.

        Parameters
        ----------
        values : dict or str

        Returns
        -------
        Config
            Of the class this is called on.

        Raises
        ------
        ConfigError
            One line over all that is wrong: each key's path, what is allowed, what came.
        """
        try:
            # Always through JSON: there, strict validation takes lists for tuples but "3" and true for no
            # number.
            text = values if isinstance(values, str) else json.dumps(values, default=str)
            _check_text(text)
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise ConfigError(_explain(error, cls)) from None
        except RecursionError:
            raise ConfigError("is nested too deeply") from None
        except ConfigError:
            raise
        except ValueError as error:  # a whole number of thousands of digits, half a surrogate pair
            raise ConfigError(one_line(error)) from None


def read_text(path: str | os.PathLike[str], most: int = MAX_TEXT_BYTES) -> str:
    """Read a configuration file, whoever wrote it.

    Parameters
    ----------
    path : path-like
    most : int, default 2 MiB
        Bytes that it may have.

    Returns
    -------
    str

    Raises
    ------
    ConfigError
        If it is no plain file, longer than `most`, or not UTF-8.
    OSError
        If it cannot be read.
    """
    path = Path(path)
    if path.exists() and not path.is_file():  # a pipe or a device has no end
        raise ConfigError("expected a plain file")
    with path.open("rb") as file:
        # A read makes room for all that it may find.
        data = file.read(min(most, max(os.fstat(file.fileno()).st_size, MAX_TEXT_BYTES)) + 1)
    if len(data) > most:
        raise ConfigError(f"must have at most {most} bytes, not {path.stat().st_size}")
    try:
        return data.decode("utf-8-sig")  # editors on Windows begin a file with a byte order mark
    except UnicodeDecodeError as error:
        raise ConfigError(f"expected text in UTF-8 ({error})") from None


def one_line(message: object, most: int = _MAX_MESSAGE) -> str:
    """Make a message, in which there may be what somebody else wrote, one line that a terminal only shows.

    Parameters
    ----------
    message : object
        Taken as a string.
    most : int, default 300
        Characters, after which it is cut.

    Returns
    -------
    str
    """
    line = " ".join(str(message).split())
    if len(line) > most:
        line = line[: most - 3] + "..."
    return printable(line)


def _check_text(text: str) -> None:
    """Refuse what pydantic would read without complaint or without end: long texts, a key given twice."""
    if len(text) > MAX_TEXT_BYTES:
        raise ConfigError(f"must have at most {MAX_TEXT_BYTES} characters, not {len(text)}")
    try:
        json.loads(text, object_pairs_hook=_check_keys)
    except json.JSONDecodeError:
        return  # pydantic says where it is wrong


def _check_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise ConfigError(f"{one_line(key, _MAX_VALUE)}: is given twice")
            seen.add(key)
    return values


def _explain(error: ValidationError, config: type[BaseModel]) -> str:
    known = list(_key_paths(config))
    complaints: dict[str, list[str]] = {}
    received: dict[str, str] = {}
    more = False
    for item in error.errors(include_url=False):
        unknown = item["type"] == "extra_forbidden"
        path = ".".join(map(str, item["loc"])) if unknown else _path(item["loc"], known)
        if len(complaints) == _MAX_COMPLAINTS and path not in complaints:
            more = True
            continue
        if unknown:
            message = f"unknown key{_suggest(path, known)}"
        elif item["type"] == "missing":
            message = "is required"
        elif item["type"] == "json_invalid":  # of which the whole text would be what came
            message = item["msg"]
        elif item["type"] == "value_error":
            message = one_line(item["ctx"]["error"])
        elif item["type"] == "string_pattern_mismatch":
            message = f"must match {item['ctx']['pattern']}"
            received[path] = repr(item["input"])[:_MAX_VALUE]
        else:
            message = item["msg"].replace("Input should be", "must be")
            message = message.split(", unable")[0].split(", got")[0]
            message = (
                message.replace("a valid integer", "an integer")
                .replace("a valid array", "a list")
                .replace("a valid ", "a ")
            )
            received[path] = repr(item["input"])[:_MAX_VALUE]
        if message not in complaints.setdefault(path, []):
            complaints[path].append(message)
    lines = [
        (f"{one_line(path, _MAX_VALUE)}: " if path else "")
        + messages[0]
        + "".join(f" or {message.removeprefix('must be ')}" for message in messages[1:])
        + (f", not {received[path]}" if path in received else "")
        for path, messages in complaints.items()
    ]
    return "; ".join([*lines, "and more"] if more else lines)


def _key_paths(config: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in config.model_fields.items():
        yield prefix + (field.alias or name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _key_paths(field.annotation, f"{prefix}{name}.")


def _path(location: tuple[int | str, ...], known: list[str]) -> str:
    """Where an error is, as far as it is a key; pydantic adds the branches of unions and list indices."""
    path = ""
    for part in location:
        longer = f"{path}.{part}" if path else str(part)
        if longer not in known:
            break
        path = longer
    return path


def _suggest(path: str, known: list[str]) -> str:
    """Name the nearest key, by its whole path or by its last part."""
    known = [key for key in known if not path.startswith(f"{key}.")]
    leaf = path.rsplit(".", 1)[-1]
    by_leaf = {key.rsplit(".", 1)[-1]: key for key in known}
    near = difflib.get_close_matches(path, known, n=1, cutoff=0.75)
    near = near or [by_leaf[match] for match in difflib.get_close_matches(leaf, by_leaf, n=1)]
    if near:
        return f", did you mean {near[0]}?"
    section = path.rpartition(".")[0]
    return f", known are {', '.join(key for key in known if key.rpartition('.')[0] == section)}"
