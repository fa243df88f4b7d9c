"""What hostile programs try in bubblewrap. None of it may succeed, cost more than its limit, or be
there for the next program."""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tersely.core.types import Grade
from tersely.tasks import sandbox
from tersely.tasks.grading.code import grade
from tersely.tasks.sandbox import (
    End,
    Isolation,
    Limits,
    ProgramOutcome,
    SandboxedProcess,
    cell,
    commands,
)
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
    """Runs it; asserts that it costs at most its limit, and leaves no process of its own, whatever
    that has become."""
    begin = time.monotonic()
    with SandboxedProcess(
        program, isolation=isolation, mode="run", limits=limits, stdin=b""
    ) as process:
        spaces = own_namespaces()
        outcome = process.finish()
    assert time.monotonic() - begin < limits.wall_s + SLACK_S
    left = [folder for folder in Path("/proc").iterdir() if namespace(folder) in spaces.values()]
    for handle in spaces:
        os.close(handle)
    assert not left
    return outcome


def own_namespaces() -> dict[int, int]:
    """The process namespaces that descend from this process, by handles that keep their numbers
    from being given to others."""
    ours, handles = namespace(Path("/proc/self")), {}
    for folder in cell._family(os.getpid()):
        if namespace(folder) not in (None, ours):
            with suppress(OSError):
                handle = os.open(folder / "ns/pid", os.O_RDONLY)
                handles[handle] = os.fstat(handle).st_ino
    return handles


def namespace(folder: Path) -> int | None:
    """The process namespace of a process that runs; what is dead but not yet reaped has none."""
    try:
        state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
        return None if state in "ZX" else (folder / "ns/pid").stat().st_ino
    except OSError:
        return None


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
    # With time enough to reach its bound on a busy machine.
    longer = SHORT._replace(wall_s=10.0, cpu_s=10)
    growing = run(isolation, "x = []\nwhile True: x.append(bytearray(1 << 20))", limits=longer)
    assert growing.end in (End.FAILED, End.MEMORY)
    many = """
import os, time
for _ in range(4):
    if os.fork() == 0:
        break
x = bytearray(b"x") * (150 << 20)
time.sleep(60)
"""
    assert run(isolation, many, limits=SHORT._replace(wall_s=30.0)).end is End.MEMORY


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
    # On a busy machine it can be over its limit before anything that it said was read.
    assert int([b"0", *got.stdout.split()][-1]) < 500_000


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


OUTLASTS = {
    "a loop in C that lets no signal in": "sum(iter(int, 1))",
    "blocked signals": "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\n"
    "while True: pass",
    "stopping itself": "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)",
    "stopping all others": "import os, signal, time\nif os.fork() == 0: time.sleep(99)\n"
    "os.kill(-1, signal.SIGSTOP)\ntime.sleep(99)",
    "a thread left running": "import threading, time\n"
    "threading.Thread(target=time.sleep, args=(99,)).start()",
    "an exit handler": "import atexit, time\natexit.register(time.sleep, 99)",
    "an endless finaliser": "class E:\n    def __del__(self):\n        while True: pass\ne = E()",
    "a pipe file that nobody writes": "import os\nos.mkfifo('x')\nopen('x')",
    "a lock held by itself": "import threading\nlock = threading.Lock()\n"
    "lock.acquire()\nlock.acquire()",
    "a deadlock of exits": "import os, time\nwhile True:\n    try: time.sleep(99)\n"
    "    except BaseException: pass",
    "errors without end": "import sys\nwhile True: print('x' * 10000, file=sys.stderr)",
    "an endless generator": "for _ in iter(lambda: 0, 1): pass",
    "an interval timer that goes off for ever": "import signal\n"
    "signal.signal(signal.SIGALRM, lambda *a: None)\n"
    "signal.setitimer(signal.ITIMER_REAL, 1e-4, 1e-4)\nwhile True: signal.pause()",
    "a new name and program": "import os\nos.execve('/bin/sleep', ['x', '99'], {})",
}


@pytest.mark.parametrize("way", OUTLASTS)
def test_nothing_outlasts_the_time(isolation: Isolation, way: str) -> None:
    limits = SHORT._replace(wall_s=0.5)
    assert run(isolation, OUTLASTS[way], limits=limits).end is End.TIME


BREAKS = {
    "deep recursion": "def f(n): return f(n + 1)\nf(0)",
    "recursion past the stack": "import sys\nsys.setrecursionlimit(10**9)\n"
    "class E:\n    def __repr__(self): return repr([self])\nrepr(E())",
    "a read at address zero": "import ctypes\nctypes.string_at(0)",
    "an abort": "import os\nos.abort()",
    "source that does not compile": "(" * 10000,
    "a zero byte in the source": "print(1)\0",
    "half a surrogate in the source": "x = '\ud800'; 1/0",
    "a sparse file": "import os\nos.truncate(os.open('x', os.O_RDWR | os.O_CREAT), 1 << 40)",
    "allocated disk": "import os\n"
    "os.posix_fallocate(os.open('x', os.O_RDWR | os.O_CREAT), 0, 1 << 40)",
    "an endless device": "open('/dev/zero', 'rb').read()",
    "mapped memory": "import mmap\nmmap.mmap(-1, 1 << 40)",
    "a huge number": "print(9 ** (9 ** 9) % 7)\nx = 1 << (1 << 40)",
    "input made longer": "import os\nos.ftruncate(0, 1 << 40)",
    "threads without end": "import threading, time\n"
    "while True: threading.Thread(target=time.sleep, args=(9,), daemon=True).start()",
    "the end of its own signal": "import os, signal\nos.kill(os.getpid(), signal.SIGXCPU)",
}


@pytest.mark.parametrize("way", BREAKS)
def test_what_breaks_the_program_breaks_nothing_else(isolation: Isolation, way: str) -> None:
    got = run(isolation, BREAKS[way], limits=SHORT._replace(wall_s=2.0, cpu_s=2))
    assert got.end in (End.FAILED, End.MEMORY, End.TIME)
    assert got.stdout == b""
    assert sandbox.run("print(1)", isolation=isolation).stdout == b"1\n"


# Each prints a line for whatever it should not have got.
REACHES = {
    "a child for every zombie left": """
import os
made = 0
try:
    while made < 1000:
        if os.fork() == 0:
            os._exit(0)
        made += 1
    print("zombies")
except OSError:
    pass
""",
    "inherited descriptors": """
import os
for number in range(3, 4096):
    try:
        os.fstat(number)
        print(number)
    except OSError:
        pass
""",
    "secrets of the environment and of other processes": """
import os
for pid in [name for name in os.listdir("/proc") if name.isdigit()] + ["self", "thread-self"]:
    for file in ("environ", "cmdline", "mem", "maps", "fd/3"):
        try:
            if b"S3CRET" in open(f"/proc/{pid}/{file}", "rb").read(1 << 16):
                print(pid, file)
        except OSError:
            pass
if "S3CRET" in str(os.environ):
    print("environment")
""",
    "datagrams": """
import socket
for address in (("127.0.0.1", PORT), ("1.1.1.1", 53), ("255.255.255.255", 9)):
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            sender.sendto(b"x", address)
            if address[0] != "127.0.0.1":
                print("sent", address)
    except OSError:
        pass
""",
    "sockets in files and without": """
import socket
for address in (PATH, chr(0) + NAME):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        try:
            socket.socket(socket.AF_UNIX, kind).connect(address)
            print("connected", repr(address))
        except OSError:
            pass
""",
    "sockets that no namespace holds back": """
import socket
for family in set(range(64)) - {socket.AF_UNIX, socket.AF_INET, socket.AF_INET6}:
    for kind in (1, 2, 3, 5):
        try:
            socket.socket(family, kind)
            print(family, kind)
        except OSError:
            pass
for kind in (3, 10):
    try:
        socket.socket(socket.AF_INET, kind, 1)
        print("raw", kind)
    except (OSError, AttributeError):
        pass
""",
    "a look into its parent": """
import ctypes, os
libc = ctypes.CDLL(None)
for pid in (1, os.getppid()):
    for request in (16, 0x4206):
        if libc.ptrace(request, pid, 0, 0) != -1:
            print("traced", pid)
buffer = ctypes.create_string_buffer(64)
piece = (ctypes.c_size_t * 2)(ctypes.addressof(buffer), 64)
if libc.process_vm_readv(os.getpid(), piece, 1, piece, 1, 0) != -1:
    print("read")
""",
    "higher limits": """
import resource, os, signal
for name in ("AS", "NPROC", "CPU", "FSIZE", "NOFILE", "CORE", "SIGPENDING", "MEMLOCK"):
    what = getattr(resource, "RLIMIT_" + name, 11)
    hard = resource.getrlimit(what)[1]
    for wanted in (hard + 1, resource.RLIM_INFINITY):
        try:
            resource.setrlimit(what, (wanted, wanted))
            print(name, hard)
        except (OSError, ValueError):
            pass
try:
    print(os.nice(-5))
except OSError:
    pass
""",
    "limits that another program forgets": """
import subprocess, sys
code = "import os, sys\\ntry: bytearray(1 << 40)\\nexcept MemoryError: sys.exit(7)"
if subprocess.run([sys.executable, "-S", "-c", code], env={}).returncode != 7:
    print("memory")
""",
    "a core file": """
import os
if os.fork() == 0:
    os.abort()
status = os.wait()[1]
if os.WCOREDUMP(status) or os.listdir("."):
    print("core", os.listdir("."))
""",
    "tersely itself": """
import importlib, sys
sys.path += ["/work", "/src", "/usr/lib/python3/dist-packages"]
for name in ("tersely", "tersely.tasks.grading.code", "choice", "cell", "commands"):
    try:
        importlib.import_module(name)
        print(name)
    except ImportError:
        pass
""",
    "the clock, the name and the kernel's log": """
import ctypes, os, socket, time
libc = ctypes.CDLL(None)
for name, *arguments in (("sethostname", b"x", 1), ("reboot", 0), ("klogctl", 3, bytes(99), 99),
                         ("swapon", b"/tmp", 0), ("acct", b"/tmp/x"), ("settimeofday", None, None)):
    if name != "settimeofday" and getattr(libc, name)(*arguments) != -1:
        print(name)
try:
    time.clock_settime(time.CLOCK_REALTIME, 0)
    print("clock")
except OSError:
    pass
""",
    "devices and the terminal": """
import fcntl, os
for name in ("tty", "mem", "kmsg", "port", "fuse", "kvm", "sda", "vda", "loop0", "net/tun"):
    try:
        os.open("/dev/" + name, os.O_RDWR)
        print(name)
    except OSError:
        pass
try:
    os.mknod("x", 0o60666, os.makedev(8, 0))
    print("made")
except OSError:
    pass
for number in range(3):
    try:
        fcntl.ioctl(number, 0x5412, b"x")
        print("typed")
    except OSError:
        pass
""",
    "timers and watches that no limit counts": """
import ctypes
libc, timer = ctypes.CDLL(None), ctypes.c_void_p()
if all(libc.timer_create(0, None, ctypes.byref(timer)) == 0 for _ in range(5000)):
    print("timers")
for name in ("inotify_init", "inotify_init1", "fanotify_init"):
    if getattr(libc, name)(0, 0) >= 0:
        print(name)
""",
    "system calls of another architecture": """
import ctypes
libc = ctypes.CDLL(None)
for number in (29, 101, 165, 272, 319, 425):
    if libc.syscall(0x40000000 | number, 0, 0, 0, 0, 0) != -1:
        print(number)
""",
    "a new root by clone": """
import ctypes
libc = ctypes.CDLL(None)
for flag in (0x00020000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000):
    child = libc.syscall(56, flag | 17, 0, 0, 0, 0)
    if child == 0:
        libc._exit(0)
    if child > 0:
        print(hex(flag))
""",
}


@pytest.mark.parametrize("way", REACHES)
def test_a_program_gets_none_of(
    isolation: Isolation, way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_TOKEN", "S3" + "CRET")
    path, name = str(tmp_path / "socket"), secrets.token_hex(8)
    kinds = (socket.AF_INET, socket.SOCK_DGRAM), (socket.AF_UNIX, socket.SOCK_STREAM)
    with (
        socket.socket(*kinds[0]) as udp,
        socket.socket(*kinds[1]) as file,
        socket.socket(*kinds[1]) as abstract,
    ):
        udp.bind(("127.0.0.1", 0))
        udp.setblocking(False)
        for server, address in ((file, path), (abstract, "\0" + name)):
            server.bind(address)
            server.listen()
        facts = f"PORT, PATH, NAME = {udp.getsockname()[1]}, {path!r}, {name!r}\n"
        limits = SHORT._replace(wall_s=10.0, cpu_s=10)
        program = facts + REACHES[way]
        assert run(isolation, program, limits=limits) == ProgramOutcome(End.DONE, b"")
        with pytest.raises(BlockingIOError):
            udp.recv(1)


# Looking for what the test expects, or for a verdict without it.
CHEATS = {
    "sys.exit": "import sys\nsys.exit(0)",
    "SystemExit in the answer": "def f(): raise SystemExit(0)",
    "os._exit": "def f():\n    import os\n    os._exit(0)",
    "a forged verdict": 'print(\'{"passed": 1, "total": 1}\', flush=True)\ndef f(): return True',
    "equality of all": "class E:\n    __eq__ = lambda s, o: True\ndef f(): return E()",
    "equality of a text": "class E(str):\n    __eq__ = lambda s, o: True\n"
    "    __hash__ = str.__hash__\ndef f(): return E()\nprint(E('x'))",
    "no number": "def f(): return float('nan')\nprint(f())",
    "patched builtins": "import builtins\nbuiltins.AssertionError = builtins.all = None\n"
    "builtins.open = builtins.print = lambda *a, **k: True\ndef f(): return 0",
    "patched json": 'import json\njson.dumps = lambda *a, **k: \'{"passed": 1, "total": 1}\'\n'
    "def f(): return 0",
    "patched modules": "import sys\nfor m in list(sys.modules):\n    sys.modules[m] = None\n"
    "def f(): return 0",
    "frames": "import sys\ndef f():\n    frame, found = sys._getframe(), ''\n    while frame:\n"
    "        found += repr(frame.f_locals)\n        frame = frame.f_back\n"
    "    at = found.find('EXPEC' + 'TED-')\n    return found[at:at + 25]\nprint(f())",
    "all objects": "import gc\ndef f():\n    texts = [str(v) for o in gc.get_objects() if "
    "type(o) is dict for v in list(o.values()) if type(v) is str]\n"
    "    return next((t for t in texts if t.startswith('EXPEC' + 'TED-')), 0)\nprint(f())",
    "bytes that are no text": "import os\nos.write(1, bytes(range(256)))\ndef f(): return chr(0)",
    "equal hashes": "import os\nM = (1 << 61) - 1\nrow = ','.join('{\"int\": \"%s\"}' % hex(k * M) "
    "for k in range(60000))\ndata = ('{\"value\": {\"set\": [' + row + ']}}\\n').encode()\n"
    "def f():\n    for n in range(3, 20):\n        try:\n            sent = data\n"
    "            while sent: sent = sent[os.write(n, sent):]\n        except OSError: pass",
}


@pytest.mark.parametrize("way", CHEATS)
def test_no_right_verdict_is_to_be_had(
    isolation: Isolation, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tersely.tasks.grading.code.TOTAL_S", 5.0)
    secret = "EXPECTED-" + secrets.token_hex(8)
    answers = (
        {"tests": [{"input": "", "output": secret}]},
        {"function": "f", "tests": [{"input": [], "output": secret}]},
        {"check": f"assert f() == {secret!r}"},
    )
    honest = f"def f(): return {secret!r}\nprint(f())"
    for answer in answers:
        begin = time.monotonic()
        got = grade(f"```\n{CHEATS[way]}\n```", json.dumps(answer))
        assert (got.grade, got.score) == (Grade.WRONG, 0.0)
        assert time.monotonic() - begin < 5.0 + SLACK_S
        assert grade(f"```\n{honest}\n```", json.dumps(answer)).grade is Grade.CORRECT
