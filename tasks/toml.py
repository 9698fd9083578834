"""Read TOML that anybody may have written, in reasonable time."""

import re
import tomllib
from typing import Any

from quanta.tasks.config import ConfigError, one_line

MAX_KEY_PARTS = 16
"""The most parts of a dotted key: the time to read one grows with their square, and a study has three."""

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
