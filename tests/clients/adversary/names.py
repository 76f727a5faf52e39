"""Ways by DNS."""

import base64
import os
import socket
import struct

import packets
import streams

PATIENCE = 3
CODES = {0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED"}
KINDS = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "NULL": 10, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "SRV": 33, "HTTPS": 65, "AXFR": 252, "ANY": 255}


def wire(name):
    labels = [label.encode() for label in name.split(".") if label]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def query(name, kind="A", opcode=0, questions=1, klass=1):
    header = struct.pack("!HHHHHH", 0x1234, 0x0100 | opcode << 11, questions, 0, 0, 0)
    return header + questions * (wire(name) + struct.pack("!HH", KINDS[kind], klass))


def told(answer):
    """The response code, and how many answers."""
    _, flags, _, answers = struct.unpack_from("!HHHH", answer)
    code = CODES.get(flags & 15, str(flags & 15))
    return f"{code}, {answers} answers" if answers else code, answer


def over_udp(server, message, patience=PATIENCE):
    one = packets.udp(server)
    one.settimeout(patience)
    one.sendto(message, (server, 53))
    try:
        answer, origin = one.recvfrom(4096)
    except TimeoutError:
        return "sent, then silence"
    if origin[0] != server:
        return f"answered from {origin[0]}"
    return told(answer)


def over_tcp(server, message):
    one = streams.tcp(server)
    one.connect((server, 53))
    one.send(struct.pack("!H", len(message)) + message)
    try:
        length = one.recv(2)
        if len(length) < 2:
            return "connected, then closed"
        return told(one.recv(struct.unpack("!H", length)[0]))
    except (TimeoutError, ConnectionError):
        return "connected, then closed"


def ask(server, name, kind="A", tcp=False, **more):
    message = query(name, kind, **more)
    return over_tcp(server, message) if tcp else over_udp(server, message)


def smuggle(server, domain, bytes, width):
    """Data in labels as long as they may be."""
    data = base64.b32encode(os.urandom(bytes)).decode().lower().rstrip("=")
    labels = [data[at : at + width] for at in range(0, len(data), width)]
    return ask(server, ".".join([*labels, domain]))


def drip(server, domain, count):
    """Data in many short names."""
    answers = {ask(server, f"{number:04x}.{domain}")[0] for number in range(count)}
    return " or ".join(sorted(answers))


def looping(server):
    """A name that points at itself (RFC 1035 §4.1.4)."""
    return over_udp(server, struct.pack("!HHHHHH", 0x1234, 0x0100, 1, 0, 0, 0) + b"\xc0\x0c\0\1\0\1")


def answer_unasked(server):
    """A response, to a port that awaits questions."""
    return over_udp(server, struct.pack("!HHHHHH", 0x1234, 0x8180, 1, 0, 0, 0) + wire("a.example") + b"\0\1\0\1", patience=1)


def garbage(server):
    return over_udp(server, bytes(range(256)))


def no_dns_over_tcp(server):
    """Something else on port 53."""
    one = streams.tcp(server)
    one.connect((server, 53))
    return streams.talk(one)


def binary_label(server, domain):
    """Bytes that no host's name has."""
    name = b"\x04\x00\xff.\x80" + wire(domain)
    return over_udp(server, struct.pack("!HHHHHH", 0x1234, 0x0100, 1, 0, 0, 0) + name + b"\0\1\0\1")


def with_option(server, name):
    """Data in an option of EDNS, beside a name that is known."""
    option = struct.pack("!HH", 65001, 64) + os.urandom(64)  # Known outside by its head.
    record = b"\0" + struct.pack("!HHIH", 41, 1232, 0, len(option)) + option
    message = bytearray(query(name))
    struct.pack_into("!H", message, 10, 1)
    return over_udp(server, bytes(message) + record)


def by_library(name):
    try:
        found = socket.getaddrinfo(name, 443, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        return "NXDOMAIN" if error.errno == socket.EAI_NONAME else f"failed {error.errno}"
    return f"resolved to {sorted({entry[4][0] for entry in found})[0]}"
