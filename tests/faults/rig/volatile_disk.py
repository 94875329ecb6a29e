"""nbdkit's plugin: a disk whose writes lie in a volatile cache until it is told to flush, or to write through (FUA).

`VOL_IMG` is a file with the durable bytes: a copy of it is what is left when the power fails. `VOL_SIZE` in bytes.
It runs in nbdkit's own Python, not in ours: nothing but the standard library.
"""

import mmap
import os

import nbdkit

API_VERSION = 2
SIZE = int(os.environ["VOL_SIZE"])
BLOCK = 4096

_file = os.open(os.environ["VOL_IMG"], os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
os.truncate(_file, SIZE)
_disk = mmap.mmap(_file, SIZE)
_cache = {}


def open(readonly):
    return 1


def get_size(handle):
    return SIZE


def thread_model():
    return nbdkit.THREAD_MODEL_SERIALIZE_ALL_REQUESTS


def can_write(handle):
    return True


def can_flush(handle):
    return True


def can_fua(handle):
    return nbdkit.FUA_NATIVE


def pread(handle, buffer, offset, flags):
    first, last = offset // BLOCK, (offset + len(buffer) - 1) // BLOCK
    whole = b"".join(bytes(_block(number)) for number in range(first, last + 1))
    start = offset - first * BLOCK
    buffer[:] = whole[start : start + len(buffer)]


def pwrite(handle, buffer, offset, flags):
    data, done = bytes(buffer), 0
    while done < len(data):
        number, start = divmod(offset + done, BLOCK)
        size = min(BLOCK - start, len(data) - done)
        block = _block(number)
        block[start : start + size] = data[done : done + size]
        _cache[number] = block
        if flags & nbdkit.FLAG_FUA:
            _keep(number)
        done += size


def flush(handle, flags):
    for number in list(_cache):
        _keep(number)


def _block(number):
    cached = _cache.get(number)
    return bytearray(_disk[number * BLOCK : (number + 1) * BLOCK]) if cached is None else cached


def _keep(number):
    _disk[number * BLOCK : (number + 1) * BLOCK] = bytes(_cache.pop(number))
