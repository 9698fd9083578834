import os
from typing import Annotated, Literal

import pytest
from pydantic import Field, ValidationError, model_validator

from quanta.tasks.config import MAX_TEXT_BYTES, Config, ConfigError, one_line, read_text


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
    assert text == "Invalid JSON: EOF while parsing a value at line 1 column 8"


def test_long_values_are_cut():
    assert len(message({"name": "a", "low": "x" * 10_000})) < 150


class TestHostile:
    """Texts that nobody would write by accident: one line, in little time."""

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ('{"name": "a", "name": "b"}', "name: is given twice"),
            ('{"name": "a", "inner": {"batch_size": 1, "batch_size": 2}}', "batch_size: is given twice"),
            ('{"name": ' + "[" * 100_000, "is nested too deeply"),
            ('{"a":' * 100_000, "is nested too deeply"),
            ('{"name": "a", "low": ' + "9" * 5000 + "}", "Exceeds the limit (4300 digits)"),
            ('{"name": "a", "low": ' + "9" * 4000 + "}", "low"),
            ('{"name": "a", "kind": NaN}', "kind"),
            (
                '{"name": "a", "inner": {"learning_rate": 1e999}}',
                "inner.learning_rate: must be a finite number",
            ),
            ('\ufeff{"name": "a"}', "Invalid JSON"),
            ('{"name": "\\ud800"}', "Invalid JSON"),
            ('{"name": "\ud800"}', ""),
            ('{"name": "a\\u0000b"}', "name: must match ^[a-z]{1,8}$, not 'a\\x00b'"),
            ('{"name": "ab\\n"}', "name: must match ^[a-z]{1,8}$, not 'ab\\n'"),
            ('{"name": "a", "\\u001b[31m\\n": 1}', "\\x1b[31m: unknown key"),
            ('{"name": "a", "sizes": [' + '"x",' * 50_000 + "1]}", "sizes: must be an integer, not 'x'"),
            ("{" + ",".join(f'"x{i}": 1' for i in range(100_000)) + "}", "and more"),
            ('{"' + "x" * 10**6 + '": 1}', "unknown key"),
            ('{"name": "' + "x" * MAX_TEXT_BYTES + '"}', "must have at most 2097152 characters, not 2097164"),
            ('{"name": "' + "x" * (MAX_TEXT_BYTES - 100) + '"}', "name: must match"),
        ],
        ids=range(19),
    )
    def test_texts(self, text, expected):
        line = message(text)
        assert expected in line
        assert line.isprintable()
        assert len(line) < 2000

    def test_values(self):
        nested = []
        for _ in range(100_000):
            nested = [nested]
        assert message({"name": nested}) == "is nested too deeply"
        assert message({"name": "a", "low": 16**5000}).startswith("Exceeds the limit (4300 digits)")

    def test_long_messages_of_validators_are_cut(self):
        class Picky(Config):
            numbers: tuple[int, ...]

            @model_validator(mode="after")
            def _check(self):
                raise ValueError(f"never\n{self.numbers}")

        with pytest.raises(ConfigError) as caught:
            Picky.parse({"numbers": list(range(10**5))})
        assert str(caught.value).startswith("never (0, 1, 2")
        assert str(caught.value).endswith("...")
        assert len(str(caught.value)) == 300


class TestReadText:
    def test_reads_utf8_with_and_without_a_byte_order_mark(self, tmp_path):
        for start in (b"", b"\xef\xbb\xbf"):
            (tmp_path / "text").write_bytes(start + "é".encode())
            assert read_text(tmp_path / "text") == "é"

    @pytest.mark.parametrize(
        ("content", "expected"),
        [
            (b"\xff\xfea\x00", "expected text in UTF-8"),
            (b"\xe9", "expected text in UTF-8"),
            (
                bytes(MAX_TEXT_BYTES + 1),
                f"must have at most {MAX_TEXT_BYTES} bytes, not {MAX_TEXT_BYTES + 1}",
            ),
        ],
    )
    def test_refuses_what_is_no_short_text(self, tmp_path, content, expected):
        (tmp_path / "text").write_bytes(content)
        with pytest.raises(ConfigError, match=expected):
            read_text(tmp_path / "text")

    def test_a_file_of_a_terabyte_is_not_read(self, tmp_path):
        with (tmp_path / "text").open("wb") as file:
            file.truncate(2**40)
        with pytest.raises(ConfigError, match=f"at most {MAX_TEXT_BYTES} bytes, not {2**40}"):
            read_text(tmp_path / "text")

    def test_what_has_no_end_is_not_read(self, tmp_path):
        os.mkfifo(tmp_path / "pipe")
        (tmp_path / "device").symlink_to("/dev/zero")
        for name in ("pipe", "device", "."):
            with pytest.raises(ConfigError, match="expected a plain file"):
                read_text(tmp_path / name)
        with pytest.raises(FileNotFoundError):
            read_text(tmp_path / "missing")


def test_one_line():
    assert one_line("a\n  b\tc") == "a b c"
    assert one_line("\x1b[31mred\x07 é") == "\\x1b[31mred\\x07 é"
    assert one_line("x" * 400) == "x" * 297 + "..."
    assert one_line(ValueError("why"), most=3) == "why"
