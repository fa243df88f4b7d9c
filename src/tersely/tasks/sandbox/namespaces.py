"""Where bubblewrap is missing: makes a sandbox of the kernel's namespaces and runs a command in it.

A script for a bare interpreter (``python namespaces.py CONFIG``, standard library only). ``CONFIG``
is JSON: ``command``; ``reads``, what is seen read-only, as pairs of path and place; ``scratch``,
the one folder that can be written to, with its bytes and files; ``info``, an open file told the
number of the sandbox's first process; ``filter``, refused system calls in hexadecimal; ``uid``,
the user that root becomes in the command, or None.
"""

import ctypes
import json
import os
import select
import signal
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

# linux/include/uapi/linux/{mount,sched,prctl,capability}.h, asm-generic/unistd.h
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
MNT_DETACH, AT_FDCWD, AT_RECURSIVE = 2, -100, 0x8000
CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x20000, 0x4000000, 0x8000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
PR_SET_PDEATHSIG, PR_SET_SECCOMP, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 1, 22, 24, 38
PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
SECCOMP_MODE_FILTER, CAPABILITY_VERSION_3 = 2, 0x20080522
MOUNT_SETATTR = 442
PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
DEVICES = ("null", "zero", "full", "random", "urandom")

_libc = ctypes.CDLL(None, use_errno=True)


class _Program(ctypes.Structure):
    """``struct sock_fprog``."""

    _fields_ = (("count", ctypes.c_ushort), ("code", ctypes.c_char_p))


class Config(NamedTuple):
    command: list[str]
    reads: list[list[str]]
    scratch: str
    scratch_bytes: int
    scratch_files: int
    info: int
    filter: str | None
    uid: int | None


def _call(name: str, *arguments: Any) -> None:
    if getattr(_libc, name)(*arguments) < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}{arguments}: {os.strerror(code)}")


def _mount(source: str, target: str, kind: str | None, flags: int, data: str = "") -> None:
    _call("mount", source.encode(), target.encode(), kind and kind.encode(), flags, data.encode())


def _pivot_root() -> None:
    """Makes the working directory the root, and lets go of the old one."""
    _call("syscall", PIVOT_ROOT[os.uname().machine], b".", b".")
    _call("umount2", b".", MNT_DETACH)
    os.chdir("/")


def enter(*, as_root: bool) -> None:
    """Leaves the host's namespaces; its users too unless it is root, who becomes another later."""
    user, group = os.getuid(), os.getgid()
    flags = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWNET
    _call("unshare", flags | (0 if as_root else CLONE_NEWUSER))
    if not as_root:
        for file, line in (
            ("setgroups", "deny"),
            ("uid_map", f"{user} {user} 1"),
            ("gid_map", f"{group} {group} 1"),
        ):
            with open(f"/proc/self/{file}", "w") as mapping:
                mapping.write(line)


def _show(source: str, place: str) -> None:
    """Binds a file or folder with all that is mounted in it, read-only."""
    if os.path.islink(source):
        os.symlink(os.readlink(source), place)
        return
    if os.path.isdir(source):
        os.makedirs(place, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(place), exist_ok=True)
        with open(place, "w"):
            pass
    _mount(source, place, None, MS_BIND | MS_REC)
    # struct mount_attr: set, clear, propagation, user namespace.
    attributes = (ctypes.c_uint64 * 4)(MS_RDONLY | MS_NOSUID, 0, 0, 0)
    size = ctypes.sizeof(attributes)
    where = (AT_FDCWD, place.encode(), AT_RECURSIVE)
    _call("syscall", MOUNT_SETATTR, *where, ctypes.byref(attributes), size)


def build(config: Config) -> None:
    """A root of its own: what may be read, a scratch folder, processes and five devices."""
    _mount("none", "/", None, MS_REC | MS_PRIVATE)
    _mount("none", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=1m")
    os.mkdir("/tmp/old")
    os.mkdir("/tmp/new")
    os.chdir("/tmp")
    _call("syscall", PIVOT_ROOT[os.uname().machine], b".", b"old")
    os.chdir("/")
    new = "/new"
    _mount("none", new, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=1m")
    for source, place in config.reads:
        _show(f"/old{source}", new + place)
    os.makedirs(f"{new}/dev", exist_ok=True)
    for device in DEVICES:
        open(f"{new}/dev/{device}", "w").close()
        _mount(f"/old/dev/{device}", f"{new}/dev/{device}", None, MS_BIND)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        os.symlink(f"/proc/self/fd/{number}", f"{new}/dev/{name}")
    os.symlink("/proc/self/fd", f"{new}/dev/fd")
    os.mkdir(f"{new}/proc")
    _mount("proc", f"{new}/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    os.makedirs(new + config.scratch, exist_ok=True)
    room = f"mode=1777,size={config.scratch_bytes},nr_inodes={config.scratch_files}"
    _mount("none", new + config.scratch, "tmpfs", MS_NOSUID | MS_NODEV, room)
    _call("umount2", b"/old", MNT_DETACH)
    os.chdir(new)
    _pivot_root()
    _mount("none", "/", None, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV)
    os.chdir(config.scratch)


def give_up(config: Config) -> None:
    """Every privilege goes, and none can be had again, not even by starting a program."""
    _call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    _call("prctl", PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    with open("/proc/sys/kernel/cap_last_cap") as file:
        last = int(file.read())
    for capability in range(last + 1):
        _call("prctl", PR_CAPBSET_DROP, capability, 0, 0, 0)
    if config.uid is not None:
        os.setgroups([])
        os.setresgid(config.uid, config.uid, config.uid)
        os.setresuid(config.uid, config.uid, config.uid)
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    _call("capset", ctypes.byref(header), ctypes.byref((ctypes.c_uint32 * 6)()))
    if config.filter is not None:
        code = bytes.fromhex(config.filter)
        program = _Program(len(code) // 8, code)
        _call("prctl", PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0)


def _die_with_parent() -> None:
    _call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _wait(child: int) -> int:
    """The child's exit code, once it is gone; other children are reaped meanwhile."""
    while True:
        gone, status = os.wait()
        if gone == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def _first_process(config: Config, go: int) -> int:
    _die_with_parent()
    if not os.read(go, 1):
        return 1
    build(config)
    give_up(config)
    # The kernel forgets it with a change of user; the parent may be gone by now, its end closed.
    _die_with_parent()
    if select.select([go], [], [], 0)[0]:
        return 1
    os.close(go)
    os.close(config.info)
    command = os.fork()
    if command == 0:
        os.execv(config.command[0], config.command)
    return _wait(command)


def main(arguments: Sequence[str]) -> int:
    config = Config(**json.loads(arguments[0]))
    _die_with_parent()
    enter(as_root=config.uid is not None)
    read, write = os.pipe()
    first = os.fork()
    if first == 0:
        os.close(write)
        code = 1
        try:
            code = _first_process(config, read)
        finally:
            os._exit(code)
    os.close(read)
    os.write(config.info, json.dumps({"child-pid": first}).encode())
    os.close(config.info)
    os.write(write, b"1")
    return _wait(first)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
