"""What it refuses is in tests/safety/test_sizes.py."""

from __future__ import annotations

import io
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as arrays

from strive_data.common.npy import npy_bytes, read_npy


@given(
    arrays.arrays(
        arrays.integer_dtypes() | arrays.floating_dtypes(), arrays.array_shapes(min_dims=0, min_side=0)
    )
)
def test_arrays_are_those_of_numpy(array: np.ndarray) -> None:
    content = npy_bytes(array)
    oracle = np.load(io.BytesIO(content), allow_pickle=False)
    read = read_npy(content)
    assert (read.dtype, read.shape, read.tobytes()) == (oracle.dtype, oracle.shape, oracle.tobytes())


def test_a_read_array_is_ones_own() -> None:
    read = read_npy(memoryview(npy_bytes(np.zeros(3))), dtype=np.float64)
    read += 1
    assert read.tolist() == [1, 1, 1]
    with pytest.raises(ValueError, match="the array is float64, expected float32"):
        read_npy(npy_bytes(np.zeros(3)), dtype=np.float32)
    fortran = io.BytesIO()
    np.save(fortran, np.asfortranarray(np.zeros((2, 3))))
    with pytest.raises(ValueError, match="Fortran order"):
        read_npy(fortran.getvalue())


def test_the_entries_of_a_header_may_be_in_any_order() -> None:
    """As its format says: "A reader MUST NOT depend on this" order, which other writers need not keep."""
    entries = ("'descr': '<f4'", "'fortran_order': False", "'shape': (3,)")
    made = []
    for some in permutations(entries):
        text = ("{ " + ", ".join(some) + ", }\n").encode()
        made.append(
            b"\x93NUMPY\x01\x00"
            + len(text).to_bytes(2, "little")
            + text
            + np.arange(3, dtype="<f4").tobytes()
        )
    assert [read_npy(content).tolist() for content in made] == [[0, 1, 2]] * 6
    assert [np.load(io.BytesIO(content)).tolist() for content in made] == [[0, 1, 2]] * 6
    for twice in ("'descr': '<f4', 'descr': '<f4', 'shape': (3,)", "'descr': '<f4', 'shape': (3,)"):
        text = ("{" + twice + "}").encode()
        with pytest.raises(ValueError, match="not one of NumPy's"):
            read_npy(b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(12))
