"""Sockets and processes from before a sandbox was attached, and from elsewhere."""

import errno
import os
import socket
import struct
import time

import packets
import spaces
import streams
from kernel import CLONE_NEWNET, Ring, dissolve, on_thread, unshare, up

PATIENCE = 7


def prepared(meeting):
    ready = os.path.join(meeting, "ready")
    with open(ready + ".new", "w") as file:
        file.write(str(os.getpid()))
    os.rename(ready + ".new", ready)


def wait(meeting):
    """Tells that all is prepared, and waits for what is to happen meanwhile."""
    prepared(meeting)
    go = os.path.join(meeting, "go")
    for _ in range(int(PATIENCE / 0.01)):
        if os.path.exists(go):
            return
        time.sleep(0.01)
    raise TimeoutError("nobody attached")


def old_stream(address, port, meeting):
    """A connection from before: what it says afterwards."""
    one = streams.tcp(address)
    one.connect((address, port))
    wait(meeting)
    said = streams.talk(one)
    return said if isinstance(said, tuple) else said.removeprefix("connected, ")


def old_unconnected(address, port, meeting):
    """A socket from before, connected afterwards."""
    one = streams.tcp(address)
    wait(meeting)
    # One that is bound to lo gets no answer.
    one.settimeout(1.5)
    one.connect((address, port))
    return streams.talk(one)


def old_datagrams(address, port, meeting):
    """A datagram socket from before."""
    one = packets.udp(address)
    one.bind(("0.0.0.0", 0))
    wait(meeting)
    one.sendto(packets.PAYLOAD, (address, port))
    return packets.heard(one)


def old_connected_datagrams(address, port, meeting):
    one = packets.udp(address)
    one.connect((address, port))
    wait(meeting)
    one.send(packets.PAYLOAD)
    return packets.heard(one)


def old_ping(address, port, meeting):
    """There are no ports in ICMP."""
    del port
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM, 1)
    wait(meeting)
    one.sendto(struct.pack("!BBHHH", 8, 0, 0, 1, 1) + packets.PAYLOAD, (address, 0))
    return packets.heard(one)


def old_ring(address, port, meeting):
    """An io_uring from before makes and connects a socket afterwards."""
    ring = Ring()
    wait(meeting)
    one = socket.socket(fileno=ring.socket(socket.AF_INET, socket.SOCK_STREAM))
    ring.connect(one.fileno(), address, port)
    return streams.talk(one)


def old_namespace(address, port, meeting):
    """A network namespace from before, in which it connects afterwards."""
    spaces.own()
    unshare(CLONE_NEWNET)
    up()
    wait(meeting)
    return streams.connect(address, port)


def old_child(address, port, meeting):
    """A process from before makes its socket afterwards."""
    wait(meeting)
    return streams.connect(address, port)


def old_queue(address, port, meeting):
    """A socket from before waits in a queue, and is received afterwards."""
    here, there = socket.socketpair()
    with streams.tcp(address) as one:
        socket.send_fds(here, [b"x"], [one.fileno()])
    wait(meeting)
    _, fds, _, _ = socket.recv_fds(there, 16, 1)
    one = socket.socket(fileno=fds[0])
    one.settimeout(PATIENCE)
    one.connect((address, port))
    return streams.talk(one)


def old_stream_again(address, port, meeting, elsewhere):
    """A connection from before is dissolved, and connected elsewhere."""
    one = streams.tcp(address)
    one.connect((address, port))
    wait(meeting)
    dissolve(one)
    one.connect((elsewhere, port))
    return streams.talk(one)


def old_listener(address, port, meeting, local, inbound):
    """A socket that listens since before accepts, and what it accepts is connected elsewhere."""
    listener = streams.listening(local, inbound)
    wait(meeting)
    accepted, _ = listener.accept()
    dissolve(accepted)
    accepted.connect((address, port))
    return streams.talk(accepted)


def storm(address, port, meeting):
    """Connects again and again while something happens, and a little longer; tells each end that there was."""
    prepared(meeting)
    go = os.path.join(meeting, "go")
    ends, left = set(), 10
    while left:
        left -= os.path.exists(go)
        for way in (streams.connect, packets.send_to):
            try:
                said = way(address, port)
            except OSError as error:
                said = f"refused {errno.errorcode[error.errno]}"
            ends.add(said if isinstance(said, str) else said[0])
    return " or ".join(sorted(ends))


def old_thread(address, port, meeting):
    """A thread that runs since before."""

    def run():
        wait(meeting)
        return streams.connect(address, port)

    return on_thread(run)
