"""What Python's own modules do not have of the kernel."""

import ctypes
import mmap
import os
import socket
import struct
import threading

libc = ctypes.CDLL(None, use_errno=True)

# Those that an attempt is made of.
PROCESSES = []

# Numbers of system calls that architectures do not share.
BPF, PERF_EVENT_OPEN = {"x86_64": (321, 298), "aarch64": (280, 241)}[os.uname().machine]

CLONE_NEWNS = 0x20000
CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000


def check(result):
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def syscall(number, *arguments):
    return check(libc.syscall(ctypes.c_long(number), *map(_long, arguments)))


def _long(argument):
    return ctypes.c_long(argument) if isinstance(argument, int) else argument


def unshare(flags):
    check(libc.unshare(flags))


def setns(fd, flags=CLONE_NEWNET):
    check(libc.setns(fd, flags))


def up(device="lo"):
    """Brings a device up, by the ioctls of netdevice(7)."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
        _flags(one, device)


def _flags(one, device):
    request = struct.pack("16sh22x", device.encode(), 1)
    buffer = ctypes.create_string_buffer(request)
    check(libc.ioctl(one.fileno(), 0x8914, buffer))


def family(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def dissolve(one):
    """connect(AF_UNSPEC), after which a socket can be connected again."""
    nowhere = struct.pack("=H14x", socket.AF_UNSPEC)
    check(libc.connect(one.fileno(), nowhere, len(nowhere)))


def on_thread(run):
    """What comes of a call on another thread."""
    outcome = []

    def thread():
        try:
            outcome.append(run())
        except OSError as error:
            outcome.append(error)

    one = threading.Thread(target=thread)
    one.start()
    one.join()
    if isinstance(outcome[0], OSError):
        raise outcome[0]
    return outcome[0]


def sockaddr(address, port):
    if ":" in address:
        return struct.pack("=HHI16sI", socket.AF_INET6, socket.htons(port), 0, socket.inet_pton(socket.AF_INET6, address), 0)
    return struct.pack("=HH4s8x", socket.AF_INET, socket.htons(port), socket.inet_aton(address))


class Ring:
    """An io_uring(7) of eight entries, used one at a time."""

    SENDMSG, ACCEPT, CONNECT, SEND, SOCKET, COMMAND, SEND_ZC, SENDMSG_ZC, BIND, LISTEN = 9, 13, 16, 26, 45, 46, 47, 48, 56, 57

    def __init__(self, polled=False):
        parameters = bytearray(120)
        if polled:
            struct.pack_into("=II", parameters, 8, 2, 0)
            struct.pack_into("=I", parameters, 16, 100)
        buffer = (ctypes.c_char * 120).from_buffer(parameters)
        self.fd = syscall(425, 8, buffer)
        self.polled = polled
        _, entries, self.flags = struct.unpack_from("=III", parameters, 0)
        offsets = struct.unpack_from("=8I", parameters, 40)
        completions = struct.unpack_from("=6I", parameters, 80)
        self.sq_tail, self.sq_array = offsets[1], offsets[6]
        self.cq_head, self.cqes = completions[0], completions[5]
        self.sq_flags = offsets[4]
        size = max(self.sq_array + 8 * 4, self.cqes + 16 * 16)
        self.ring = mmap.mmap(self.fd, size, mmap.MAP_SHARED | mmap.MAP_POPULATE, offset=0)
        self.sqes = mmap.mmap(self.fd, 8 * 64, mmap.MAP_SHARED | mmap.MAP_POPULATE, offset=0x10000000)

    def run(self, opcode, fd, address=0, length=0, offset=0, flags=0, more=bytes(24)):
        """`more` is what stands behind the entry's `user_data`."""
        self.sqes[0:64] = struct.pack("=BBHiQQII8x24s", opcode, 0, 0, fd, offset, address, length, flags, more)
        tail, = struct.unpack_from("=I", self.ring, self.sq_tail)
        struct.pack_into("=I", self.ring, self.sq_array + 4 * (tail % 8), 0)
        struct.pack_into("=I", self.ring, self.sq_tail, tail + 1)
        # Waits for one completion; wakes a polling thread that sleeps.
        flags = 1 | (2 if self.polled else 0)
        syscall(426, self.fd, 1, 1, flags, 0, 0)
        head, = struct.unpack_from("=I", self.ring, self.cq_head)
        _, result = struct.unpack_from("=Qi", self.ring, self.cqes + 16 * (head % 16))
        struct.pack_into("=I", self.ring, self.cq_head, head + 1)
        if result < 0:
            raise OSError(-result, os.strerror(-result))
        return result

    def connect(self, fd, address, port):
        name = sockaddr(address, port)
        buffer = ctypes.create_string_buffer(name, len(name))
        return self.run(self.CONNECT, fd, ctypes.addressof(buffer), 0, offset=len(name))

    def socket(self, family, kind, protocol=0):
        return self.run(self.SOCKET, family, 0, protocol, offset=kind)

    def send_message(self, fd, payload, address, port, opcode=SENDMSG):
        message, keep = header(payload, sockaddr(address, port))
        return self.run(opcode, fd, ctypes.addressof(message), 1), keep

    def send(self, fd, payload, address, port, opcode=SEND):
        """To an address beside what is sent (Linux 6.0)."""
        data = ctypes.create_string_buffer(payload, len(payload))
        name = sockaddr(address, port)
        buffer = ctypes.create_string_buffer(name, len(name))
        # `addr_len` is where other operations have an index of a file, `addr2` where they have an offset.
        more = struct.pack("=HHI16x", 0, 0, len(name))
        return self.run(opcode, fd, ctypes.addressof(data), len(payload), offset=ctypes.addressof(buffer), more=more)

    def bind(self, fd, address, port):
        name = sockaddr(address, port)
        buffer = ctypes.create_string_buffer(name, len(name))
        return self.run(self.BIND, fd, ctypes.addressof(buffer), 0, offset=len(name))

    def listen(self, fd, backlog=4):
        return self.run(self.LISTEN, fd, 0, backlog)

    def accept(self, fd):
        return self.run(self.ACCEPT, fd)

    def set_option(self, fd, level, option, value):
        """SOCKET_URING_OP_SETSOCKOPT (Linux 6.7)."""
        buffer = ctypes.create_string_buffer(value, len(value))
        # `level` and `optname` stand in place of an address, `optlen` in that of an index of a file.
        more = struct.pack("=HHIQ8x", 0, 0, len(value), ctypes.addressof(buffer))
        address = level | option << 32
        return self.run(self.COMMAND, fd, address, 0, offset=3, more=more)


def header(payload, name):
    """A struct msghdr, and what it points to."""
    name = ctypes.create_string_buffer(name, len(name))
    data = ctypes.create_string_buffer(payload, len(payload))
    vector = ctypes.create_string_buffer(struct.pack("=QQ", ctypes.addressof(data), len(payload)), 16)
    packed = struct.pack("=QI4xQQQQI4x", ctypes.addressof(name), len(name), ctypes.addressof(vector), 1, 0, 0, 0)
    return ctypes.create_string_buffer(packed, len(packed)), (name, data, vector)
