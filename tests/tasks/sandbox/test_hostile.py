"""What hostile programs try in bubblewrap. None of it may succeed, cost more than its limit, or be
there for the next program."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tersely.tasks import sandbox
from tersely.tasks.sandbox import End, Isolation, Limits, ProgramOutcome, commands
from tersely.tasks.sandbox.choice import fault

SHORT = Limits(wall_s=1.0, cpu_s=1, memory_bytes=256 << 20, processes=8, output_bytes=1 << 20)
# Starting and stopping a sandbox on a busy machine, beyond the program's own limit.
SLACK_S = 8.0


@pytest.fixture
def isolation() -> Isolation:
    """Bubblewrap, if it starts here. A promise that it breaks is no reason to skip."""
    reason = fault()
    if reason == "not installed" or reason.endswith("did not start"):
        pytest.skip(f"bubblewrap: {reason}")
    assert not reason
    return Isolation.BUBBLEWRAP


def run(isolation: Isolation, program: str, *, limits: Limits = SHORT) -> ProgramOutcome:
    """Runs it; asserts that it costs at most its limit, and leaves no process of its own."""
    before = sandboxed()
    begin = time.monotonic()
    outcome = sandbox.run(program, isolation=isolation, limits=limits)
    assert time.monotonic() - begin < limits.wall_s + SLACK_S
    assert sandboxed() <= before
    return outcome


def sandboxed() -> set[int]:
    """Processes of any sandbox that still run; what is dead but not yet reaped has no command."""
    found = set()
    for folder in Path("/proc").iterdir():
        try:
            if b"/sandbox/child.py" in (folder / "cmdline").read_bytes():
                found.add(int(folder.name))
        except OSError:
            continue
    return found


def test_bubblewrap_is_found_where_it_holds(isolation: Isolation) -> None:
    assert sandbox.find() is isolation


def test_a_plain_program_reads_its_input_and_writes_its_output(isolation: Isolation) -> None:
    got = sandbox.run("print(input()[::-1])\nexit(3)", isolation=isolation, stdin=b"abc\n")
    assert got == ProgramOutcome(End.DONE, b"cba\n")


def test_an_exception_is_a_failure_and_what_was_written_before_is_kept(
    isolation: Isolation,
) -> None:
    assert run(isolation, "print(1, flush=True)\n1/0") == ProgramOutcome(End.FAILED, b"1\n")


def test_a_fork_bomb_ends_at_the_process_limit(isolation: Isolation) -> None:
    bomb = """
import os, time
made = 0
try:
    while True:
        if os.fork() == 0:
            time.sleep(60)
        made += 1
except OSError:
    print(made, flush=True)
"""
    got = run(isolation, bomb)
    assert got.end is End.DONE
    assert 0 < int(got.stdout) < SHORT.processes


def test_a_fork_bomb_that_never_stops_ends_with_its_time(isolation: Isolation) -> None:
    bomb = """
import os
while True:
    try:
        os.fork()
    except OSError:
        pass
"""
    assert run(isolation, bomb).end is End.TIME


def test_endless_output_is_cut(isolation: Isolation) -> None:
    got = run(isolation, "while True: print('x' * 10000)")
    assert got.end is End.OUTPUT
    assert len(got.stdout) < SHORT.output_bytes + (1 << 17)


@pytest.mark.parametrize("program", ["while True: pass", "import time; time.sleep(999)"])
def test_burning_and_sleeping_end_with_their_time(isolation: Isolation, program: str) -> None:
    assert run(isolation, program).end is End.TIME


def test_closing_the_output_does_not_lengthen_the_time(isolation: Isolation) -> None:
    assert run(isolation, "import os, time; os.close(1); time.sleep(999)").end is End.TIME


def test_ignored_signals_do_not_lengthen_the_time(isolation: Isolation) -> None:
    program = """
import signal
for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
    signal.signal(number, signal.SIG_IGN)
while True: pass
"""
    assert run(isolation, program).end is End.TIME


def test_a_memory_bomb_fails_in_one_process_and_in_many(isolation: Isolation) -> None:
    assert run(isolation, "x = bytearray(1 << 40)").end is End.FAILED
    growing = run(isolation, "x = []\nwhile True: x.append(bytearray(1 << 20))")
    assert growing.end in (End.FAILED, End.MEMORY)
    many = """
import os, time
for _ in range(4):
    if os.fork() == 0:
        break
x = bytearray(b"x") * (150 << 20)
time.sleep(60)
"""
    assert run(isolation, many, limits=SHORT._replace(wall_s=5.0)).end is End.MEMORY


def test_memory_outside_a_process_is_not_to_be_had(isolation: Isolation) -> None:
    program = """
import ctypes, os
try:
    os.memfd_create("x")
    print("memfd")
except OSError:
    pass
if ctypes.CDLL(None).shmget(0, 1 << 20, 0o1600) >= 0:
    print("shared memory")
"""
    assert run(isolation, program) == ProgramOutcome(End.DONE, b"")


def test_the_scratch_folder_is_small_and_empty_again_for_the_next(isolation: Isolation) -> None:
    program = """
import os
print(os.listdir("."))
written = 0
try:
    for number in range(100):
        with open(str(number), "wb", buffering=0) as file:
            written += file.write(b"x" * (1 << 20))
except OSError:
    print(written >> 20, flush=True)
"""
    limits = SHORT._replace(scratch_bytes=4 << 20, wall_s=5.0)
    for _ in range(2):
        got = run(isolation, program, limits=limits)
        assert got == ProgramOutcome(End.DONE, b"[]\n4\n")


@pytest.mark.parametrize(
    "make",
    ["open(name, 'w').close()", "os.mkdir(name)", "os.symlink('x', name)", "os.link('x', name)"],
    ids=["files", "folders", "symlinks", "hard links"],
)
def test_files_without_end_are_stopped_at_their_number(isolation: Isolation, make: str) -> None:
    program = f"""
import itertools, os
open("x", "w").close()
for number in itertools.count():
    name = str(number)
    {make}
    if number % 1000 == 0:
        print(number, flush=True)
"""
    got = run(isolation, program, limits=SHORT._replace(wall_s=60.0, cpu_s=60, scratch_files=5000))
    assert got.end is End.FILES
    assert int(got.stdout.split()[-1]) < 500_000


def test_a_file_longer_than_its_limit_fails(isolation: Isolation) -> None:
    program = "open('x', 'wb').write(b'x' * (1 << 20))"
    assert run(isolation, program, limits=SHORT._replace(file_bytes=1 << 16)).end is End.FAILED


def test_nothing_outside_the_scratch_folder_can_be_written(
    isolation: Isolation, tmp_path: Path
) -> None:
    code = Path(sandbox.__file__).parent
    places = ["/", "/usr", "/dev", "/dev/shm", "/proc/sys/kernel", "/sandbox", "/packages"]
    places += [str(tmp_path), str(code), str(Path.home()), "/proc/self/root", "/tmp/../usr"]
    program = f"""
import os
for place in {places!r}:
    try:
        open(place + "/written", "w").close()
        print(place)
    except OSError:
        pass
for file in ("/sandbox/child.py", os.__file__, "/usr/bin/env", "/proc/sys/kernel/hostname"):
    try:
        open(file, "r+").close()
        print(file)
    except OSError:
        pass
"""
    assert run(isolation, program) == ProgramOutcome(End.DONE, b"")
    assert not list(tmp_path.iterdir())


def test_what_is_shown_cannot_be_written_by_anyone(
    isolation: Isolation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o777)
    file = tmp_path / "file"
    file.touch()
    file.chmod(0o666)
    shown = (*commands.readable(), (str(tmp_path), "/shown"))
    monkeypatch.setattr(commands, "readable", lambda: shown)
    program = """
import os
print(os.listdir("/shown"))
for path in ("/shown/file", "/shown/new"):
    try:
        open(path, "w").close()
        print("written", path)
    except OSError as error:
        print(error.errno == 30)
"""
    assert run(isolation, program) == ProgramOutcome(End.DONE, b"['file']\nTrue\nTrue\n")


def test_symlinks_and_hard_links_do_not_lead_out(isolation: Isolation, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    program = f"""
import os
os.symlink({str(tmp_path)!r}, "out")
os.symlink("/usr", "usr")
for path in ("out/secret", "out/new", "usr/new", "/proc/1/root{secret}", "/proc/1/cwd/..{secret}"):
    for mode in ("r", "w"):
        try:
            open(path, mode).close()
            print(path, mode)
        except OSError:
            pass
try:
    os.link("/usr/bin/env", "env")
    print("linked")
except OSError:
    pass
"""
    assert run(isolation, program) == ProgramOutcome(End.DONE, b"")
    assert [file.name for file in tmp_path.iterdir()] == ["secret"]


def test_the_python_library_can_be_read_and_the_home_folder_cannot(isolation: Isolation) -> None:
    program = f"""
import os, json, numpy
print(json.dumps(int(numpy.arange(4).sum())), os.path.isfile(os.__file__))
print([name for name in ("{Path.home()}/.bashrc", "/etc/passwd", "/etc/shadow", "{__file__}")
       if os.path.exists(name)])
print(sorted(os.environ))
"""
    got = run(isolation, program, limits=Limits(wall_s=10.0))
    lines = got.stdout.decode().splitlines()
    assert lines[:2] == ["6 True", "[]"]
    assert "LANG" in lines[2]
    assert "TOKEN" not in lines[2]


def test_no_host_can_be_reached_not_even_this_one(isolation: Isolation) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        program = f"""
import socket
for address in (("127.0.0.1", {port}), ("1.1.1.1", 53), ("localhost", {port})):
    try:
        socket.create_connection(address, 1)
        print("connected", address)
    except OSError:
        pass
"""
        assert run(isolation, program) == ProgramOutcome(End.DONE, b"")


def test_killing_everyone_and_the_parent_hits_nobody_outside(isolation: Isolation) -> None:
    program = f"""
import os, signal
for target in (os.getppid(), 1, {os.getpid()}, -1):
    try:
        os.kill(target, signal.SIGKILL)
    except OSError:
        pass
print("alive", flush=True)
"""
    got = run(isolation, program)
    assert got.end in (End.DONE, End.FAILED)
    assert sandbox.run("print(1)", isolation=isolation).stdout == b"1\n"


@pytest.mark.parametrize("way", ["fork", "double fork", "setsid"])
def test_background_processes_end_with_the_program(isolation: Isolation, way: str) -> None:
    program = f"""
import os, time
if os.fork() == 0:
    if {way!r} == "setsid":
        os.setsid()
    if {way!r} != "fork" and os.fork():
        os._exit(0)
    os.close(1)
    time.sleep(999)
print("done", flush=True)
"""
    begin = time.monotonic()
    assert run(isolation, program, limits=Limits()) == ProgramOutcome(End.DONE, b"done\n")
    assert time.monotonic() - begin < Limits().wall_s


def test_a_background_process_that_holds_the_output_open_does_not_hold_up(
    isolation: Isolation,
) -> None:
    program = """
import os, time
if os.fork() == 0:
    os.setsid()
    time.sleep(999)
print("done", flush=True)
"""
    got = run(isolation, program)
    assert got == ProgramOutcome(End.DONE, b"done\n")


def test_privileges_cannot_be_had_again(isolation: Isolation) -> None:
    program = """
import ctypes, os, subprocess
libc = ctypes.CDLL(None)
print(libc.unshare(0x10000000), libc.mount(b"none", b"/tmp", b"tmpfs", 0, 0), libc.chroot(b"/"))
with open("/proc/self/status") as file:
    print(*(line.split()[1] for line in file if line.startswith(("CapEff", "NoNewPrivs"))))
print(subprocess.run(["/usr/bin/id", "-u"], capture_output=True, text=True).stdout.strip() == "0")
"""
    want = b"-1 -1 -1\n0000000000000000 1\n" + (b"False\n")
    assert run(isolation, program) == ProgramOutcome(End.DONE, want)


def test_an_interrupt_leaves_no_process(isolation: Isolation) -> None:
    before = sandboxed()

    def interrupted() -> None:
        with sandbox.SandboxedProcess(
            "import time; time.sleep(999)", isolation=isolation, mode="serve", limits=SHORT
        ):
            assert sandboxed() > before
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert sandboxed() <= before


def test_a_sandbox_dies_with_the_process_that_started_it(isolation: Isolation) -> None:
    before = sandboxed()
    start = """
import os, signal
from tersely.tasks.sandbox import Isolation, Limits, SandboxedProcess
held = SandboxedProcess("import time; time.sleep(999)", isolation=Isolation.BUBBLEWRAP,
                        mode="run", limits=Limits(), stdin=b"")
os.kill(os.getpid(), signal.SIGKILL)
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", start], env=environment, check=False)
    assert done.returncode == -signal.SIGKILL
    ends_at = time.monotonic() + SLACK_S
    while sandboxed() - before and time.monotonic() < ends_at:
        time.sleep(0.05)
    assert sandboxed() <= before


def test_sandboxes_leave_no_open_file(isolation: Isolation) -> None:
    count = len(os.listdir("/proc/self/fd"))
    for program in ("print(1)", "1/0", "while True: print(1)"):
        run(isolation, program)
    assert len(os.listdir("/proc/self/fd")) == count
