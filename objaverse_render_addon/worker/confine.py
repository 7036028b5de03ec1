"""Shuts itself in by the rules that it is given, then becomes another program.

A program of its own, run with the standard library alone: see :mod:`.wall`, which writes the rules.
What is shut in stays so, with all its threads and children, whatever it becomes; so this comes
before Blender, which starts threads at once.

Landlock (Linux 5.19 or newer) closes the file system, TCP and, where the kernel knows that, signals
and abstract sockets: https://docs.kernel.org/userspace-api/landlock.html. A seccomp filter takes
away what it leaves of the network: https://docs.kernel.org/userspace-api/seccomp_filter.html.
"""

import ctypes
import errno
import functools
import json
import os
import platform
import stat
import struct
import sys

OLDEST = 2
"""Landlock's version from which files can be moved between folders."""
STANDS = "OBJAVERSE_RENDER_SANDBOX"
"""Environment variable that says what a program is shut in by."""

# Of Landlock's file rights: what reads, what of it is for folders, and what may never be.
_EXECUTE, _WRITE, _READ, _LIST, _TRUNCATE, _IOCTL = 1, 1 << 1, 1 << 2, 1 << 3, 1 << 14, 1 << 15
_OF_FILES = _EXECUTE | _WRITE | _READ | _TRUNCATE | _IOCTL
_MAKE_CHAR, _MAKE_BLOCK = 1 << 6, 1 << 11
_RIGHTS = {
    "list": _LIST,
    "read": _READ | _LIST,
    "run": _READ | _LIST | _EXECUTE,
    "use": _READ | _LIST | _WRITE | _IOCTL,
    "write": ((1 << 15) - 1) & ~(_EXECUTE | _MAKE_CHAR | _MAKE_BLOCK),
}
_CREATE, _ADD, _RESTRICT = 444, 445, 446

@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _call(number: int, *arguments: object) -> int:
    done = int(_libc().syscall(ctypes.c_long(number), *arguments))
    if done < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return done


def landlock() -> int:
    """Version of this kernel's Landlock; 0 where there is none."""
    try:
        return _call(_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint(1))
    except OSError:
        return 0


def _handled(version: int) -> int:
    count = {1: 13, 2: 14}.get(version, 15 if version < 5 else 16)
    return (1 << count) - 1


def shut_files(rules: "dict[str, list[str]]", version: int) -> None:
    """Leave nothing of the file system but what the rules name, and no TCP.

    Args:
        rules: ``list``, ``read``, ``run``, ``use`` (devices) or ``write`` to files and folders
            with all below; what is not there is passed over.
        version: From :func:`landlock`.

    Raises:
        OSError: The kernel refuses.
    """
    handled = _handled(version)
    fields = [handled]
    if version >= 4:
        fields.append(0b11)  # TCP: bind, connect.
    if version >= 6:
        fields.append(0b11)  # Abstract sockets and signals stay among those who are shut in.
    words = struct.pack(f"={len(fields)}Q", *fields)
    ruleset = _call(_CREATE, words, ctypes.c_size_t(len(words)), ctypes.c_uint(0))
    for right, paths in rules.items():
        for path in paths:
            try:
                place = os.open(path, os.O_PATH | os.O_CLOEXEC)
            except OSError:
                continue
            rights = _RIGHTS[right] & handled
            if not stat.S_ISDIR(os.fstat(place).st_mode):
                rights &= _OF_FILES
            if rights:
                rule = struct.pack("=Qi", rights, place)
                _call(_ADD, ctypes.c_int(ruleset), ctypes.c_int(1), rule, ctypes.c_uint(0))
            os.close(place)
    _call(_RESTRICT, ctypes.c_int(ruleset), ctypes.c_uint(0))
    os.close(ruleset)


def give_up_powers() -> None:
    """Of root's capabilities, keep those to read and write what others own."""
    kept = 1 << 1 | 1 << 2  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    for number in range(64):
        if not kept >> number & 1:
            _libc().prctl(24, *map(ctypes.c_ulong, (number, 0, 0, 0)))
    head = struct.pack("=Ii", 0x20080522, 0)
    held = ctypes.create_string_buffer(24)
    if _libc().capget(head, held) == 0:
        permitted = struct.unpack("=6I", held.raw)[1] & kept
        _libc().capset(head, struct.pack("=6I", permitted, permitted, 0, 0, 0, 0))


# Architecture to its number, and those of socket, connect and io_uring_setup.
_CALLS = {
    "x86_64": (0xC000003E, 41, 42, 425),
    "aarch64": (0xC00000B7, 198, 203, 425),
}
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | errno.EACCES


def shut_network() -> bool:
    """Let no socket be made but local ones, and none be connected; whether that is so now."""
    known = _CALLS.get(platform.machine())
    if known is None or struct.calcsize("P") != 8:
        return False
    architecture, make, connect, ring = known
    load, equal, above, answer = 0x20, 0x15, 0x35, 0x06
    program = [
        (load, 0, 0, 4),  # The architecture: another's calls have other numbers.
        (equal, 0, 9, architecture),
        (load, 0, 0, 0),  # The call's number; x32's are above.
        (above, 7, 0, 0x40000000),
        (equal, 6, 0, connect),
        (equal, 5, 0, ring),  # It makes sockets without a call.
        (equal, 0, 3, make),
        (load, 0, 0, 16),  # The family: AF_UNIX and AF_NETLINK, which drivers ask.
        (equal, 1, 0, 1),
        (equal, 0, 1, 16),
        (answer, 0, 0, _ALLOW),
        (answer, 0, 0, _REFUSE),
    ]
    code = b"".join(struct.pack("=HBBI", *line) for line in program)
    memory = ctypes.create_string_buffer(code, len(code))
    head = struct.pack("@HP", len(program), ctypes.addressof(memory))
    done = _libc().prctl(22, ctypes.c_ulong(2), head, ctypes.c_ulong(0), ctypes.c_ulong(0))
    return int(done) == 0


def main() -> None:
    """``confine.py RULES PROGRAM ARGUMENTS…``; the file of rules is removed."""
    path, *command = sys.argv[1:]
    with open(path) as file:  # noqa: PTH123  (starts in no time)
        rules = json.load(file)
    os.unlink(path)  # noqa: PTH108
    version = landlock()
    if _libc().prctl(38, *map(ctypes.c_ulong, (1, 0, 0, 0))):  # No new privileges.
        raise OSError(ctypes.get_errno(), "no_new_privs")
    # The rule is of the folder that is there now: held open, it stays.
    rules["read"].append(f"/proc/{os.getpid()}")
    os.set_inheritable(os.open(rules["read"][-1], os.O_PATH), True)
    shut_files(rules, version)
    give_up_powers()
    stands = f"landlock {version}"
    if shut_network():
        stands += ", seccomp"
    os.execve(command[0], command, {**os.environ, STANDS: stands})


if __name__ == "__main__":
    main()
