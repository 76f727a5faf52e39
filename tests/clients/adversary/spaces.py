"""Ways by other namespaces, cgroups and processes."""

import os
import socket
import tempfile

import names
import packets
import streams
from kernel import CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWUSER, check, libc, setns, unshare, up


def own():
    """Root of a user namespace of its own."""
    uid, gid = os.getuid(), os.getgid()
    unshare(CLONE_NEWUSER)
    for file, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
        with open(f"/proc/self/{file}", "w") as map:
            map.write(text)


def nested(address, port):
    """A network namespace of its own, in which it brings lo up."""
    own()
    unshare(CLONE_NEWNET)
    up()
    return streams.connect(address, port)


def nested_at_once(address, port):
    """The same without the time that a listener takes to appear: connects while lo comes up."""
    own()
    unshare(CLONE_NEWNET)
    one = streams.tcp(address)
    up()
    one.connect((address, port))
    return streams.talk(one)


def nested_twice(address, port):
    own()
    unshare(CLONE_NEWNET)
    unshare(CLONE_NEWUSER | CLONE_NEWNET)
    up()
    return streams.connect(address, port)


def nested_datagram(address, port):
    own()
    unshare(CLONE_NEWNET)
    up()
    return packets.send_to(address, port)


def nested_question(server, name):
    """The first that happens in a namespace is a question to a resolver."""
    own()
    unshare(CLONE_NEWNET)
    up()
    return names.ask(server, name)


def nested_frame():
    """In its own namespace it may make AF_PACKET: there is only lo to send by."""
    own()
    unshare(CLONE_NEWNET)
    up()
    return packets.frame("lo")


def nested_raw(address):
    own()
    unshare(CLONE_NEWNET)
    up()
    return packets.raw(address, 255)


def nested_port_first(address, port, listener):
    """Takes the daemon's port before the daemon can."""
    own()
    unshare(CLONE_NEWNET)
    up()
    one = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    one.bind(("127.0.0.1", listener))
    one.listen()
    return streams.connect(address, port)


def nested_and_back(address, port):
    """Into a namespace of its own, and back with a socket from there."""
    before = os.open("/proc/self/ns/net", os.O_RDONLY)
    own()
    unshare(CLONE_NEWNET)
    up()
    one = streams.tcp(address)
    try:
        setns(before)
    except OSError:
        one.connect((address, port))
        return streams.talk(one)
    one.connect((address, port))
    return streams.talk(one)


def back_to_parent():
    """A user namespace's root joins the network namespace that it came from."""
    before = os.open("/proc/self/ns/net", os.O_RDONLY)
    own()
    unshare(CLONE_NEWNET)
    setns(before)
    return "joined"


def join_of_process(process):
    setns(os.open(f"/proc/{process}/ns/net", os.O_RDONLY))
    return "joined"


def join_by_path(path):
    setns(os.open(path, os.O_RDONLY))
    return "joined"


def many(address, port, count):
    """More namespaces than a sandbox may have."""
    own()
    said = "none made"
    kept = []
    for _ in range(count):
        unshare(CLONE_NEWNET)
        up()
        kept.append(os.open("/proc/self/ns/net", os.O_RDONLY))
        try:
            said = streams.connect(address, port)
        except OSError as error:
            return f"refused {error.errno}" if len(kept) > 8 else f"refused early {error.errno}"
    return said


def move_out(cgroup):
    """Moves itself to another cgroup."""
    with open(os.path.join(cgroup, "cgroup.procs"), "w") as procs:
        procs.write("0")
    return "moved"


def mount_cgroups_and_move_out():
    """A cgroup2 mount of its own, in a mount namespace of its own."""
    own()
    unshare(CLONE_NEWNS)
    place = tempfile.mkdtemp()
    try:
        check(libc.mount(b"none", place.encode(), b"cgroup2", 0, None))
        with open(f"{place}/cgroup.procs", "w") as procs:
            procs.write("0")
    finally:
        # Nothing is mounted, or in this process's namespace alone.
        libc.umount2(place.encode(), 2)
        os.rmdir(place)
    return "moved"


def hosts_abstract_socket(name):
    """An abstract Unix socket of the host."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as one:
        one.connect("\0" + name)
    return "connected"


def unix_socket(path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as one:
        one.connect(path)
        one.send(b"GET /v1/sandboxes HTTP/1.1\r\nHost: x\r\n\r\n")
        one.settimeout(2)
        answer = one.recv(4096)
    return ("connected, answered", answer) if answer else "connected, then closed"
