"""Frozen configurations, and one-line errors about them."""

import difflib
import json
from collections.abc import Iterator
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError


class ConfigError(ValueError):
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
        # Always through JSON: there, strict validation takes lists for tuples but "3" and true for no number.
        text = values if isinstance(values, str) else json.dumps(values, default=str)
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise ConfigError(_explain(error, cls)) from None


def _explain(error: ValidationError, config: type[BaseModel]) -> str:
    known = list(_key_paths(config))
    complaints: dict[str, list[str]] = {}
    received: dict[str, str] = {}
    for item in error.errors():
        path = _path(item["loc"], known)
        if item["type"] == "extra_forbidden":
            path = ".".join(str(part).replace("\n", " ") for part in item["loc"])
            message = f"unknown key{_suggest(path, known)}"
        elif item["type"] == "missing":
            message = "is required"
        elif item["type"] == "value_error":
            message = str(item["ctx"]["error"])
        elif item["type"] == "string_pattern_mismatch":
            message = f"must match {item['ctx']['pattern']}"
            received[path] = repr(item["input"])[:80]
        else:
            message = item["msg"].replace("Input should be", "must be")
            message = message.split(", unable")[0].split(", got")[0]
            message = (
                message.replace("a valid integer", "an integer")
                .replace("a valid array", "a list")
                .replace("a valid ", "a ")
            )
            received[path] = repr(item["input"])[:80]
        if message not in complaints.setdefault(path, []):
            complaints[path].append(message)
    return "; ".join(
        (f"{path}: " if path else "")
        + messages[0]
        + "".join(f" or {message.removeprefix('must be ')}" for message in messages[1:])
        + (f", not {received[path]}" if path in received else "")
        for path, messages in complaints.items()
    )


def _key_paths(config: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in config.model_fields.items():
        yield prefix + name
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
