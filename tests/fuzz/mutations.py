"""Trees of values and bytes, changed in one to three places into what nobody would write."""

import copy
import datetime
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from hypothesis import strategies as st

Draw = Callable[[Any], Any]

NUMBERS: tuple[Any, ...] = (
    *(
        0,
        -1,
        1,
        2,
        3.5,
        -0.0,
        0.1,
        1e-320,
        1e308,
        -1e308,
        float("nan"),
        float("inf"),
        -float("inf"),
    ),
    *(2**31, 2**53 + 1, 2**63 - 1, 2**63, -(2**63) - 1, 2**64, 10**12, 10**30, 10**400),
)
TEXTS: tuple[Any, ...] = (
    *("", " ", "x", "0", "-1", "1e999", "nan", "NaN", "inf", "null", "True", "lab", "1,2", "../.."),
    *("\n", "a\nb", "\r\n", "\x00", "\x1b[31m", "\u2028", "\ufeff", "\U0001f600", "[bold]", "[/x]"),
    *("{}", "[1]", "=1+1", "<script>", "${HOME}", "%s", "{0}", "$$", "\\boxed{", "</think>", "|||"),
    *(
        "9" * 5000,
        "x" * 5000,
        "[" * 3000,
        "٣",
        "1_000",
        "0x10",
        "gym:",
        "http://",
        "\u202e",
        "a.b.c",
        "#",
    ),
)
OTHERS: tuple[Any, ...] = (True, False, [], {}, [[]], [{}], [1, 2], ["a"], [1, "a"], {"a": 1})
DEEP: Any = "end"
for _ in range(60):
    DEEP = [DEEP]
ANY = (*NUMBERS, *TEXTS, *OTHERS, None, [None], {"a": None}, {"": 0}, DEEP, "\ud800")
OF_TOML = (
    *(*NUMBERS, *TEXTS, *OTHERS, datetime.date(2026, 1, 1), datetime.time(1, 2)),
    *(
        {"name": "truncation"},
        {"name": 1},
        {"a": {"b": {"c": 1}}},
        DEEP,
        datetime.datetime(1, 1, 1),
    ),
)
CHUNKS = (
    *(
        b"",
        b"\xff\xfe",
        b"\x00",
        b"\xef\xbb\xbf",
        b"\n",
        b"\r",
        b"\n\n",
        b'"',
        b"'",
        b"{",
        b"}",
        b"[",
    ),
    *(b"]", b",", b":", b"=", b"nan", b"NaN", b"Infinity", b"1e999", b"-", b"null", b"\\ud800"),
    *(b"9" * 5000, b"[" * 3000, b'{"a":' * 2000, b"\xed\xa0\x80", b"\xf0\x9f\x98\x80", b"\\", b"#"),
    *(b"\x1f\x8b\x08\x00", b"PK\x03\x04", b"BZh9", b"\x28\xb5\x2f\xfd", b"PAR1", b"\xfd7zXZ\x00"),
)
HOW_MANY = (1, 1, 1, 2, 3)


def _places(tree: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield at
    if isinstance(tree, dict | list):
        for key, inner in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield from _places(inner, (*at, key))


def _change(draw: Draw, tree: Any, values: Sequence[Any], *, keep_root: bool) -> Any:
    """The tree, changed in place at one node of it."""
    places = list(_places(tree))[keep_root:]
    if not places:
        return tree
    *above, key = place = draw(st.sampled_from(places)) or (None,)
    if place == (None,):
        return copy.deepcopy(draw(st.sampled_from(values)))
    holder = tree
    for step in above:
        holder = holder[step]
    match draw(st.sampled_from(("set", "set", "set", "set", "drop", "rename", "wrap", "double"))):
        case "set":
            holder[key] = copy.deepcopy(draw(st.sampled_from(values)))
        case "drop":
            del holder[key]
        case "rename" if isinstance(holder, dict):
            name = draw(st.sampled_from([text for text in TEXTS if len(text) < 10]))
            holder[name] = holder.pop(key)
        case "wrap":
            holder[key] = draw(st.sampled_from(([holder[key]], {"a": holder[key]})))
        case _ if isinstance(holder, list):
            holder.insert(key, copy.deepcopy(holder[key]))
        case _:
            holder[f"{key}s"] = copy.deepcopy(holder[key])
    return tree


@st.composite
def changed_tree(
    draw: Draw, tree: Any, *, values: Sequence[Any] = ANY, keep_root: bool = False
) -> Any:
    """A copy of the tree with one to three nodes replaced, dropped, renamed, wrapped or doubled."""
    tree = copy.deepcopy(tree)
    for _ in range(draw(st.sampled_from(HOW_MANY))):
        tree = _change(draw, tree, values, keep_root=keep_root)
    return tree


@st.composite
def changed_bytes(draw: Draw, content: bytes) -> bytes:
    """The bytes with one to three slices cut out, doubled, put in or overwritten, or cut off."""
    for _ in range(draw(st.sampled_from(HOW_MANY))):
        start = draw(st.integers(0, len(content)))
        end = draw(st.integers(start, min(len(content), start + 40)))
        match draw(st.sampled_from(("put", "put", "over", "cut", "double", "end", "flip"))):
            case "put":
                content = content[:start] + draw(st.sampled_from(CHUNKS)) + content[start:]
            case "over":
                content = content[:start] + draw(st.sampled_from(CHUNKS)) + content[end:]
            case "cut":
                content = content[:start] + content[end:]
            case "double":
                content = content[:end] + content[start:]
            case "end":
                content = content[:start]
            case "flip" if start < len(content):
                flipped = bytes([content[start] ^ (1 << draw(st.integers(0, 7)))])
                content = content[:start] + flipped + content[start + 1 :]
    return content
