"""The chart library: the same from the cache, from a process begun early, and made at once."""

import sys

import pytest

from tersely.report.pages import library as module


@pytest.fixture
def made(tmp_path, monkeypatch):
    """Counts what is made in this process; no library is as long as a real one."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(module, "_begun", [])
    module.library.cache_clear()
    calls = []

    def bundle(*, vl_version):
        calls.append(vl_version)
        return "here</script>"

    monkeypatch.setattr("vl_convert.javascript_bundle", bundle)
    yield calls
    module.library.cache_clear()


def test_what_was_begun_is_taken_and_kept(made, monkeypatch):
    monkeypatch.setattr(
        module, "_MAKE", "import sys; sys.stdout.write('ä' * 200_000 + sys.argv[1])"
    )
    module.begin_library()
    assert module.library() == "ä" * 200_000 + module.VEGA_LITE
    module.begin_library()
    assert module._begun == []
    module.library.cache_clear()
    assert module.library() == "ä" * 200_000 + module.VEGA_LITE
    assert made == []


@pytest.mark.parametrize("broken", ["import no_such_module", "print('half'); raise SystemExit(1)"])
def test_where_that_fails_it_is_made_here(made, monkeypatch, broken):
    monkeypatch.setattr(module, "_MAKE", broken)
    module.begin_library()
    assert module.library() == "here<\\/script>"
    assert made == [module.VEGA_LITE]


def test_no_process_is_begun_where_none_can_be(made, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    module.begin_library()
    assert module.library() == "here<\\/script>"


def test_the_process_makes_the_library_itself(made, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(module, "kept", lambda name: None)
    module.begin_library()
    text, _ = module._begun.pop().communicate()
    assert "vega" in text
    assert len(text) > 500_000
