"""Ways by TLS and HTTP: other identities, and placeholders in places that are not theirs."""

import base64
import gzip
import os
import socket
import ssl
import struct
import time
import zlib


PATIENCE = 5
PLACEHOLDER = "openshell:resolve:env:KEY"


def context(protocols=("http/1.1",)):
    one = ssl.create_default_context(cafile=os.environ.get("SSL_CERT_FILE"))
    one.check_hostname = False
    # Who answers is not the question here: what is asked for must go nowhere, or to its owner alone.
    one.verify_mode = ssl.CERT_NONE
    one.set_alpn_protocols(list(protocols))
    return one


class Failed(Exception):
    """A handshake that failed, in the word of its alert."""


def open_tls(to, sni, protocols=("http/1.1",), port=443, hello=None):
    """A TLS connection to an address or name. `hello` may change the ClientHello, and gives the pieces to write."""
    tcp = socket.create_connection((to, port), PATIENCE)
    tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = context(protocols).wrap_bio(incoming, outgoing, server_hostname=sni)
    one = Tls(tcp, session, incoming, outgoing)
    one.handshake(hello)
    return one


class Tls:
    def __init__(self, tcp, session, incoming, outgoing):
        self.tcp, self.session, self.incoming, self.outgoing = tcp, session, incoming, outgoing

    def flush(self, change=None):
        bytes = self.outgoing.read()
        for piece in change(bytes) if change and bytes else [bytes]:
            if piece:
                self.tcp.sendall(piece)

    def fill(self):
        bytes = self.tcp.recv(65536)
        if bytes:
            self.incoming.write(bytes)
        else:
            self.incoming.write_eof()
        return bool(bytes)

    def handshake(self, hello):
        while True:
            try:
                self.session.do_handshake()
                self.flush()
                return
            except ssl.SSLWantReadError:
                self.flush(hello)
                hello = None
                try:
                    filled = self.fill()
                except OSError as error:
                    raise Failed("closed in the handshake") from error
                if not filled:
                    raise Failed("closed in the handshake") from None
            except ssl.SSLError as error:
                raise Failed(alert(error)) from error

    def send(self, bytes):
        self.session.write(bytes)
        self.flush()

    def receive(self, enough=lambda received: False):
        received = b""
        while not enough(received):
            try:
                piece = self.session.read(65536)
                if not piece:
                    break
                received += piece
            except ssl.SSLWantReadError:
                try:
                    if not self.fill():
                        break
                except OSError:
                    break
            except ssl.SSLError as error:
                if not received:
                    raise Failed(alert(error)) from error
                break
        return received


ALERTS = {
    "TLSV1_ALERT_ACCESS_DENIED": "access_denied",
    "TLSV1_UNRECOGNIZED_NAME": "unrecognized_name",
    "SSLV3_ALERT_BAD_CERTIFICATE": "bad_certificate",
    "TLSV1_ALERT_INTERNAL_ERROR": "internal_error",
    "TLSV1_ALERT_NO_APPLICATION_PROTOCOL": "no_application_protocol",
    "TLSV1_ALERT_DECODE_ERROR": "decode_error",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "handshake_failure",
    "TLSV1_ALERT_PROTOCOL_VERSION": "protocol_version",
    "SSLV3_ALERT_ILLEGAL_PARAMETER": "illegal_parameter",
}


def alert(error):
    reason = error.reason or str(error)
    if "no application protocol" in reason:
        reason = "TLSV1_ALERT_NO_APPLICATION_PROTOCOL"
    return "alert " + ALERTS.get(reason, reason)


def status(received):
    """What an HTTP/1.1 answer says, in its status and its reason."""
    if not received:
        return "closed without an answer"
    code = received.split(b" ", 2)[1:2]
    told = f"status {code[0].decode(errors='replace')[:3] if code else '?'}"
    at = received.find(b'"error":')
    if at >= 0:
        told += " " + received[at + 8 :].split(b'"')[1].decode(errors="replace")
    return told


def bytes_of(text):
    return text.encode("latin-1")


def exchange(request, to=None, sni="mirror.example", pieces=0, pause=0.0, look_for=None, protocols=("http/1.1",), port=443):
    """Sends bytes as they are, in pieces of a size, and tells the answer, and whether it has a word."""
    try:
        one = open_tls(to or sni, sni, protocols, port)
    except Failed as failed:
        return str(failed)
    one.tcp.settimeout(PATIENCE)
    request = bytes_of(request)
    try:
        for at in range(0, len(request), pieces or len(request)):
            one.send(request[at : at + (pieces or len(request))])
            time.sleep(pause)
    except OSError:
        pass
    try:
        received = one.receive()
    except Failed as failed:
        return str(failed)
    said = status(received)
    if look_for:
        said += (" with " if look_for.encode() in received else " without ") + look_for
    return said, received + decoded(received)


def websocket(sni, message, to=None):
    """Logs in by the handshake and by a message, and tells how many messages come back."""
    one = open_tls(to or sni, sni)
    one.tcp.settimeout(PATIENCE)
    one.send(bytes_of(
        f"GET / HTTP/1.1\r\nHost: {sni}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Bearer {PLACEHOLDER}\r\nX-Coded: message\r\n\r\n"
    ))
    head = one.receive(lambda received: b"\r\n\r\n" in received)
    if not head.startswith(b"HTTP/1.1 101 "):
        return status(head), head
    payload = bytes_of(message)
    # Masked with zeros, as any other mask could be.
    one.send(b"\x81" + bytes([0x80 | len(payload)]) + bytes(4) + payload)
    received = head.partition(b"\r\n\r\n")[2]
    received += one.receive(lambda more: len(messages(received + more)) >= 2)
    return f"{len(messages(received))} messages come back", head + received


def messages(bytes):
    """Of a server's frames that are complete, the payloads."""
    found, at = [], 0
    while at + 4 <= len(bytes):
        length, begin = bytes[at + 1], at + 2
        if length == 126:
            length, begin = struct.unpack_from("!H", bytes, begin)[0], begin + 2
        if begin + length > len(bytes):
            break
        found.append(bytes[begin : begin + length])
        at = begin + length
    return found


def decoded(received):
    """What compressed bodies hold."""
    _, _, body = received.partition(b"\r\n\r\n")
    for open_it in (gzip.decompress, lambda body: zlib.decompress(body, -15), lambda body: base64.b64decode(body, validate=True)):
        try:
            return b"\n" + open_it(body)
        except (OSError, ValueError, zlib.error, EOFError):
            continue
    return b""


def plain(request, to, port=80):
    """The same without TLS."""
    one = socket.create_connection((to, port), PATIENCE)
    one.settimeout(PATIENCE)
    one.sendall(bytes_of(request))
    received = b""
    try:
        while piece := one.recv(65536):
            received += piece
    except OSError:
        pass
    return status(received), received


def handshake(sni, to=None, port=443, protocols=("http/1.1",), change=None, **more):
    """Only the handshake, with a ClientHello that is changed."""
    hello = (lambda bytes: CHANGES[change](bytes, **more)) if change else None
    try:
        open_tls(to or sni, sni, protocols, port, hello)
    except Failed as failed:
        return str(failed)
    return "handshake done"


def records(bytes, width):
    """One ClientHello over many TLS records."""
    body = bytes[5:]
    parts = [body[at : at + width] for at in range(0, len(body), width)]
    return [b"".join(b"\x16\x03\x01" + struct.pack("!H", len(part)) + part for part in parts)]


def trickle(bytes, width):
    for at in range(0, len(bytes), width):
        yield bytes[at : at + width]
        time.sleep(0.002)


def extended(bytes, number, length):
    """With one more extension, of zeros."""
    extension = struct.pack("!HH", number, length) + b"\0" * length
    return with_extension(bytes, extension)


def with_extension(bytes, extension):
    body = bytearray(bytes[9:])
    # Version and random, session, suites, compression (RFC 8446 §4.1.2).
    at = 34
    at += 1 + body[at]
    at += 2 + struct.unpack_from("!H", body, at)[0]
    at += 1 + body[at]
    length, = struct.unpack_from("!H", body, at)
    struct.pack_into("!H", body, at, length + len(extension))
    # In front: the last may be the padding, or a pre-shared key, which has to be the last.
    body[at + 2 : at + 2] = extension
    message = b"\x01" + len(body).to_bytes(3, "big") + body
    parts = [message[at : at + 16384] for at in range(0, len(message), 16384)]
    return [b"".join(b"\x16\x03\x01" + struct.pack("!H", len(part)) + part for part in parts)]


def encrypted(bytes):
    """With an encrypted ClientHello inside (RFC 9849 §5)."""
    payload = os.urandom(160)
    body = struct.pack("!BHHB", 0, 1, 1, 7) + struct.pack("!H", 32) + os.urandom(32) + struct.pack("!H", len(payload)) + payload
    return with_extension(bytes, struct.pack("!HH", 0xFE0D, len(body)) + body)


def second_name(bytes, name):
    """A second server_name extension."""
    entry = b"\0" + struct.pack("!H", len(name)) + name.encode()
    body = struct.pack("!H", len(entry)) + entry
    return with_extension(bytes, struct.pack("!HH", 0, len(body)) + body)


def renamed(bytes, old, new):
    """Another spelling of the same length."""
    return [bytes.replace(old.encode("latin-1"), new.encode("latin-1"))]


CHANGES = {
    "records": records,
    "trickle": trickle,
    "extended": extended,
    "encrypted": encrypted,
    "second_name": second_name,
    "renamed": renamed,
}


def say(to, port, text="", zeros=0, patience=PATIENCE):
    """Bytes that are no ClientHello."""
    one = socket.create_connection((to, port), PATIENCE)
    one.settimeout(patience)
    one.sendall(bytes_of(text) + bytes(zeros))
    try:
        received = one.recv(4096)
    except OSError:
        return "connected, then closed"
    if received[:1] == b"\x15":
        return f"alert {NUMBERS.get(received[6], received[6])}"
    return ("connected, answered", received) if received else "connected, then closed"


NUMBERS = {40: "handshake_failure", 42: "bad_certificate", 49: "access_denied", 50: "decode_error", 70: "protocol_version", 80: "internal_error", 112: "unrecognized_name", 10: "unexpected_message"}


def follow(sni, path, header):
    """Asks, and goes where the answer sends it, with the same header."""
    said = exchange(f"GET {path} HTTP/1.1\r\nHost: {sni}\r\n{header}\r\nConnection: close\r\n\r\n", sni=sni)
    if not isinstance(said, tuple):
        return said
    for line in said[1].split(b"\r\n"):
        if line.lower().startswith(b"location: https://"):
            host = line.split(b"/")[2].decode()
            try:
                next = exchange(f"GET / HTTP/1.1\r\nHost: {host}\r\n{header}\r\n\r\n", sni=host)
            except socket.gaierror:
                return "redirected, NXDOMAIN"
            return f"redirected, {next[0] if isinstance(next, tuple) else next}"
    return said


def field(name, value):
    """A field of HPACK that is not indexed and not compressed (RFC 7541 §6.2.2)."""
    name, value = name.encode("latin-1"), value.encode("latin-1")
    return b"\0" + integer(len(name)) + name + integer(len(value)) + value


def integer(number):
    if number < 127:
        return bytes([number])
    rest, out = number - 127, b"\x7f"
    while rest >= 128:
        out, rest = out + bytes([rest % 128 | 128]), rest // 128
    return out + bytes([rest])


def frame(kind, flags, stream, payload):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + struct.pack("!I", stream) + payload


def over_h2(sni, streams, to=None):
    """Requests on one HTTP/2 connection, each a list of fields and perhaps a body; tells each one's end."""
    try:
        one = open_tls(to or sni, sni, ("h2",))
    except Failed as failed:
        return str(failed)
    one.tcp.settimeout(1.5)
    out = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"")
    for number, request in enumerate(streams):
        block = b"".join(field(name, value) for name, value in request["fields"])
        body = bytes_of(request.get("body", ""))
        out += frame(1, 4 | (0 if body else 1), 2 * number + 1, block)
        if body:
            out += frame(0, 1, 2 * number + 1, body)
    one.send(out)
    ends, received = {}, b""

    def enough(bytes):
        nonlocal ends
        ends = ends_of(bytes)
        return len(ends) == len(streams) or 0 in ends

    received = one.receive(enough)
    told = [ends[number] for number in sorted(ends)]
    return ", ".join(told) or "closed without an answer", received


STATUS = {8: "200", 9: "204", 10: "206", 11: "304", 12: "400", 13: "404", 14: "500"}


def ends_of(bytes):
    """For each stream its status, or its RST_STREAM; for the connection GOAWAY, as 0."""
    ends, at = {}, 0
    while at + 9 <= len(bytes):
        length = int.from_bytes(bytes[at : at + 3], "big")
        kind, flags = bytes[at + 3], bytes[at + 4]
        stream = struct.unpack_from("!I", bytes, at + 5)[0] & 0x7FFFFFFF
        payload = bytes[at + 9 : at + 9 + length]
        at += 9 + length
        if len(payload) < length:
            break
        if kind == 1 and stream not in ends:
            heads = STATUS.get(payload[0] & 0x7F) if payload and payload[0] & 0x80 else None
            ends[stream] = f"status {heads or literal(payload)}"
        elif kind == 3:
            ends.setdefault(stream, f"reset {struct.unpack('!I', payload)[0]}")
        elif kind == 7:
            ends[0] = f"goaway {struct.unpack_from('!I', payload, 4)[0]}"
    return ends


# Digits in HPACK's code (RFC 7541 appendix B): their codes, in bits.
DIGITS = {f"{code:05b}": str(digit) for digit, code in enumerate((0, 1, 2))} | {f"{code:06b}": str(digit + 3) for digit, code in enumerate(range(0x19, 0x20))}


def literal(payload):
    """The value of a :status that is written out, in digits."""
    at = 2 if payload[0] in (0x08, 0x48, 0x18) else 1
    length, coded = payload[at - 1] & 0x7F, payload[at - 1] & 0x80
    value = payload[at : at + length]
    if not coded:
        return value.decode(errors="replace")
    bits, text, word = "".join(f"{byte:08b}" for byte in value), "", ""
    for bit in bits:
        word += bit
        if word in DIGITS:
            text, word = text + DIGITS[word], ""
    return text


def exchange_twice(sni):
    """Two connections, so that the name is resolved again; tells how both ended."""
    request = f"GET / HTTP/1.1\r\nHost: {sni}\r\nAuthorization: Bearer {PLACEHOLDER}\r\n\r\n"
    ends, received = [], b""
    for _ in range(2):
        said = exchange(request, to="10.231.9.1", sni=sni)
        if isinstance(said, tuple):
            said, more = said
            received += more
        ends.append(said)
        # The answer's lifetime.
        time.sleep(1.2)
    return ", then ".join(ends), received
