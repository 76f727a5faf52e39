"""Sends datagrams in every way that there is, and prints of each how and when it ended as JSON.

`send ADDRESS PORT` sends and does not wait; `ask ADDRESS PORT` sends once and prints the answer; `serve ADDRESS PORT`
echoes; `fall-back ADDRESS PORT` does what a client of QUIC does: a datagram first, and TCP where that fails.
"""

import ctypes
import errno
import json
import os
import socket
import sys
import time

COMMAND, HOST, PORT = sys.argv[1], sys.argv[2], int(sys.argv[3])
FAMILY = socket.AF_INET6 if ":" in HOST else socket.AF_INET
TO = (HOST, PORT)


class IoVec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_char_p), ("length", ctypes.c_size_t)]


class MsgHdr(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_void_p),
        ("namelen", ctypes.c_uint),
        ("iov", ctypes.POINTER(IoVec)),
        ("iovlen", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("controllen", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    ]


class MMsgHdr(ctypes.Structure):
    _fields_ = [("header", MsgHdr), ("length", ctypes.c_uint)]


def sendmmsg(one):
    libc = ctypes.CDLL(None, use_errno=True)
    vector = IoVec(b"several", 7)
    messages = (MMsgHdr * 2)()
    for message in messages:
        message.header.iov = ctypes.pointer(vector)
        message.header.iovlen = 1
    if libc.sendmmsg(one.fileno(), messages, 2, 0) < 0:
        raise OSError(ctypes.get_errno(), "sendmmsg")


# A socket that nobody refers to is closed.
OPEN = []


def opened():
    OPEN.append(socket.socket(FAMILY, socket.SOCK_DGRAM))
    return OPEN[-1]


def connected():
    one = opened()
    one.connect(TO)
    return one


def twice():
    one = connected()
    try:
        one.send(b"first")
    except OSError:
        pass
    one.send(b"second")


WAYS = {
    "sendto": lambda: opened().sendto(b"x", TO),
    "sendmsg": lambda: opened().sendmsg([b"x"], [], 0, TO),
    "send": lambda: connected().send(b"x"),
    "write": lambda: os.write(connected().fileno(), b"x"),
    "sendmmsg": lambda: sendmmsg(connected()),
    "again": twice,
    # Connected to one place, sent to another.
    "elsewhere": lambda: connected().sendto(b"x", (HOST, PORT + 1)),
    # UDP_SEGMENT: several datagrams in one call.
    "segmented": lambda: segmented().send(b"x" * 3000),
}


def segmented():
    one = connected()
    one.setsockopt(socket.IPPROTO_UDP, 103, 1000)
    return one


def attempt(way):
    try:
        way()
    except OSError as failure:
        return errno.errorcode[failure.errno]
    return None


def say(**fields):
    print(json.dumps(fields), flush=True)


if COMMAND == "send":
    for name, way in WAYS.items():
        begun = time.monotonic()
        error = attempt(way)
        milliseconds = int((time.monotonic() - begun) * 1000)
        say(event="sent", way=name, error=error, milliseconds=milliseconds)
elif COMMAND == "ask":
    with opened() as one:
        one.settimeout(5)
        one.sendto(b"question", TO)
        answer, peer = one.recvfrom(64)
        say(event="answer", text=answer.decode(), peer=peer[0])
elif COMMAND == "serve":
    with opened() as one:
        one.bind(TO)
        say(event="serving")
        while True:
            text, peer = one.recvfrom(4096)
            one.sendto(text, peer)
elif COMMAND == "fall-back":
    begun = time.monotonic()
    error = attempt(lambda: connected().send(b"\xc0\0\0\0\1" + bytes(1195)))
    with socket.create_connection(TO, timeout=10) as connection:
        peer = connection.getpeername()[0]
    milliseconds = int((time.monotonic() - begun) * 1000)
    say(event="over_tcp", error=error, peer=peer, milliseconds=milliseconds)
