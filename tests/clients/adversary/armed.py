"""What a program does with CAP_NET_RAW and CAP_NET_ADMIN in a network namespace that it has to itself."""

import errno
import socket
import struct
import subprocess
import time

import packets
import streams

# Longer than the daemon takes to hear of a device.
NOTICE = 0.5


def ip(*arguments, program="ip"):
    ran = subprocess.run([program, *arguments], capture_output=True, text=True)
    if any(lack in ran.stderr for lack in ("Unknown device type", "not supported", "kind is unknown")):
        raise OSError(errno.EOPNOTSUPP, ran.stderr)
    ran.check_returncode()


def datagram_frame(device, address, port, source):
    """A UDP datagram of IPv4, made by hand, by AF_PACKET."""
    payload = packets.PAYLOAD
    udp = struct.pack("!HHHH", 4000, port, 8 + len(payload), 0) + payload
    head = bytearray(struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0, socket.inet_aton(source), socket.inet_aton(address)))
    total = sum(struct.unpack("!10H", head))
    total = (total & 0xFFFF) + (total >> 16)
    struct.pack_into("!H", head, 10, ~(total + (total >> 16)) & 0xFFFF)
    one = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
    one.sendto(bytes(head) + udp, (device, 0x0800, 0, 0, b"\xff" * 6))
    return "sent"


def ring_frame(device):
    """AF_PACKET with headers of its own, past the queueing discipline (PACKET_QDISC_BYPASS)."""
    one = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    one.setsockopt(263, 20, 1)
    one.bind((device, 0))
    one.send(b"\xff" * 6 + bytes(6) + b"\x88\xb5" + packets.PAYLOAD)
    return "sent"


def frame_by_new_device(device, kind):
    """Makes a device that leads out by another one, and sends by it."""
    ip("link", "add", "link", device, "name", "hostile0", "type", *kind)
    try:
        ip("link", "set", "hostile0", "up")
        time.sleep(NOTICE)
        return packets.frame("hostile0")
    finally:
        ip("link", "del", "hostile0")


def frame_by_new_pair():
    """Makes a pair of devices in a namespace that is its own, and sends by one of them."""
    ip("link", "add", "name", "hostile0", "type", "veth", "peer", "name", "hostile1")
    try:
        ip("link", "set", "hostile0", "up")
        ip("link", "set", "hostile1", "up")
        time.sleep(NOTICE)
        ear = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x88B5))
        ear.bind(("hostile1", 0x88B5))
        ear.settimeout(0.5)
        packets.frame("hostile0")
        try:
            ear.recv(2048)
        except TimeoutError:
            return "sent, nothing arrives"
        return "sent, it arrives"
    finally:
        ip("link", "del", "hostile0")


def by_own_route(address, port, via):
    """A route of its own, for one address."""
    ip("route", "replace", f"{address}/32", "via", via)
    try:
        return streams.connect(address, port)
    finally:
        ip("route", "del", f"{address}/32")


def from_transparent(address, port, source):
    """A foreign source by IP_TRANSPARENT."""
    one = streams.tcp(address)
    one.settimeout(1.5)
    one.setsockopt(socket.IPPROTO_IP, 19, 1)
    one.bind((source, 0))
    one.connect((address, port))
    return streams.talk(one)


def without_handshake(address, port, source):
    """A connection made up by TCP_REPAIR, on which something is sent."""
    one = streams.tcp(address)
    one.setsockopt(socket.IPPROTO_TCP, 19, 1)
    one.bind((source, 0))
    one.connect((address, port))
    one.setsockopt(socket.IPPROTO_TCP, 19, -1)
    one.send(streams.HELLO)
    one.settimeout(1)
    try:
        return "sent, answered" if one.recv(64) else "sent, then closed"
    except TimeoutError:
        return "sent, then silence"
    except OSError:
        return "sent, then closed"


def detach_filters(device):
    """Takes filters off a device by netlink: a queueing discipline for them made and removed."""
    for change in ("add", "del"):
        ip("qdisc", change, "dev", device, "clsact", program="tc")
    return packets.frame(device)
