"""Servers on many ports, TCP and UDP, that answer everything and tell what arrives; on port 53 a resolver."""

import asyncio
import itertools
import json
import socket
import struct
import sys

PORTS = [22, 25, 80, 123, 443, 784, 853, 2375, 5353, 5432, 7000, 8443]
ANSWER = b"this is outside\n"
ADDRESSES = {
    # First an address of the public, and then one of the host.
    "rebind.example": itertools.cycle(["192.31.196.1", "10.231.9.1"]),
    "looked-up.example": itertools.cycle(["192.31.196.1"]),
}
# The beginning of an option of EDNS in which a program would carry data out.
OPTION = struct.pack("!HH", 65001, 64)


def tell(protocol, local, origin, **more):
    at = f"{local[0]}.{local[1]}"
    print(json.dumps({"event": "arrived", "what": f"{protocol} {local[1]}", "at": at, "from": origin[0], **more}), flush=True)


async def stream(reader, writer):
    tell("tcp", writer.get_extra_info("sockname"), writer.get_extra_info("peername"))
    try:
        if await asyncio.wait_for(reader.read(4096), 2):
            writer.write(ANSWER)
            await writer.drain()
        writer.close()
    except (TimeoutError, ConnectionError):
        writer.close()


class Datagrams(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport
        self.local = transport.get_extra_info("sockname")

    def datagram_received(self, data, origin):
        if self.local[1] == 53:
            return self.resolve(data, origin)
        tell("udp", self.local, origin)
        self.transport.sendto(ANSWER, origin)

    def resolve(self, data, origin):
        labels, at = [], 12
        while at < len(data) and data[at]:
            labels.append(data[at + 1 : at + 1 + data[at]].decode("latin-1"))
            at += 1 + data[at]
        name, question = ".".join(labels).lower(), data[12 : at + 5]
        kind = int.from_bytes(data[at + 1 : at + 3], "big")
        tell("dns", self.local, origin, name=name, carries=OPTION in data)
        answer, count = b"", 0
        if kind == 1 and name in ADDRESSES:
            answer = b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 1, 4) + socket.inet_aton(next(ADDRESSES[name]))
            count = 1
        known = name.endswith(".example")
        head = data[:2] + struct.pack("!HHHHH", 0x8180 | (0 if known else 3), 1, count, 0, 0)
        self.transport.sendto(head + question + answer, origin)


async def main():
    loop = asyncio.get_running_loop()
    for address in sys.argv[1:]:
        for port in PORTS:
            await asyncio.start_server(stream, address, port)
            await loop.create_datagram_endpoint(Datagrams, (address, port))
        await loop.create_datagram_endpoint(Datagrams, (address, 53))
        await asyncio.start_server(stream, address, 53)
    print(json.dumps({"event": "listening"}), flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
