from __future__ import annotations

from strive_data.decode.nal import has_idr, has_sublayer, is_hevc_torn

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


HVCC = bytes([1, *range(20), 3, 0])  # lengths of 4 bytes


def test_a_stretch_of_zeros_or_a_wrong_length_tears_an_hevc_packet() -> None:
    sound = b"\0\0\0\6\x26\1ab\0\3" + b"\0\0\0\4\x26\1cd"
    assert not is_hevc_torn(sound, HVCC)
    assert not is_hevc_torn(b"\0\0\0\7\x26\1ab\0\0\0", HVCC)  # padding behind the unit
    assert is_hevc_torn(b"\0\0\0\x08\x26\1\0\0\0abc", HVCC)
    assert is_hevc_torn(b"\0\0\0\x08\x26\1\0\0\2abc", HVCC)
    assert is_hevc_torn(b"\0\0\0\x09\x26\1a" + bytes(6), HVCC)
    assert is_hevc_torn(sound[:-1], HVCC)
    assert is_hevc_torn(sound + b"\0", HVCC)


def test_zeros_between_the_units_of_a_byte_stream_are_padding() -> None:
    assert not is_hevc_torn(b"\0\0\0\1\x26\1ab\0\0\0\0\0\0\1\x26\1cd\0\0\0\0", b"")
    assert is_hevc_torn(b"\0\0\0\1\x26\1a\0\0\2b", b"")
    assert is_hevc_torn(b"\0\0\0\1\x26\1a\0\0\0b", b"")


def test_a_slice_above_the_lowest_sublayer() -> None:
    lowest, above, parameters = b"\2\1ab", b"\4\2ab", b"\x40\2ab"  # TRAIL_R, TSA_N, VPS
    for packet, expected in ((lowest, False), (lowest + b"\0\0\0\4" + above, True), (parameters, False)):
        assert has_sublayer(b"\0\0\0\4" + packet, HVCC) is expected
    assert has_sublayer(b"\0\0\1" + lowest + b"\0\0\1" + above, b"")
    assert not has_sublayer(b"\0\0\1" + lowest + b"\0\0\1\2", b"")
