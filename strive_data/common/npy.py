"""Arrays as .npy bytes, read as if a stranger had written them: no pickle, no object, no size on trust.

The header says type and shape; they must be the expected type and exactly the bytes that follow, before
anything is allocated.
"""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
import numpy.typing as npt

MAGIC = b"\x93NUMPY"


def npy_bytes(array: npt.NDArray[Any]) -> bytes:
    """The array as .npy, C-contiguous."""
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.ascontiguousarray(array), allow_pickle=False)
    return buffer.getvalue()


def read_npy(content: bytes | memoryview, *, dtype: npt.DTypeLike | None = None) -> npt.NDArray[Any]:
    """The array of .npy bytes, of any numeric type where `dtype` is None.

    Raises ValueError for anything else: another type (objects above all), Fortran order, a shape that does
    not fill the bytes exactly.
    """
    file = io.BytesIO(content)
    shape, fortran, found = _header(file)
    if found.hasobject or found.names is not None or found.kind not in "biuf":
        raise ValueError(f"the array is of type {found}, expected numbers; nothing else is ever read")
    if dtype is not None and found != np.dtype(dtype):
        raise ValueError(f"the array is {found}, expected {np.dtype(dtype)}")
    if fortran and len(shape) > 1:
        raise ValueError("the array is in Fortran order, expected C order")
    declared = math.prod(shape) * found.itemsize
    held = len(content) - file.tell()
    if declared != held or min(shape, default=0) < 0:
        raise ValueError(f"the array is declared {list(shape)} ({declared} bytes), but {held} bytes follow")
    return np.frombuffer(content, dtype=found, offset=file.tell()).reshape(shape).copy()


def _header(file: io.BytesIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(file)
    if version == (2, 0):
        return np.lib.format.read_array_header_2_0(file)
    raise ValueError(f"the array is in .npy version {version}, expected (1, 0) or (2, 0)")
