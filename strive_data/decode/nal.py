"""The units of H.264 and HEVC packets (ITU-T H.264 and H.265, section 7.4), read without decoding."""

from __future__ import annotations

from collections.abc import Iterator

_IDR = 5
_H264_SLICES = range(1, 6)
_H264_REFERRED_TO = 0x60  # nal_ref_idc
_INTRA_SLICES = (2, 4, 7, 9)  # I and SI

# Types of HEVC units: slices are below _FIRST_OTHER; below _FIRST_KEY the even ones are not referred to.
_FIRST_KEY, _FIRST_OTHER = 16, 32
_PREFIX_MESSAGE, _SUFFIX_MESSAGE = 39, 40
_PICTURE_HASH, _HASH_BYTES = 132, {0: 16, 1: 2, 2: 4}  # MD5, CRC, checksum: bytes for each plane
_START = b"\0\0\1"
_NEVER_INSIDE = (b"\0\0\0", _START, b"\0\0\2")
_PADDING = 3  # zeros that some muxers leave behind a unit


def has_idr(packet: bytes, extradata: bytes) -> bool:
    """Whether an H.264 packet holds a slice of an IDR picture, before which nothing can be referred to."""
    return any(unit[0] & 0x1F == _IDR for unit in _h264_units(packet, extradata) if unit)


def begins_intra(packet: bytes, extradata: bytes) -> bool:
    """Whether the first slice of an H.264 packet refers to no other picture.

    The first key frame of a gradual refresh refers to others: it is whole only some pictures later, and only
    if the ones between are not damaged.
    """
    slices = (unit for unit in _h264_units(packet, extradata) if unit and unit[0] & 0x1F in _H264_SLICES)
    first = next(slices, b"")
    bits = "".join(f"{byte:08b}" for byte in first[1:9])
    _, rest = _exp_golomb(bits)  # first_mb_in_slice
    kind, _ = _exp_golomb(rest)  # slice_type
    return bool(first) and (first[0] & 0x1F == _IDR or kind in _INTRA_SLICES)


def is_h264_disposable(packet: bytes, extradata: bytes) -> bool:
    """Whether nothing refers to the picture of an H.264 packet, and no parameters are in it."""
    kinds = [unit[0] for unit in _h264_units(packet, extradata) if unit]
    has_slice = any(kind & 0x1F in _H264_SLICES for kind in kinds)
    return has_slice and not any(kind & _H264_REFERRED_TO for kind in kinds)


def is_hevc_disposable(packet: bytes, extradata: bytes) -> bool:
    """Whether nothing of its own temporal sub-layer refers to the picture of an HEVC packet."""
    kinds = [unit[0] >> 1 & 63 for unit in _hevc_units(packet, extradata) if unit]
    slices = [kind for kind in kinds if kind < _FIRST_OTHER]
    return bool(slices) and all(kind < _FIRST_KEY and kind % 2 == 0 for kind in slices)


def is_hevc_torn(packet: bytes, extradata: bytes) -> bool:
    """Whether an HEVC packet holds what no encoder writes: units that do not fill it, or zeros inside of one.

    FFmpeg's decoder keeps quiet about most of what is wrong inside a picture. An encoder breaks up two zero
    bytes wherever a byte below 3 would follow, so that a stretch that was zeroed is seen here.
    """
    length_bytes = _hevc_length_bytes(extradata)
    if not length_bytes:
        return any(_has_zeros(unit.rstrip(b"\0")) for unit in _after_start_codes(packet))
    if not _filled_by_lengths(packet, length_bytes):
        return True
    return any(_has_zeros(unit[:-_PADDING]) for unit in _after_lengths(packet, length_bytes))


def has_sublayer(packet: bytes, extradata: bytes) -> bool:
    """Whether an HEVC packet holds a slice of a temporal sub-layer above the lowest.

    Where no packet does, "sub-layer non-reference" pictures are referred to by none.
    """
    units = _hevc_units(packet, extradata)
    return any(unit[1] & 7 != 1 for unit in units if len(unit) > 1 and unit[0] >> 1 & 63 < _FIRST_OTHER)


def without_messages(packet: bytes, extradata: bytes) -> bytes:
    """An HEVC packet without its messages (SEI), but for the sound MD5 or checksum of its picture."""
    length_bytes = _hevc_length_bytes(extradata)
    units = [unit for unit in _hevc_units(packet, extradata) if unit and not _is_message(unit)]
    if length_bytes:
        return b"".join(len(unit).to_bytes(length_bytes, "big") + unit for unit in units)
    return b"".join(_START + unit for unit in units)


def _is_message(unit: bytes) -> bool:
    kind = unit[0] >> 1 & 63
    return kind == _PREFIX_MESSAGE or (kind == _SUFFIX_MESSAGE and not _is_picture_hash(unit))


def _is_picture_hash(unit: bytes) -> bool:
    """Whether the first message of an HEVC unit is a whole decoded picture hash (section D.2.19)."""
    message = unit[2:].replace(b"\0\0\3", b"\0\0")
    if len(message) < 3 or message[0] != _PICTURE_HASH:
        return False
    size = _HASH_BYTES.get(message[2], 0)
    return message[1] in (1 + size, 1 + 3 * size) and len(message) > 2 + message[1]


def _h264_units(packet: bytes, extradata: bytes) -> Iterator[bytes]:
    if len(extradata) > 6 and extradata[0] == 1:
        return _after_lengths(packet, (extradata[4] & 3) + 1)
    return _after_start_codes(packet)


def _hevc_units(packet: bytes, extradata: bytes) -> Iterator[bytes]:
    length_bytes = _hevc_length_bytes(extradata)
    return _after_lengths(packet, length_bytes) if length_bytes else _after_start_codes(packet)


def _hevc_length_bytes(extradata: bytes) -> int:
    """Bytes of the length before each unit, 0 where start codes are before them."""
    return (extradata[21] & 3) + 1 if len(extradata) > 22 and extradata[0] == 1 else 0


def _has_zeros(unit: bytes) -> bool:
    return any(code in unit for code in _NEVER_INSIDE)


def _filled_by_lengths(packet: bytes, length_bytes: int) -> bool:
    """Whether units that follow their own lengths end where the packet does."""
    at = 0
    while at < len(packet):
        at += length_bytes + int.from_bytes(packet[at : at + length_bytes], "big")
    return at == len(packet)


def _after_lengths(packet: bytes, length_bytes: int) -> Iterator[bytes]:
    """Each unit that follows its own length; the last one may be cut off."""
    at = 0
    while at + length_bytes < len(packet):
        start = at + length_bytes
        at = start + int.from_bytes(packet[at:start], "big")
        yield packet[start:at]


def _after_start_codes(packet: bytes) -> Iterator[bytes]:
    """Each unit that follows the bytes 0, 0, 1."""
    return iter(packet.split(_START)[1:])


def _exp_golomb(bits: str) -> tuple[int, str]:
    """The number that a string of bits begins with (section 9.1), and the bits behind it."""
    zeros = len(bits) - len(bits.lstrip("0"))
    end = 2 * zeros + 1
    return int(bits[zeros:end] or "0", 2) - 1, bits[end:]
