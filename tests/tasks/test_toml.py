import time
import tomllib

import pytest

from quanta.tasks.config import MAX_TEXT_BYTES, ConfigError
from quanta.tasks.toml import parse_toml, parse_value

SOUND = """
title = "a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q.r.s.t"  # u.v.w.x.y.z.a.b.c.d.e.f.g.h.i.j.k
a.b.c = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8]
prose = '''
One. Two. Three. Four. Five. Six. Seven. Eight. Nine. Ten. Eleven. Twelve. Thirteen. Fourteen. Fifteen. More.
'''
"quoted.key" = '...................'
[section.of."three.parts"]
inline = {x.y = 1, z.w = 2}
escaped = "a \\" quote..................."
"""


def test_reads_what_tomllib_reads():
    assert parse_toml(SOUND) == tomllib.loads(SOUND)
    assert parse_toml("") == {}


def test_keys_of_as_many_parts_as_allowed():
    key = ".".join("abcdefghijklmnop")
    assert parse_toml(f"{key} = 1") == tomllib.loads(f"{key} = 1")


LONG = MAX_TEXT_BYTES // 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (".".join("abcdefghijklmnopq") + " = 1", "a key must have at most 16 parts, not 17"),
        ("a." * LONG + "a=1", f"a key must have at most 16 parts, not {LONG + 1}"),
        ('"a".' * (LONG // 2) + "a=1", "a key must have at most 16 parts"),
        ("[" + "a." * LONG + "a]", "a key must have at most 16 parts"),
        ("x = {" + "a." * LONG + "a=1}", "a key must have at most 16 parts"),
        ("a = " + "[" * LONG, "it is nested too deeply"),
        ("a = " + "{a=" * (LONG // 3), "it is nested too deeply"),
        ("a = " + "1" * 5000, "Exceeds the limit"),
        ("a = ", "Invalid value"),
        ("a = 1\na = 2", "Cannot overwrite a value"),
        ("[a]\n[a]", "Cannot declare"),
        ('"\\u001b' + "x" * 1000 + '" = 1\n"\\u001b' + "x" * 1000 + '".y = 1', "Cannot"),
        *(
            ("a = " + text * (LONG // len(text)), "")
            for text in ('"', "'", '"""\\', '\\"', "\n", "[\n", '"\n')
        ),
    ],
    ids=range(19),
)
def test_anything_else_is_refused_in_one_line_and_in_time(text, message):
    started = time.perf_counter()
    with pytest.raises(ConfigError) as caught:
        parse_toml(text)
    # A million parts of a key would take hours. Here everything takes under a second on a free machine.
    assert time.perf_counter() - started < 20
    line = str(caught.value)
    assert message in line
    assert line.isprintable()
    assert len(line) <= 300


class TestValue:
    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("3", 3),
            (" 0x10\n", 16),
            ("1_000", 1000),
            ("1e-3", 1e-3),
            ("[0,\n 1]", [0, 1]),
            ('"two words"', "two words"),
            ("uniform", "uniform"),
            ("my own words", "my own words"),
            ("C#", "C#"),
            ("{ k = [1, [2]] }", {"k": [1, [2]]}),
            ("", ""),
            (".5", ".5"),
        ],
    )
    def test_of_toml_or_a_word(self, text, value):
        assert parse_value(text) == value

    @pytest.mark.parametrize(
        "text",
        ["[0, 1", '"x', "'x", "{a = 1", "5\nseed = 0", "5\n[training]", "one\ntwo", '"a" "b"', "[1] 2"],
    )
    def test_what_is_begun_or_more_than_one_is_refused_whole(self, text):
        with pytest.raises(ConfigError, match=r"^expected (one value|a value of TOML, or a word), found "):
            parse_value(text)
