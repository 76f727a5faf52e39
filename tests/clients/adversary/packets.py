"""Ways to send what is no TCP: datagrams, and sockets of every other kind."""

import ctypes
import fcntl
import os
import socket
import struct

from kernel import BPF, Ring, check, dissolve, family, header, libc, sockaddr, syscall

PAYLOAD = b"a datagram of a hostile program"
PATIENCE = 1
# The beginning of a QUIC Initial of version 1 (RFC 9000 §17.2.2), as long as one has to be.
QUIC = bytes.fromhex("c00000000108000102030405060700000044d0") + bytes(1181)
UDP_SEGMENT, UDP_CORK = 103, 1


def udp(address):
    one = socket.socket(family(address), socket.SOCK_DGRAM)
    one.settimeout(PATIENCE)
    return one


def heard(one):
    """A datagram went: whether anything comes back."""
    one.settimeout(PATIENCE)
    try:
        answer = one.recv(4096)
    except TimeoutError:
        return "sent, then silence"
    return "sent, answered", answer


def send_to(address, port, payload=PAYLOAD):
    one = udp(address)
    one.sendto(payload, (address, port))
    return heard(one)


def send_connected(address, port, payload=PAYLOAD):
    one = udp(address)
    one.connect((address, port))
    one.send(payload)
    return heard(one)


def quic(address, port):
    return send_connected(address, port, QUIC)


def quic_unconnected(address, port):
    return send_to(address, port, QUIC)


def send_mapped(address, port):
    one = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    one.sendto(PAYLOAD, ("::ffff:" + address, port))
    return heard(one)


def connect_mapped(address, port):
    one = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    one.connect(("::ffff:" + address, port))
    one.send(PAYLOAD)
    return heard(one)


def named(one, name, payload=PAYLOAD):
    check(libc.sendto(one.fileno(), payload, len(payload), 0, name, len(name)))
    return heard(one)


def send_by_narrow_name(address, port):
    """An IPv6 socket, and an address of IPv4."""
    one = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    return named(one, sockaddr(address, port))


def connect_by_narrow_name(address, port):
    one = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    name = sockaddr(address, port)
    check(libc.connect(one.fileno(), name, len(name)))
    one.send(PAYLOAD)
    return heard(one)


def send_by_nameless_family(address, port):
    """AF_UNSPEC, which IPv4 takes for its own."""
    name = struct.pack("=H", socket.AF_UNSPEC) + sockaddr(address, port)[2:]
    return named(udp(address), name)


def send_elsewhere(address, port, first, there=53):
    """Connected to one, sends to another."""
    one = udp(address)
    one.connect((first, there))
    one.sendto(PAYLOAD, (address, port))
    return heard(one)


def send_after_dissolving(address, port, first, there=53):
    one = udp(address)
    one.connect((first, there))
    dissolve(one)
    one.sendto(PAYLOAD, (address, port))
    return heard(one)


def send_many(address, port):
    """sendmmsg()."""
    one = udp(address)
    message, keep = header(PAYLOAD, sockaddr(address, port))
    several = ctypes.create_string_buffer(2 * (message.raw + bytes(8)), 128)
    check(libc.sendmmsg(one.fileno(), several, 2, 0))
    del keep
    return heard(one)


def send_by_device(address, port, device):
    """The way out is chosen by a control message, IP_PKTINFO."""
    one = udp(address)
    index = socket.if_nametoindex(device)
    if one.family == socket.AF_INET6:
        chosen = (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, struct.pack("=16sI", bytes(16), index))
    else:
        chosen = (socket.IPPROTO_IP, 8, struct.pack("=I4s4s", index, bytes(4), bytes(4)))
    one.sendmsg([PAYLOAD], [chosen], 0, (address, port))
    return heard(one)


def send_unicast_by_device(address, port, device):
    """IP_UNICAST_IF."""
    one = udp(address)
    one.setsockopt(socket.IPPROTO_IP, 50, struct.pack("!I", socket.if_nametoindex(device)))
    one.sendto(PAYLOAD, (address, port))
    return heard(one)


def send_in_segments(address, port):
    one = udp(address)
    one.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 10)
    one.sendto(PAYLOAD, (address, port))
    return heard(one)


def send_corked(address, port):
    one = udp(address)
    one.setsockopt(socket.IPPROTO_UDP, UDP_CORK, 1)
    one.sendto(PAYLOAD, (address, port))
    one.setsockopt(socket.IPPROTO_UDP, UDP_CORK, 0)
    return heard(one)


def send_more(address, port):
    """MSG_MORE, and the rest."""
    one = udp(address)
    one.sendto(PAYLOAD, socket.MSG_MORE, (address, port))
    one.sendto(PAYLOAD, (address, port))
    return heard(one)


def send_confirmed(address, port):
    one = udp(address)
    one.sendto(PAYLOAD, socket.MSG_CONFIRM, (address, port))
    return heard(one)


def send_unrouted(address, port):
    one = udp(address)
    one.sendto(PAYLOAD, socket.MSG_DONTROUTE, (address, port))
    return heard(one)


def by_ring(way, opcode):
    def send(address, port):
        one = udp(address)
        one.setblocking(True)
        getattr(Ring(), way)(one.fileno(), PAYLOAD, address, port, opcode)
        return heard(one)

    return send


send_message_by_ring = by_ring("send_message", Ring.SENDMSG)
send_message_by_ring_without_copying = by_ring("send_message", Ring.SENDMSG_ZC)
send_by_ring = by_ring("send", Ring.SEND)
send_by_ring_without_copying = by_ring("send", Ring.SEND_ZC)


def send_encapsulated(address, port):
    """UDP_ENCAP: the kernel's IPsec would answer for it."""
    one = udp(address)
    one.setsockopt(socket.IPPROTO_UDP, 100, 2)
    one.sendto(PAYLOAD, (address, port))
    return heard(one)


def broadcast(address, port):
    one = udp(address)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    one.sendto(PAYLOAD, (address, port))
    return heard(one)


def multicast(address, port, device):
    one = udp(address)
    index = socket.if_nametoindex(device)
    if one.family == socket.AF_INET6:
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
    else:
        one.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, struct.pack("=4s4si", bytes(4), bytes(4), index))
    one.sendto(PAYLOAD, (address, port))
    return heard(one)


def fragments(address, port):
    """A datagram of 60,000 bytes."""
    return send_to(address, port, bytes(60000))


def join(address, device):
    one = udp(address)
    index = socket.if_nametoindex(device)
    if one.family == socket.AF_INET6:
        group = struct.pack("=16sI", socket.inet_pton(socket.AF_INET6, address), index)
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group)
    else:
        group = struct.pack("=4s4si", socket.inet_aton(address), bytes(4), index)
        one.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
    return "joined"


def join_by_protocol(address, device):
    """MCAST_JOIN_GROUP."""
    one = udp(address)
    level = socket.IPPROTO_IPV6 if one.family == socket.AF_INET6 else socket.IPPROTO_IP
    name = sockaddr(address, 0).ljust(128, b"\0")
    one.setsockopt(level, 42, struct.pack("=I4x", socket.if_nametoindex(device)) + name)
    return "joined"


def join_source(address, source, device):
    """IP_ADD_SOURCE_MEMBERSHIP."""
    one = udp(address)
    del device
    packed = socket.inet_aton(address) + socket.inet_aton("0.0.0.0") + socket.inet_aton(source)
    one.setsockopt(socket.IPPROTO_IP, 39, packed)
    return "joined"


def join_anycast(address, device):
    one = udp(address)
    group = struct.pack("=16sI", socket.inet_pton(socket.AF_INET6, address), socket.if_nametoindex(device))
    one.setsockopt(socket.IPPROTO_IPV6, 27, group)
    return "joined"


def join_on_stream(address, device):
    """A group joined by a TCP socket."""
    one = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    group = struct.pack("=4s4si", socket.inet_aton(address), bytes(4), socket.if_nametoindex(device))
    one.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
    return "joined"


def ping(address):
    one = socket.socket(family(address), socket.SOCK_DGRAM, 58 if ":" in address else 1)
    kind = 128 if ":" in address else 8
    one.sendto(struct.pack("!BBHHH", kind, 0, 0, 1, 1) + PAYLOAD, (address, 0))
    return heard(one)


def raw(address, protocol):
    one = socket.socket(family(address), socket.SOCK_RAW, protocol)
    one.sendto(bytes(20), (address, 0))
    return "sent"


def kind(family, type, protocol=0):
    """A socket of a family, type and protocol by their numbers."""
    os.close(check(libc.socket(family, type, protocol)))
    return "opened"


def frame(device):
    """A frame past every protocol, by AF_PACKET."""
    one = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
    one.sendto(PAYLOAD, (device, 0x88B5, 0, 0, b"\xff" * 6))
    return "sent"


def route(via):
    """A route of its own, by netlink: RTM_NEWROUTE."""
    one = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    one.settimeout(PATIENCE)
    attributes = struct.pack("=HH4s", 8, 1, socket.inet_aton("192.0.2.0")) + struct.pack("=HH4s", 8, 5, socket.inet_aton(via))
    body = struct.pack("=BBBBBBBBI", 2, 24, 0, 0, 254, 4, 0, 1, 0) + attributes
    one.send(struct.pack("=IHHII", 16 + len(body), 24, 0x405, 1, 0) + body)
    return acknowledged(one)


def device():
    """A device of its own, by netlink: RTM_NEWLINK."""
    one = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    one.settimeout(PATIENCE)
    inner = struct.pack("=HH", 9, 1) + b"dummy" + bytes(3)
    body = struct.pack("=BxHiII", 0, 0, 0, 0, 0) + struct.pack("=HH", 4 + len(inner), 18) + inner
    one.send(struct.pack("=IHHII", 16 + len(body), 16, 0x605, 1, 0) + body)
    return acknowledged(one)


def acknowledged(one):
    answer = one.recv(4096)
    kind, = struct.unpack_from("=H", answer, 4)
    if kind != 2:
        return "answered"
    number, = struct.unpack_from("=i", answer, 16)
    if number:
        raise OSError(-number, os.strerror(-number))
    return "done"


def tunnel_device():
    """A device whose packets a program writes: TUN."""
    with open("/dev/net/tun", "r+b", buffering=0) as tun:
        fcntl.ioctl(tun, 0x400454CA, struct.pack("16sH22x", b"hostile", 1))
    return "made"


def program(command, path=""):
    """bpf(2): 0 makes a map, 5 loads a program, 7 opens a pin."""
    attributes = ctypes.create_string_buffer(128)
    if command == 0:
        struct.pack_into("=IIII", attributes, 0, 2, 4, 4, 1)
    if command == 7:
        pin = ctypes.create_string_buffer(path.encode())
        struct.pack_into("=Q", attributes, 0, ctypes.addressof(pin))
    os.close(syscall(BPF, command, attributes, 128))
    return "opened"
