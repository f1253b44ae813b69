"""toml_lines against tomllib: it finds every key, at the line where it was written, in whatever form TOML allows."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.core import toml_lines
from server.core.errors import Fault

# What a key or a string may hold: quotes, dots, brackets, comment signs, escapes and line ends are what could mislead.
TEXT = st.text(st.sampled_from("ab-_ .\"'[]{}=#,\\\n\tß"), max_size=8)
SCALARS = st.one_of(
    TEXT.map(lambda text: ("text", text)),
    st.sampled_from(["1", "-2.5", "true", "1979-05-27 07:32:00", "1979-05-27T07:32:00Z", "0xff", "inf"]).map(
        lambda raw: ("raw", raw)
    ),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: ("array", items)),
        st.dictionaries(TEXT, inner, max_size=3).map(lambda items: ("inline", items)),
    ),
    max_leaves=6,
)
TABLES = st.recursive(
    st.dictionaries(TEXT, VALUES, max_size=3).map(lambda keys: (keys, {}, {})),
    lambda inner: st.tuples(
        st.dictionaries(TEXT, VALUES, max_size=2),
        st.dictionaries(TEXT, inner, max_size=2),
        st.dictionaries(TEXT, st.lists(inner, min_size=1, max_size=2), max_size=2),
    ),
    max_leaves=4,
)


def basic(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{escaped}"'


class Writer:
    """Writes TOML in drawn forms, and notes the line of each key as it goes."""

    def __init__(self, data: st.DataObject) -> None:
        self.data = data
        self.text = ""
        self.expected: dict[tuple[str | int, ...], int] = {}

    def choose(self, *choices: Any) -> Any:
        return self.data.draw(st.sampled_from(choices))

    def note(self, key: tuple[str | int, ...]) -> None:
        self.expected[key] = self.text.count("\n") + 1

    def key(self, name: str) -> str:
        forms = [basic(name)]
        if name and all(char in "ab-_" for char in name):
            forms.append(name)
        if "'" not in name and "\n" not in name:
            forms.append(f"'{name}'")
        return str(self.choose(*forms))

    def string(self, text: str) -> str:
        forms = [basic(text)]
        if "'" not in text:
            forms.append(f"'''\n{text}'''")
        if "'" not in text and "\n" not in text:
            forms.append(f"'{text}'")
        if not text.endswith('"') and '""' not in text:
            forms.append('"""\n' + text.replace("\\", "\\\\") + '"""')
            forms.append('"""\\\n   ' + (text.replace("\\", "\\\\") if text[:1] not in " \n\t" else "x") + '"""')
        return str(self.choose(*forms))

    def value(self, key: tuple[str | int, ...], value: tuple[str, Any]) -> None:
        kind, said = value
        if kind == "text":
            self.text += self.string(said)
        elif kind == "raw":
            self.text += said
        elif kind == "array":
            self.text += "["
            for number, item in enumerate(said):
                self.text += self.choose("", "\n", " # ] not the end\n  ")
                self.note((*key, number))
                self.value((*key, number), item)
                self.text += self.choose(",", " ,", "\n,")
            self.text += self.choose("]", "\n]")
        else:
            self.text += "{"
            for number, (name, item) in enumerate(said.items()):
                self.text += ", " if number else " "
                self.note((*key, name))
                self.text += f"{self.key(name)} = "
                self.value((*key, name), item)
            self.text += "}"

    def table(self, key: tuple[str | int, ...], names: tuple[str, ...], table: Any) -> None:
        keys, tables, arrays = table
        taken = {**arrays, **tables, **keys}
        for name, item in keys.items():
            self.note((*key, name))
            self.text += f"{self.key(name)} = "
            self.value((*key, name), item)
            self.text += self.choose("\n", " # a = 1\n", "\n\n")
        for name, inner in tables.items():
            if taken[name] is inner:
                self.note((*key, name))
                self.text += f"[{' . '.join(map(self.key, (*names, name)))}]\n"
                self.table((*key, name), (*names, name), inner)
        for name, items in arrays.items():
            if taken[name] is items:
                for number, inner in enumerate(items):
                    if number == 0:
                        self.note((*key, name))
                    self.note((*key, name, number))
                    self.text += f"[[{'.'.join(map(self.key, (*names, name)))}]]\n"
                    self.table((*key, name, number), (*names, name), inner)


def paths(value: Any, key: tuple[str | int, ...] = ()) -> set[tuple[str | int, ...]]:
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = {key} if key else set()
    for name, inner in pairs:
        found |= paths(inner, (*key, name))
    return found


@settings(max_examples=150, deadline=None)
@given(st.data(), TABLES)
def test_every_key_is_found_at_its_line(data: st.DataObject, table: Any) -> None:
    writer = Writer(data)
    writer.table((), (), table)
    read = tomllib.loads(writer.text)
    found = toml_lines.lines(writer.text)
    assert found == writer.expected
    assert set(found) == paths(read)


@settings(max_examples=200, deadline=None)
@given(st.text(st.sampled_from("ab.=[]{}\"'#,\\\n 1"), max_size=30))
def test_whatever_tomllib_takes_is_walked_to_its_end(text: str) -> None:
    found = toml_lines.read("f", text.encode())
    try:
        read = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        assert isinstance(found, Fault)
        return
    assert isinstance(found, toml_lines.Document)
    assert set(found.lines) == paths(read)


def test_dotted_keys_name_each_part_and_array_tables_their_newest_element() -> None:
    text = 'a.b = 1\na.c = 2\n[[x]]\nn = 1\n[[x]]\n[x.y]\nz = """\n]\n"""\nw = 1\n'
    assert toml_lines.lines(text) == {
        ("a",): 1, ("a", "b"): 1, ("a", "c"): 2, ("x",): 3, ("x", 0): 3, ("x", 0, "n"): 4, ("x", 1): 5,
        ("x", 1, "y"): 6, ("x", 1, "y", "z"): 7, ("x", 1, "y", "w"): 10,
    }  # fmt: skip


def test_an_implied_table_has_the_line_of_what_implies_it_until_it_has_a_header() -> None:
    assert toml_lines.lines("\n[a.b]\n[c.d]\n[[e.f]]\n[c]\n") == {
        ("a",): 2, ("a", "b"): 2, ("c", "d"): 3, ("e",): 4, ("e", "f"): 4, ("e", "f", 0): 4, ("c",): 5,
    }  # fmt: skip


def test_a_missing_key_has_the_line_of_what_is_around_it() -> None:
    document = toml_lines.read("f", b"\n[a]\nb = [1]\n")
    assert isinstance(document, toml_lines.Document)
    assert (document.line("a", "x"), document.line("a", "b", 7), document.line("q")) == (2, 3, 0)


@pytest.mark.parametrize(
    ("content", "line", "text"),
    [
        (b"a = 1\nb = \n", 2, "is not TOML"),
        (b"a = 1\na = 2\n", 2, "is not TOML"),
        (b"a = [1,\n", 1, "end of the file"),
        (b"a = 1\r\nb = }\r\n", 2, "is not TOML"),
        (b'ok = 1\nbad = "\xff"\n', 2, "not UTF-8"),
        (b"a = " + b"[" * 5000, 0, "nested too deeply"),
        (b"a = " + b"1" * 5000, 0, "cannot be read"),
        (b"\n" + b"a." * 40000 + b"a = 1\n", 2, "dotted names"),
        (b"#" * (toml_lines.LARGEST + 1), 0, "more than a fleet's file may have"),
    ],
)
def test_what_is_no_toml_is_one_fault_with_its_line(content: bytes, line: int, text: str) -> None:
    fault = toml_lines.read("f.toml", content)
    assert isinstance(fault, Fault)
    assert (fault.path, fault.line) == ("f.toml", line)
    assert text in fault.text
    assert "\n" not in fault.text
