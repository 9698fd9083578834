from typing import Annotated, Literal

import pytest
from pydantic import Field, ValidationError, model_validator

from tasks.config import Config, ConfigError


class Inner(Config):
    learning_rate: float = Field(1e-3, gt=0, allow_inf_nan=False)
    batch_size: int = Field(32, ge=1)


class Outer(Config):
    name: str = Field(pattern="^[a-z]{1,8}$")
    inner: Inner = Inner()
    sizes: tuple[Annotated[int, Field(ge=1)], ...] = (1,)
    kind: Annotated[float, Field(ge=0)] | Literal["none"] = "none"
    low: int = 0
    high: int = 1

    @model_validator(mode="after")
    def _check(self):
        if self.low > self.high:
            raise ValueError(f"low must be at most high ({self.high}), not {self.low}")
        return self


def message(values):
    with pytest.raises(ConfigError) as caught:
        Outer.parse(values)
    return str(caught.value)


def test_takes_lists_for_tuples_and_whole_numbers_for_floats():
    outer = Outer.parse({"name": "a", "sizes": [2, 3], "inner": {"learning_rate": 1}})
    assert outer.sizes == (2, 3)
    assert isinstance(outer.inner.learning_rate, float)
    assert Outer.parse(outer.model_dump_json()) == outer
    assert Outer.parse(outer.model_dump()) == outer


def test_is_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        Outer(name="a").name = "b"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, "name: is required"),
        ({"name": 3}, "name: must be a string, not 3"),
        ({"name": "A,b"}, "name: must match ^[a-z]{1,8}$, not 'A,b'"),
        ({"name": "a", "inner": 3}, "inner: must be an object, not 3"),
        ({"name": "a", "sizes": 3}, "sizes: must be a list, not 3"),
        ({"name": "a", "sizes": [1, 0]}, "sizes: must be greater than or equal to 1, not 0"),
        ({"name": "a", "kind": "x"}, "kind: must be a number or 'none', not 'x'"),
        ({"name": "a", "low": 2}, "low must be at most high (1), not 2"),
        (
            {"name": "a", "inner": {"batch_size": 0}},
            "inner.batch_size: must be greater than or equal to 1, not 0",
        ),
        ({"name": "a", "inner": {"batch_size": "3"}}, "inner.batch_size: must be an integer, not '3'"),
        ({"name": "a", "inner": {"batch_size": 2.5}}, "inner.batch_size: must be an integer, not 2.5"),
        ({"name": "a", "inner": {"batch_size": True}}, "inner.batch_size: must be an integer, not True"),
        (
            {"name": "a", "inner": {"learning_rate": float("nan")}},
            "inner.learning_rate: must be a finite number, not nan",
        ),
        ("[]", "must be an object, not []"),
        # Unknown keys: the nearest by path, by last part, or what there is.
        ({"name": "a", "iner": {}}, "iner: unknown key, did you mean inner?"),
        (
            {"name": "a", "inner": {"batchsize": 3}},
            "inner.batchsize: unknown key, did you mean inner.batch_size?",
        ),
        ({"name": "a", "learning_rate": 3}, "learning_rate: unknown key, did you mean inner.learning_rate?"),
        (
            {"name": "a", "inner": {"qq": 3}},
            "inner.qq: unknown key, known are inner.learning_rate, inner.batch_size",
        ),
        ({"name": "a", "zzz": 3}, "zzz: unknown key, known are name, inner, sizes, kind, low, high"),
    ],
)
def test_says_what_is_wrong_in_one_line(values, expected):
    assert message(values) == expected


def test_tells_all_that_is_wrong_at_once():
    assert message({"low": "x", "zzz": 1}) == (
        "name: is required; low: must be an integer, not 'x'; "
        "zzz: unknown key, known are name, inner, sizes, kind, low, high"
    )


def test_text_that_is_not_json():
    text = message('{"name":')
    assert text.startswith("Invalid JSON")
    assert "\n" not in text


def test_long_values_are_cut():
    assert len(message({"name": "a", "low": "x" * 10_000})) < 150
