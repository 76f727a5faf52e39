# Autobahn's own masking and validation go byte by byte in Python, which makes hours of the large cases. These give the
# same answers by what Python does in C.
import re
from binascii import hexlify, unhexlify

from autobahn.websocket import protocol
from autobahn.websocket.utf8validator import UTF8_ACCEPT, Utf8Validator

SURROGATES = re.compile(u"[\ud800-\udfff]")


class Masker(object):
    def __init__(self, mask, length=None):
        self.mask = mask
        self.at = 0

    def pointer(self):
        return self.at

    def reset(self):
        self.at = 0

    def process(self, data):
        if not data:
            return data
        length = len(data)
        start = self.at & 3
        self.at += length
        mask = (self.mask * (length // 4 + 2))[start : start + length]
        return unhexlify("%0*x" % (2 * length, int(hexlify(data), 16) ^ int(hexlify(mask), 16)))


class Validator(Utf8Validator):
    def validate(self, data):
        if self.state == UTF8_ACCEPT:
            try:
                # Python 2 takes surrogates for characters.
                valid = not SURROGATES.search(str(data).decode("utf-8"))
            except UnicodeDecodeError:
                valid = False
            if valid:
                self.i += len(data)
                return True, True, len(data), self.i
        return Utf8Validator.validate(self, data)


protocol.createXorMasker = Masker
protocol.Utf8Validator = Validator
