"""Tries what is neither TCP nor DNS, and prints how each attempt was answered as JSON."""

import errno
import json
import socket
import sys

DEVICE = sys.argv[1].encode()
GROUP = socket.inet_aton("239.1.2.3") + socket.inet_aton("0.0.0.0")
GROUP6 = socket.inet_pton(socket.AF_INET6, "ff02::1234") + (0).to_bytes(4, sys.byteorder)
SO_BINDTODEVICE = 25
IPPROTO_MPTCP = 262


def bind_to_device():
    # Since Linux 5.7 nobody needs a privilege for this.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as one:
        one.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, DEVICE)


def join():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, GROUP)


def join6():
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as one:
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, GROUP6)


ATTEMPTS = {
    "mptcp": lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP),
    "icmp": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP),
    "raw": lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP),
    "device": bind_to_device,
    "group": join,
    "group6": join6,
}

for event, attempt in ATTEMPTS.items():
    try:
        attempt()
        error = None
    except OSError as failure:
        error = errno.errorcode[failure.errno]
    print(json.dumps({"event": event, "error": error}))
