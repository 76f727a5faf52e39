"""Does with sockets what it reads from standard input, step by step, and tells the outcome of each as JSON.

Sockets have names. A step that fails tells the error's name; a connect or an answer that does not come is ETIMEDOUT.
"""

import array
import ctypes
import errno
import json
import os
import socket
import sys
import threading

PATIENCE = 2
LIBC = ctypes.CDLL(None, use_errno=True)
SOCKETS = {}


def make(name, kind):
    SOCKETS[name] = socket.socket(socket.AF_INET, kind)
    SOCKETS[name].settimeout(PATIENCE)


def tcp(name):
    make(name, socket.SOCK_STREAM)


def udp(name):
    make(name, socket.SOCK_DGRAM)


def device(name, device):
    SOCKETS[name].setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())


def connect(name, host, port):
    SOCKETS[name].connect((host, int(port)))
    return SOCKETS[name].getpeername()[0]


def forget(name):
    """connect(AF_UNSPEC), after which a socket can be connected again."""
    nowhere = (ctypes.c_char * 16)()
    if LIBC.connect(SOCKETS[name].fileno(), nowhere, 16) != 0:
        raise OSError(ctypes.get_errno(), "connect")


def listen(name, host, port):
    SOCKETS[name].bind((host, int(port)))
    SOCKETS[name].listen()


def accept(name, accepted):
    SOCKETS[accepted], peer = SOCKETS[name].accept()
    SOCKETS[accepted].settimeout(PATIENCE)
    return peer[0]


def send(name, text):
    SOCKETS[name].send(text.encode())


def sendto(name, host, port, text):
    SOCKETS[name].sendto(text.encode(), (host, int(port)))


def receive(name):
    return SOCKETS[name].recv(1024).decode()


def close(name):
    SOCKETS.pop(name).close()


def hand(name, path):
    """Passes a socket to who waits at a path."""
    with socket.socket(socket.AF_UNIX) as way:
        way.connect(path)
        socket.send_fds(way, [b"."], [SOCKETS[name].fileno()])


def await_hand(path):
    SOCKETS[path] = socket.socket(socket.AF_UNIX)
    SOCKETS[path].bind(path)
    os.chmod(path, 0o666)
    SOCKETS[path].listen()


def take(name, path):
    way, _ = SOCKETS.pop(path).accept()
    with way:
        _, descriptors, _, _ = socket.recv_fds(way, 1, 1)
    SOCKETS[name] = socket.socket(fileno=descriptors[0])
    SOCKETS[name].settimeout(PATIENCE)


def thread(name, host, port):
    """Makes and connects a socket on a thread of its own."""
    outcome = []

    def run():
        try:
            tcp(name)
            outcome.append(connect(name, host, port))
        except OSError as failure:
            outcome.append(failure)

    other = threading.Thread(target=run)
    other.start()
    other.join()
    if isinstance(outcome[0], OSError):
        raise outcome[0]
    return outcome[0]


def fork(name, host, port):
    """Makes and connects a socket in a child."""
    socket_there, here = socket.socketpair()
    if os.fork() == 0:
        try:
            tcp(name)
            answer = connect(name, host, port)
        except OSError as failure:
            answer = str(failure.errno or errno.ETIMEDOUT)
        socket_there.send(answer.encode())
        os._exit(0)
    answer = here.recv(64).decode()
    os.wait()
    if answer.isdigit():
        raise OSError(int(answer), "connect")
    return answer


STEPS = {
    step.__name__: step
    for step in [
        tcp,
        udp,
        device,
        connect,
        forget,
        listen,
        accept,
        send,
        sendto,
        receive,
        close,
        hand,
        await_hand,
        take,
        thread,
        fork,
    ]
}

for number, line in enumerate(sys.stdin):
    step, *arguments = line.split()
    try:
        value, error = STEPS[step](*arguments), None
    except OSError as failure:
        value = None
        error = errno.errorcode[failure.errno or errno.ETIMEDOUT]
    print(json.dumps({"step": number, "value": value, "error": error}), flush=True)
