from __future__ import annotations

from strive_data.decode.nal import has_idr

AVCC = bytes([1, 100, 0, 31, 0xFF, 0xE1, 0, 4])  # lengths of 4 bytes


def test_units_behind_lengths() -> None:
    parameters, idr, other = b"\x67ab", b"\x65xyz", b"\x41q"
    join = lambda *units: b"".join(len(unit).to_bytes(4, "big") + unit for unit in units)  # noqa: E731
    assert has_idr(join(parameters, idr), AVCC)
    assert has_idr(join(idr), AVCC)
    assert not has_idr(join(parameters, other), AVCC)
    assert not has_idr(b"", AVCC)
    assert not has_idr(b"\xff\xff\xff\xff\x41", AVCC)


def test_units_behind_start_codes() -> None:
    assert has_idr(b"\0\0\0\1\x67ab\0\0\1\x65", b"")
    assert not has_idr(b"\0\0\0\1\x67ab\0\0\1\x41\x65", b"")
