"""Read and write arrays as .npy bytes. The bytes may come from a stranger.

A header is matched against the fixed grammar that NumPy writes and is never evaluated. Element type and shape
must be the expected ones and fill the remaining bytes exactly before anything is allocated; only numbers are
read, no objects and no pickles.
"""

from __future__ import annotations

import io
import math
import re
from itertools import permutations
from typing import Any

import numpy as np
import numpy.typing as npt

MAX_HEADER_BYTES = 1024
# Format 1.0 or 2.0, with the length of the text that follows.
_START = re.compile(rb"\x93NUMPY(?:\x01\x00(..)|\x02\x00(....))", re.DOTALL)
# The entries may be in any order: NumPy sorts them, and says that a reader must not count on it.
_ENTRIES = (
    rb"'descr': ?'(?P<descr>[<>|=]?[A-Za-z?]\d{0,2})'",
    rb"'fortran_order': ?(?P<fortran>True|False)",
    rb"'shape': ?\((?P<shape>(?:\d{1,18}(?:, ?\d{1,18}){0,7},? ?)?)\)",
)
_HEADERS = [
    re.compile(rb"\{ ?" + rb", ?".join(entries) + rb"(?:, ?)?\}[ \n]*") for entries in permutations(_ENTRIES)
]
_NUMBER = re.compile(r"[<>|=]?(?:b1|[iu][1248]|f[248])")


def npy_bytes(array: npt.NDArray[Any]) -> bytes:
    """The array as .npy, C-contiguous."""
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.ascontiguousarray(array), allow_pickle=False)
    return buffer.getvalue()


def read_npy(content: bytes | memoryview, *, dtype: npt.DTypeLike | None = None) -> npt.NDArray[Any]:
    """The array of .npy bytes, of any numeric type where `dtype` is None.

    Raises ValueError for anything else: another element type (objects above all), Fortran order, a shape
    that does not fill the bytes exactly, a header outside the grammar.
    """
    descr, fortran_order, shape, header_bytes = _read_header(content)
    if not _NUMBER.fullmatch(descr):
        raise ValueError(f"the array has elements of type {descr!r}, expected numbers")
    found = np.dtype(descr)
    if dtype is not None and found != np.dtype(dtype):
        raise ValueError(f"the array is {found}, expected {np.dtype(dtype)}")
    if fortran_order and len(shape) > 1:
        raise ValueError("the array is in Fortran order, expected C order")
    declared, held = math.prod(shape) * found.itemsize, len(content) - header_bytes
    if declared != held or max(shape, default=0) > len(content):
        raise ValueError(f"the array is declared {list(shape)} ({declared} bytes), but {held} bytes follow")
    return np.frombuffer(content, dtype=found, offset=header_bytes).reshape(shape).copy()


def _read_header(content: bytes | memoryview) -> tuple[str, bool, tuple[int, ...], int]:
    """Element type, whether in Fortran order, shape, and the bytes of all that is before the array."""
    start = _START.match(bytes(content[:12]))
    if start is None:
        raise ValueError("not an array in .npy format 1.0 or 2.0")
    length = int.from_bytes(start[1] or start[2], "little")
    if length > MAX_HEADER_BYTES:
        raise ValueError(f"the array has a header of {length} bytes, more than {MAX_HEADER_BYTES}")
    end = start.end() + length
    text = bytes(content[start.end() : end])
    header = next(filter(None, (form.fullmatch(text) for form in _HEADERS)), None)
    if len(content) < end or header is None:
        raise ValueError("the array has a header that is not one of NumPy's for plain arrays")
    shape = tuple(int(size) for size in re.findall(rb"\d+", header["shape"]))
    return header["descr"].decode(), header["fortran"] == b"True", shape, end
