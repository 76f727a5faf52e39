"""Ways to a TCP connection."""

import errno
import os
import select
import socket
import struct
import subprocess
import time

from kernel import PROCESSES, Ring, check, dissolve, family, libc, on_thread, sockaddr

HELLO = b"a hostile program was here\r\n\r\n"
PATIENCE = 4
SO_BINDTODEVICE, SO_BINDTOIFINDEX, SO_MARK = 25, 62, 36
MSG_FASTOPEN = 0x20000000
TCP_FASTOPEN_CONNECT = 30


def tcp(address):
    one = socket.socket(family(address), socket.SOCK_STREAM)
    one.settimeout(PATIENCE)
    return one


def talk(one):
    """What becomes of a connection on which something is said."""
    one.settimeout(PATIENCE)
    try:
        one.send(HELLO)
        answer = one.recv(4096)
    except TimeoutError:
        return "connected, then silence"
    except OSError:
        return "connected, then closed"
    return ("connected, answered", answer) if answer else "connected, then closed"


def connect(address, port):
    one = tcp(address)
    one.connect((address, port))
    return talk(one)


def nonblocking(address, port):
    one = tcp(address)
    one.setblocking(False)
    one.connect_ex((address, port))
    select.select([], [one], [], PATIENCE)
    error = one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if error:
        raise OSError(error, os.strerror(error))
    return talk(one)


def first_elsewhere(address, port, first):
    """connect(), dissolved by AF_UNSPEC, and again to where it matters."""
    one = tcp(address)
    one.connect((first, port))
    dissolve(one)
    one.connect((address, port))
    return talk(one)


def again_while_connected(address, port, first):
    one = tcp(address)
    one.connect((first, port))
    talk(one)
    try:
        one.connect((address, port))
    except OSError as error:
        return f"refused {errno.errorcode[error.errno]}"
    return talk(one)


def fast_open_send(address, port):
    one = tcp(address)
    one.setblocking(True)
    one.sendto(HELLO, MSG_FASTOPEN, (address, port))
    return talk(one)


def fast_open_connect(address, port):
    one = tcp(address)
    one.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1)
    one.connect((address, port))
    return talk(one)


def mptcp(address, port):
    one = socket.socket(family(address), socket.SOCK_STREAM, 262)
    one.settimeout(PATIENCE)
    one.connect((address, port))
    return talk(one)


def uring_connect(address, port):
    one = tcp(address)
    one.setblocking(True)
    Ring().connect(one.fileno(), address, port)
    return talk(one)


def uring_socket(address, port):
    ring = Ring()
    one = socket.socket(fileno=ring.socket(family(address), socket.SOCK_STREAM))
    ring.connect(one.fileno(), address, port)
    return talk(one)


def uring_polled(address, port):
    ring = Ring(polled=True)
    one = socket.socket(fileno=ring.socket(family(address), socket.SOCK_STREAM))
    ring.connect(one.fileno(), address, port)
    return talk(one)


def uring_option(address, port, device):
    """SO_BINDTODEVICE by a ring."""
    one = tcp(address)
    one.setblocking(True)
    Ring().set_option(one.fileno(), socket.SOL_SOCKET, SO_BINDTODEVICE, device.encode())
    one.connect((address, port))
    return talk(one)


def uring_listen(address, port):
    """Takes a port by IORING_OP_BIND and IORING_OP_LISTEN."""
    one = socket.socket(family(address), socket.SOCK_STREAM)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    ring = Ring()
    ring.bind(one.fileno(), address, port)
    ring.listen(one.fileno())
    return "listening"


def uring_accept(address, port, local, inbound):
    """What a ring has accepted is dissolved, and connected elsewhere."""
    ring, listener = Ring(), listening(local, inbound)
    listener.setblocking(True)
    accepted = socket.socket(fileno=ring.accept(listener.fileno()))
    dissolve(accepted)
    ring.connect(accepted.fileno(), address, port)
    return talk(accepted)


def uring_raw(address, port):
    Ring().socket(socket.AF_INET, socket.SOCK_RAW, 6)
    return "opened"


def from_own_address(address, port, source):
    one = tcp(address)
    one.bind((source, 0))
    one.connect((address, port))
    return talk(one)


def from_foreign_address(address, port, source):
    one = tcp(address)
    one.setsockopt(socket.IPPROTO_IP, 15, 1)
    one.bind((source, 0))
    one.connect((address, port))
    return talk(one)


def transparent(address, port):
    one = tcp(address)
    one.setsockopt(socket.IPPROTO_IP, 19, 1)
    return "set"


def by_device(address, port, device):
    one = tcp(address)
    one.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, device.encode())
    one.connect((address, port))
    return talk(one)


def by_index(address, port, device):
    one = tcp(address)
    one.setsockopt(socket.SOL_SOCKET, SO_BINDTOIFINDEX, socket.if_nametoindex(device))
    one.connect((address, port))
    return talk(one)


def marked(address, port):
    one = tcp(address)
    one.setsockopt(socket.SOL_SOCKET, SO_MARK, 1)
    one.connect((address, port))
    return talk(one)


def source_route(address, port, via):
    one = tcp(address)
    route = b"\x83\x07\x04" + socket.inet_aton(via) + b"\x00"
    one.setsockopt(socket.IPPROTO_IP, socket.IP_OPTIONS, route)
    one.connect((address, port))
    return talk(one)


def routing_header(address, port, via):
    one = tcp(address)
    # Of two segments (RFC 8754 §2): the kernel puts the destination into the first.
    segment = socket.inet_pton(socket.AF_INET6, via)
    header = struct.pack("!BBBBBBH16s16s", 0, 4, 4, 1, 1, 0, 0, bytes(16), segment)
    one.setsockopt(socket.IPPROTO_IPV6, 57, header)
    # Nobody answers.
    one.settimeout(1.5)
    one.connect((address, port))
    return talk(one)


def sticky_packet_options(address, port):
    one = tcp(address)
    one.setsockopt(socket.IPPROTO_IPV6, 6, bytes(64))
    return "set"


def unrouted(address, port):
    one = tcp(address)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_DONTROUTE, 1)
    one.connect((address, port))
    return talk(one)


def repaired(address, port):
    """A connection made up without a handshake: TCP_REPAIR."""
    one = tcp(address)
    one.setsockopt(socket.IPPROTO_TCP, 19, 1)
    one.connect((address, port))
    return talk(one)


def link_local(address, port, device):
    one = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    one.settimeout(PATIENCE)
    one.connect((address, port, 0, socket.if_nametoindex(device)))
    return talk(one)


def by_thread(address, port):
    return on_thread(lambda: connect(address, port))


def by_child(address, port):
    """Forks, leaves its session and its parent, and then connects."""
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() != 0:
            os._exit(0)
        try:
            said = connect(address, port)
            said = said[0] if isinstance(said, tuple) else said
        except OSError as error:
            said = f"refused {error.errno}"
        os.write(writer, f"{os.getpid()} {said}".encode())
        os._exit(0)
    os.close(writer)
    os.wait()
    process, said = os.read(reader, 1024).decode().split(" ", 1)
    PROCESSES.append(int(process))
    return said


def by_program(address, port):
    """vfork() and exec of another program."""
    program = "import sys; sys.path.insert(0, sys.argv[1]); import streams; said = streams.connect(sys.argv[2], int(sys.argv[3])); print(said if isinstance(said, str) else said[0])"
    directory = os.path.dirname(os.path.abspath(__file__))
    command = ["/usr/bin/python3", "-B", "-c", program, directory, address, str(port)]
    ran = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    PROCESSES.append(ran.pid)
    said, _ = ran.communicate()
    return said.strip() or "failed"


def by_file(address, port):
    """What is sent comes by sendfile() and splice()."""
    one = tcp(address)
    one.connect((address, port))
    one.settimeout(None)
    with open(__file__, "rb") as file:
        os.sendfile(one.fileno(), file.fileno(), 0, 64)
    reader, writer = os.pipe()
    os.write(writer, HELLO)
    try:
        os.splice(reader, one.fileno(), len(HELLO))
    except OSError:
        return "connected, then closed"
    return talk(one)


def without_copying(address, port):
    """MSG_ZEROCOPY."""
    one = tcp(address)
    one.setsockopt(socket.SOL_SOCKET, 60, 1)
    one.connect((address, port))
    one.settimeout(PATIENCE)
    one.send(HELLO, 0x4000000)
    return talk(one)


def wide_socket(address, port):
    """An IPv6 socket towards a v4-mapped address."""
    one = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    one.settimeout(PATIENCE)
    one.connect(("::ffff:" + address, port))
    return talk(one)


def urgent(address, port):
    one = tcp(address)
    one.connect((address, port))
    one.send(b"!", socket.MSG_OOB)
    return talk(one)


def hand_over(address, port, path):
    """Gives an unconnected socket of its own to whoever listens on a path."""
    one = tcp(address)
    with reached(path) as way:
        socket.send_fds(way, [b"x"], [one.fileno()])
        return way.recv(1024).decode()


def reached(path):
    """The way to an accomplice, who may not be there yet."""
    way = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    way.settimeout(PATIENCE)
    for _ in range(40):
        if way.connect_ex(path) == 0:
            break
        time.sleep(0.05)
    return way


def connect_what_is_handed(address, port, path):
    """Connects a socket that somebody outside made and hands in."""
    with reached(path) as way:
        _, fds, _, _ = socket.recv_fds(way, 16, 1)
        one = socket.socket(fileno=fds[0])
        one.settimeout(PATIENCE)
        one.connect((address, port))
        return talk(one)


def listen_beside(address, port):
    """Takes the port of the daemon's listener, beside it."""
    one = socket.socket(family(address), socket.SOCK_STREAM)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    one.bind((address, port))
    one.listen()
    return "listening"


def datagrams_beside(address, port):
    one = socket.socket(family(address), socket.SOCK_DGRAM)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    one.bind((address, port))
    return "bound"


def listening(address, port):
    one = socket.socket(family(address), socket.SOCK_STREAM)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    one.bind((address, port))
    one.listen()
    one.settimeout(PATIENCE)
    return one


def serve_once(address, port):
    """Lets somebody dial in, and answers."""
    accepted, _ = listening(address, port).accept()
    accepted.send(HELLO)
    time.sleep(0.1)
    return "answered"


def accepted_again(address, port, local, inbound):
    """A connection that was dialled in, dissolved and turned round."""
    accepted, _ = listening(local, inbound).accept()
    dissolve(accepted)
    name = sockaddr(address, port)
    check(libc.connect(accepted.fileno(), name, len(name)))
    return talk(accepted)


def hoard(address, port, count):
    """Many connections at once, all held."""
    held = []
    for _ in range(count):
        one = tcp(address)
        one.settimeout(0.5)
        if one.connect_ex((address, port)) == 0:
            held.append(one)
        else:
            one.close()
    for one in held[-1:]:
        said = talk(one)
    return said if held else "none connected"


def crowd(address, port, count):
    """Many connections at once, on which nothing is said: how many stay."""
    many = [tcp(address) for _ in range(count)]
    for one in many:
        one.connect((address, port))
    time.sleep(0.3)
    closed = 0
    for one in many:
        one.setblocking(False)
        try:
            closed += one.recv(1) == b""
        except BlockingIOError:
            continue
        except OSError:
            closed += 1
    return "all stay" if closed == 0 else "none stays" if closed == count else "some stay, others are closed"


def take_and_connect(path, address, port):
    """As somebody outside: connects the socket that a sandbox hands out."""
    with waiting(path) as way:
        _, fds, _, _ = socket.recv_fds(way, 16, 1)
        one = socket.socket(fileno=fds[0])
        one.settimeout(PATIENCE)
        try:
            one.connect((address, port))
            said = talk(one)
        except OSError as error:
            said = f"refused {errno.errorcode[error.errno]}"
        way.send((said if isinstance(said, str) else said[0]).encode())
    return said


def hand_in(path):
    """As somebody outside: makes a socket for a sandbox."""
    with waiting(path) as way, socket.socket(socket.AF_INET, socket.SOCK_STREAM) as one:
        socket.send_fds(way, [b"x"], [one.fileno()])
    return "handed in"


def waiting(path):
    if os.path.exists(path):
        os.unlink(path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(path)
        os.chmod(path, 0o777)
        listener.listen()
        listener.settimeout(PATIENCE)
        return listener.accept()[0]


def dial(address, port):
    """As somebody outside: dials in."""
    for _ in range(40):
        one = tcp(address)
        if one.connect_ex((address, port)) == 0:
            return talk(one)
        time.sleep(0.05)
    return "nobody listens"
