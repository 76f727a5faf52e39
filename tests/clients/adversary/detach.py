"""As the host's root: takes the programs off that are pinned in a directory, and tells how many."""

import ctypes
import os
import struct
import sys

from kernel import BPF, syscall

OBJECT_GET, LINK_DETACH = 7, 34


def command(number, layout, *values):
    attributes = ctypes.create_string_buffer(128)
    struct.pack_into(layout, attributes, 0, *values)
    return syscall(BPF, number, attributes, 128)


pins = [os.path.join(sys.argv[1], name) for name in os.listdir(sys.argv[1])]
for pin in pins:
    path = ctypes.create_string_buffer(pin.encode())
    link = command(OBJECT_GET, "=Q", ctypes.addressof(path))
    command(LINK_DETACH, "=I", link)
    os.close(link)
print(len(pins))
