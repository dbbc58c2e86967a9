"""Open a file as media, or say exactly why it is not a video.

Only file formats on a list are opened. FFmpeg would otherwise also read play lists and patterns (HLS, DASH,
concat), through which a crafted "video" names other files and addresses, and it takes images and text for
videos of one frame.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
from av.stream import Disposition

from strive_data.config import DecodeSettings
from strive_data.decode.container_bytes import iso_boxes, parts_name, parts_of
from strive_data.errors import FailureKind, SampleError

FORMATS = (
    "mov,matroska,webm,avi,mpegts,mpeg,mpegvideo,m4v,h264,hevc,vvc,obu,ivf,flv,asf,ogg,gif,apng,rm,nut,mxf,dv,"
    "swf,wtv,gxf,mjpeg,yuv4mpegpipe,mp3,flac"
)
"""FFmpeg's names of the file formats that are opened: songs as well, which say so and have covers."""

MAX_PIXEL_ASPECT = Fraction(8)
"""Pixels wider or narrower than that are taken for damage: those of real formats lie between .5 and 2.5."""

OGG_HEADERS = {"theora": b"\x81theora", "vp8": b"OVP80"}
"""What the header packets begin with that a decoder in the middle of an Ogg file does not take."""

STILL_CODECS = frozenset({"apng", "bmp", "gif", "mjpeg", "png", "webp"})
"""FFmpeg's names of the formats for pictures: a stream of a single one is a picture, or a song's cover."""

PICTURE = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image

_ISO_BOXES = {b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp", b"moof", b"uuid"}


def open_media(path: Path, settings: DecodeSettings) -> Any:
    """Open `path` for reading as an av container whose video stream (`video_stream`) can be decoded.

    FFmpeg threads are off: one process a core is cheaper. Raises SampleError with kind missing, empty,
    not_media, no_moov, no_video_stream, unsupported_codec or oom (frames above `settings.max_source_pixels`).
    """
    if not path.is_file():
        raise SampleError(FailureKind.MISSING, f"{path}: no such file")
    if path.stat().st_size == 0:
        raise SampleError(FailureKind.EMPTY, f"{path}: the file has 0 bytes")
    container = _open(path)
    try:
        _prepare_stream(path, container, settings.max_source_pixels)
    except SampleError:
        container.close()
        raise
    return container


def video_stream(container: Any) -> Any:
    """FFmpeg's choice among the video streams that are no pictures (cover art, thumbnails); None without one.

    Of several streams, those of formats for pictures are taken for pictures that are not marked.
    """
    videos = [stream for stream in container.streams.video if not stream.disposition & PICTURE]
    codecs = [(stream, stream.codec_context.name if stream.codec_context else "") for stream in videos]
    videos = [stream for stream, codec in codecs if codec not in STILL_CODECS] or videos
    best = container.streams.best("video")
    return best if best is None or best in videos else next(iter(videos), None)


def pixel_aspect(stream: Any) -> Fraction:
    """Width over height of the pixels of a video stream; 1 where the file does not say, or says nonsense."""
    aspect = stream.sample_aspect_ratio
    known = aspect is not None and MAX_PIXEL_ASPECT >= aspect >= 1 / MAX_PIXEL_ASPECT
    return Fraction(aspect) if known else Fraction(1)


def packets_of(container: Any, stream: Any) -> Iterator[Any]:
    """Packets with data, from the present position on. Raises av.error.FFmpegError where the demuxer fails.

    The headers of a second stream that follows in an Ogg file come as packets. Those that change the decoder
    stay.
    """
    header = OGG_HEADERS.get(stream.codec_context.name) if "ogg" in container.format.name else None
    while True:
        try:
            for packet in container.demux(stream):
                if packet.size and not (header and bytes(packet).startswith(header)):
                    yield packet
            return
        except IndexError:
            # PyAV met a packet of a stream that the file's beginning did not announce. It is behind us, and
            # it is not a packet of `stream`.
            continue


def packets_until_error(container: Any, stream: Any) -> Iterator[Any]:
    """Packets with data; an error of the demuxer is the end of the file.

    So is a lack of memory: in a damaged file it is an absurd size (FFmpeg says ENOMEM to both).
    """
    try:
        yield from packets_of(container, stream)
    except av.error.FFmpegError:
        return


def decode(codec: Any, packet: Any) -> list[Any]:
    """The frames that come out of a decoder with a packet; none where it fails."""
    try:
        return list(codec.decode(packet))
    except MemoryError:
        raise
    except av.error.FFmpegError:
        return []


def _prepare_stream(path: Path, container: Any, most_pixels: int) -> None:
    """Limit the decoder of the stream to one thread and to frames of `most_pixels`."""
    stream = video_stream(container)
    if stream is None or (stream.codec_context is None and not len(container.streams.video)):
        raise SampleError(FailureKind.NO_VIDEO_STREAM, f"{path}: no video stream; {_streams(container)}")
    if _is_still(path, container, stream):
        raise SampleError(FailureKind.NO_VIDEO_STREAM, f"{path}: a still picture, not a video")
    codec = stream.codec_context
    if codec is None:
        raise SampleError(FailureKind.UNSUPPORTED_CODEC, f"{path}: no decoder for its video stream")
    if codec.width * codec.height > most_pixels:
        size = f"{codec.width}×{codec.height}"
        message = f"{path}: frames of {size} pixels, more than decode.max_source_pixels = {most_pixels}"
        raise SampleError(FailureKind.OOM, message)
    codec.thread_count = 1
    codec.options = {"max_pixels": str(most_pixels)}


def _streams(container: Any) -> str:
    kinds = {
        "cover picture" if s.type == "video" and s.disposition & PICTURE else s.type
        for s in container.streams
    }
    return "streams found: " + (", ".join(sorted(kinds)) or "none")


def _is_still(path: Path, container: Any, stream: Any) -> bool:
    """Whether an ISO file holds images alone (HEIF, AVIF): it has no track, only items."""
    if "mov" not in container.format.name.split(",") or stream.frames > 1:
        return False
    boxes = iso_boxes(path)
    return b"meta" in boxes and b"moov" not in boxes and b"moof" not in boxes


def _open(path: Path) -> Any:
    # An absolute path never reads as a protocol ("concat:a|b"), whatever the file is called.
    name, protocols = os.path.abspath(path), "file"  # noqa: PTH100  # no symlink must be resolved
    if parts := parts_of(path):
        name, protocols = parts_name(name, parts), "file,subfile,concat"
    try:
        return av.open(name, options={"format_whitelist": FORMATS, "protocol_whitelist": protocols})
    except av.error.DecoderNotFoundError as error:
        raise SampleError(FailureKind.UNSUPPORTED_CODEC, f"{path}: {error.strerror}") from error
    except PermissionError as error:
        raise SampleError(FailureKind.MISSING, f"{path}: {error.strerror}") from error
    except (av.error.FFmpegError, UnicodeDecodeError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> SampleError:
    boxes = iso_boxes(path)
    if boxes and boxes[0] in _ISO_BOXES and b"moov" not in boxes and b"moof" not in boxes:
        found = ", ".join(box.decode("latin-1") for box in boxes[:8])
        message = f"{path}: an MP4/MOV file without its index (moov); boxes found: {found}. It was cut off"
        return SampleError(FailureKind.NO_MOOV, message)
    return SampleError(FailureKind.NOT_MEDIA, f"{path}: no video format that is read ({_words(error)})")


def _words(error: Exception) -> str:
    """FFmpeg's own words for an error: the error, and the last line that it logged."""
    if not isinstance(error, av.error.FFmpegError):
        return str(error)
    _, part, line = error.log or (0, "", "")
    return f"{error.strerror}; {part}: {line.strip()}" if line.strip() else str(error.strerror)
