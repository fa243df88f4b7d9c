"""The user's cache: made once, read whole, and never in the way."""

import pytest

from tersely.core.cache import cached


@pytest.fixture
def calls(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return []


def test_a_text_is_made_once_and_then_read(calls, tmp_path):
    for _ in range(3):
        assert cached("a-1.js", lambda: calls.append(1) or "ä\r\nb") == "ä\r\nb"
    assert calls == [1]
    assert [file.name for file in (tmp_path / "tersely").iterdir()] == ["a-1.js"]
    assert cached("a-2.js", lambda: "another version") == "another version"


@pytest.mark.parametrize("left", [b"", b"\xff\xff", b"half", b"0" * 64 + b"\ntext"])
def test_a_file_that_is_not_whole_is_made_again(calls, tmp_path, left):
    cached("a.js", lambda: "text")
    (tmp_path / "tersely" / "a.js").write_bytes(left)
    assert cached("a.js", lambda: calls.append(1) or "text") == "text"
    assert calls == [1]
    assert cached("a.js", lambda: calls.append(1) or "text") == "text"
    assert calls == [1]


def test_without_a_cache_to_write_the_text_is_made(calls, tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    assert cached("a.js", lambda: "text") == "text"
    assert blocked.read_text() == "no folder"
