"""Files that are not as they were written are named when they are read."""

import pytest

from tersely.core.digests import DIGESTS_FILE, check_digests, note_digests
from tersely.core.errors import DataError

LINES = b'{"a":1}\n{"a":2}\n{"a":3}\n'


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "records.jsonl").write_bytes(LINES)
    (tmp_path / "model.safetensors").write_bytes(bytes(3000))
    files = {name: tmp_path / name for name in ("records.jsonl", "model.safetensors")}
    note_digests(tmp_path, files)
    check_digests(tmp_path)
    return tmp_path


def flip(file):
    content = bytearray(file.read_bytes())
    content[1500] ^= 4
    file.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (lambda d: flip(d / "model.safetensors"), "model.safetensors is not as it was written"),
        (lambda d: (d / "model.safetensors").unlink(), "model.safetensors is missing"),
        (lambda d: (d / "records.jsonl").write_bytes(LINES[:8] + LINES[16:]), "has 16 bytes"),
        (lambda d: (d / "records.jsonl").write_bytes(LINES + LINES[:8]), "has 32 bytes"),
        (lambda d: (d / "records.jsonl").write_bytes(LINES.replace(b"2", b"9")), "SHA-256"),
        (lambda d: (d / DIGESTS_FILE).write_text("{"), "is damaged"),
        (lambda d: (d / DIGESTS_FILE).write_text('{"schema": 1, "files": {"a": 1}}'), "damaged"),
        (lambda d: (d / DIGESTS_FILE).write_text('{"schema": 9, "files": {}}'), "schema 9"),
    ],
)
def test_damage_is_named_with_the_way_on(folder, damage, named):
    damage(folder)
    with pytest.raises(DataError, match=named) as caught:
        check_digests(folder)
    assert "delete" in str(caught.value)
    (folder / DIGESTS_FILE).unlink()  # and it works
    check_digests(folder)


def test_a_line_that_a_crash_tore_is_left_to_whoever_reads_the_file(folder):
    (folder / "records.jsonl").write_bytes(LINES[:-3])
    check_digests(folder)


def test_a_file_that_grows_is_held_to_what_it_began_with(folder):
    log = folder / "steps.jsonl"
    log.write_bytes(LINES)
    note_digests(folder, {"steps.jsonl": log}, growing=["steps.jsonl"])
    log.write_bytes(LINES + LINES)
    check_digests(folder)
    log.write_bytes(LINES[:-3])
    with pytest.raises(DataError, match=r"steps\.jsonl has 21 bytes, and 24 were written"):
        check_digests(folder)
