"""One process at a time writes to a folder."""

import importlib.util
import json
import socket
from pathlib import Path

import pytest

from tersely.core.errors import ConfigError, TerselyWarning
from tersely.core.lock import LOCK_FILE, OWNER_FILE, contents, lock_folder

spec = importlib.util.spec_from_file_location("holding", Path(__file__).with_name("holding.py"))
holding = importlib.util.module_from_spec(spec)
spec.loader.exec_module(holding)


def test_the_second_process_is_told_who_holds_the_folder_and_what_to_do(tmp_path):
    with holding.held(tmp_path / "run") as other:
        with pytest.raises(ConfigError) as caught, lock_folder(tmp_path / "run"):
            pass
        assert (tmp_path / "run" / OWNER_FILE).is_file()
    for words in (f"process {other.pid}", socket.gethostname(), "since 20", "wait for it or stop"):
        assert words in str(caught.value)


def test_a_lock_whose_owner_was_killed_is_taken_over(tmp_path):
    with holding.held(tmp_path / "run"):
        pass
    assert (tmp_path / "run" / LOCK_FILE).is_file()
    with lock_folder(tmp_path / "run"):
        assert json.loads((tmp_path / "run" / OWNER_FILE).read_text())["host"]
    assert list((tmp_path / "run").iterdir()) == []


def test_a_killed_owner_on_another_machine_is_named_in_a_warning(tmp_path):
    owner = {"pid": 7, "host": "elsewhere", "since": "2026-01-01T00:00:00+00:00"}
    (tmp_path / OWNER_FILE).write_text(json.dumps(owner))
    with pytest.warns(TerselyWarning, match="process 7 on elsewhere since 2026"):  # noqa: SIM117
        with lock_folder(tmp_path):
            pass


def test_a_folder_in_which_nothing_was_written_is_gone_again(tmp_path):
    with lock_folder(tmp_path / "run"):
        assert contents(tmp_path / "run") == []
    assert not (tmp_path / "run").exists()


def test_a_drive_without_locks_is_warned_of_and_written_to(tmp_path, monkeypatch):
    def none(_):
        raise OSError(37, "No locks available")

    monkeypatch.setattr("tersely.core.lock.FileLock.acquire", none)
    with pytest.warns(TerselyWarning, match="cannot lock"), lock_folder(tmp_path / "run"):
        (tmp_path / "run" / "written").touch()
    assert contents(tmp_path / "run") == ["written"]
