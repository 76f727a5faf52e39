"""Ways to the daemon itself: its process, its files, its pins."""

import ctypes
import os
import resource
import signal
import struct

from kernel import PERF_EVENT_OPEN, check, libc, syscall


def read(path):
    with open(path, "rb") as file:
        return "read", file.read(4096)


def list_directory(path):
    os.listdir(path)
    return "listed"


def write(path):
    with open(path, "ab"):
        return "opened"


def remove(path):
    os.unlink(path)
    return "removed"


def link(path):
    """readlink(2): where the daemon's files are."""
    return os.readlink(path) and "read"


def trace(process):
    """PTRACE_SEIZE."""
    check(libc.ptrace(0x4206, process, None, None))
    return "traced"


def memory(process):
    """process_vm_readv(2)."""
    buffer = ctypes.create_string_buffer(16)
    local = struct.pack("=QQ", ctypes.addressof(buffer), 16)
    remote = struct.pack("=QQ", 0x10000, 16)
    check(libc.process_vm_readv(process, local, 1, remote, 1, 0))
    return "read"


def take_descriptor(process):
    """pidfd_getfd(2)."""
    pidfd = os.pidfd_open(process)
    os.close(syscall(438, pidfd, 3, 0))
    return "taken"


def end(process):
    os.kill(process, signal.SIGKILL)
    return "killed"


def stop(process):
    os.kill(process, signal.SIGSTOP)
    return "stopped"


def limit(process):
    """prlimit(2): no more descriptors."""
    resource.prlimit(process, resource.RLIMIT_NOFILE, (3, 3))
    return "limited"


def favour(process):
    """The kernel is to kill it first when memory runs out."""
    with open(f"/proc/{process}/oom_score_adj", "w") as score:
        score.write("1000")
    return "written"


def watch(process):
    """perf_event_open(2) on it."""
    attributes = ctypes.create_string_buffer(128)
    struct.pack_into("=II", attributes, 0, 1, 128)
    os.close(syscall(PERF_EVENT_OPEN, attributes, process, -1, -1, 0))
    return "opened"
