"""Read TOML that anybody may have written, in reasonable time."""

import re
import tomllib
from typing import Any

from quanta.tasks.config import ConfigError, one_line

MAX_KEY_PARTS = 16
"""The most parts of a dotted key: the time to read one grows with their square, and a study has three."""

MAX_SHOWN = 80
"""Characters of a text that a message repeats."""

_STRING_OR_COMMENT = re.compile(
    r'''"""(?s:.*?)(?:"""|\Z)|"(?:[^"\\\n]|\\.)*+"?|'''
    r"'''(?s:.*?)(?:'''|\Z)|'[^'\n]*+'?|#[^\n]*"
)
"""Closed or not, so that no text is searched more than once."""


def parse_toml(text: str) -> dict[str, Any]:
    """Read a TOML text.

    Parameters
    ----------
    text : str

    Returns
    -------
    dict

    Raises
    ------
    ConfigError
        If it is not TOML, is nested too deeply, or a key has more than `MAX_KEY_PARTS` parts.
    """
    pieces = re.split(r"[=,{}\[\]\n]", _STRING_OR_COMMENT.sub("", text))
    n_parts = 1 + max(piece.count(".") for piece in pieces)
    if n_parts > MAX_KEY_PARTS:
        raise ConfigError(f"a key must have at most {MAX_KEY_PARTS} parts, not {n_parts}")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ConfigError("it is nested too deeply") from None
    except ValueError as error:  # TOMLDecodeError, or a number of thousands of digits
        raise ConfigError(one_line(error)) from None


def parse_value(text: str) -> Any:
    """Read one value of TOML, or a bare word, as it stands on a command line.

    Parameters
    ----------
    text : str

    Returns
    -------
    object
        What is no TOML is a string: a word need not stand in quotes.

    Raises
    ------
    ConfigError
        If it begins as a string, a list or a table does and is none, or is more than one line.
    """
    word = text.strip()
    try:
        found = parse_toml(f"value = {word}")
    except ConfigError as error:
        if word.startswith(("[", "{", '"', "'")) or len(word.splitlines()) > 1:
            raise ConfigError(f"expected a value of TOML, or a word, found {_cut(word)} ({error})") from None
        return word
    if len(found) > 1:
        raise ConfigError(f"expected one value, found {_cut(word)}")
    return found["value"]


def _cut(text: str) -> str:
    return one_line(repr(text), MAX_SHOWN)
