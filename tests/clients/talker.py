"""Connects, and sends what it reads from standard input, line by line."""

import socket
import sys

with socket.create_connection((sys.argv[1], int(sys.argv[2]))) as connection:
    for line in sys.stdin.buffer:
        connection.sendall(line)
