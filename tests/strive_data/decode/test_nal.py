from __future__ import annotations

from strive_data.decode.packet_scan import (
    begins_intra,
    has_idr,
    has_sublayer,
    is_h264_disposable,
    is_hevc_disposable,
    is_hevc_torn,
    nal_units,
)

AVCC = bytes([1, 100, 0, 31, 0xFF, 0xE1, 0, 4])  # lengths of 4 bytes


def test_units_behind_lengths() -> None:
    parameters, idr, other = b"\x67ab", b"\x65xyz", b"\x41q"
    join = lambda *units: b"".join(len(unit).to_bytes(4, "big") + unit for unit in units)  # noqa: E731
    assert has_idr(nal_units("h264", join(parameters, idr), AVCC))
    assert has_idr(nal_units("h264", join(idr), AVCC))
    assert not has_idr(nal_units("h264", join(parameters, other), AVCC))
    assert not has_idr(nal_units("h264", b"", AVCC))
    assert not has_idr(nal_units("h264", b"\xff\xff\xff\xff\x41", AVCC))


def test_units_behind_start_codes() -> None:
    assert has_idr(nal_units("h264", b"\0\0\0\1\x67ab\0\0\1\x65", b""))
    assert not has_idr(nal_units("h264", b"\0\0\0\1\x67ab\0\0\1\x41\x65", b""))


HVCC = bytes([1, *range(20), 3, 0])  # lengths of 4 bytes


def torn(packet: bytes, extradata: bytes) -> bool:
    return is_hevc_torn(nal_units("hevc", packet, extradata), packet, extradata)


def test_a_stretch_of_zeros_or_a_wrong_length_tears_an_hevc_packet() -> None:
    sound = b"\0\0\0\6\x26\1ab\0\3" + b"\0\0\0\4\x26\1cd"
    assert not torn(sound, HVCC)
    assert not torn(b"\0\0\0\7\x26\1ab\0\0\0", HVCC)  # padding behind the unit
    assert torn(b"\0\0\0\x08\x26\1\0\0\0abc", HVCC)
    assert torn(b"\0\0\0\x08\x26\1\0\0\2abc", HVCC)
    assert torn(b"\0\0\0\x09\x26\1a" + bytes(6), HVCC)
    assert torn(sound[:-1], HVCC)
    assert torn(sound + b"\0", HVCC)


def test_zeros_between_the_units_of_a_byte_stream_are_padding() -> None:
    assert not torn(b"\0\0\0\1\x26\1ab\0\0\0\0\0\0\1\x26\1cd\0\0\0\0", b"")
    assert torn(b"\0\0\0\1\x26\1a\0\0\2b", b"")
    assert torn(b"\0\0\0\1\x26\1a\0\0\0b", b"")


def test_a_slice_above_the_lowest_sublayer() -> None:
    lowest, above, parameters = b"\2\1ab", b"\4\2ab", b"\x40\2ab"  # TRAIL_R, TSA_N, VPS
    for packet, expected in ((lowest, False), (lowest + b"\0\0\0\4" + above, True), (parameters, False)):
        assert has_sublayer(nal_units("hevc", b"\0\0\0\4" + packet, HVCC)) is expected
    assert has_sublayer(nal_units("hevc", b"\0\0\1" + lowest + b"\0\0\1" + above, b""))
    assert not has_sublayer(nal_units("hevc", b"\0\0\1" + lowest + b"\0\0\1\2", b""))


def behind_lengths(*units: bytes) -> bytes:
    return b"".join(len(unit).to_bytes(4, "big") + unit for unit in units)


def test_an_h264_packet_is_disposable_if_no_unit_in_it_is_referred_to() -> None:
    delimiter, message, parameters = b"\x09\xf0", b"\x06\5\1a", b"\x68ab"
    plain, referred_to = b"\x01\x9a", b"\x41\x9a"
    for units, expected in (
        ((plain,), True),
        ((delimiter, message, plain, plain), True),
        ((referred_to,), False),
        ((referred_to, plain), False),  # two fields
        ((parameters, plain), False),
        ((delimiter, message), False),
        ((), False),
    ):
        assert is_h264_disposable(nal_units("h264", behind_lengths(*units), AVCC)) is expected
        assert (
            is_h264_disposable(nal_units("h264", b"".join(b"\0\0\1" + unit for unit in units), b""))
            is expected
        )


def test_an_hevc_packet_is_disposable_if_all_its_slices_are_sublayer_non_reference() -> None:
    trail_n, trail_r, rasl_n, key, message = b"\0\1a", b"\2\1a", b"\x10\1a", b"\x28\1a", b"\x4e\1a"
    for units, expected in (
        ((trail_n,), True),
        ((message, rasl_n, rasl_n), True),
        ((trail_n, trail_r), False),
        ((key,), False),
        ((message,), False),
    ):
        assert is_hevc_disposable(nal_units("hevc", behind_lengths(*units), HVCC)) is expected


def test_the_kind_of_the_first_slice() -> None:
    # Bits behind the type of the unit: first_mb 0 is "1"; slice types 7 "0001000", 2 "011", 5 "00110", 0 "1".
    whole, mixed, refresh, plain = (
        bytes([0x41, bits, 0]) for bits in (0b10001000, 0b10110000, 0b10011000, 0xC0)
    )
    for first, expected in ((whole, True), (mixed, True), (refresh, False), (plain, False)):
        assert begins_intra(nal_units("h264", behind_lengths(b"\x06\6\1a", first, plain), AVCC)) is expected
    assert begins_intra(nal_units("h264", behind_lengths(b"\x65" + bytes(9)), AVCC))
    assert not begins_intra(nal_units("h264", behind_lengths(b"\x41" + bytes(9)), AVCC))
    assert not begins_intra(nal_units("h264", behind_lengths(b"\x41"), AVCC))
    assert not begins_intra(nal_units("h264", b"", AVCC))
