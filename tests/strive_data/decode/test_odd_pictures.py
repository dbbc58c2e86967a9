"""Pictures where a video is expected: covers, single ones, palettes, animations, orientation."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition
from PIL import Image, ImageOps

from strive_data.errors import FailureKind, SampleError
from tests.strive_data.decode.made_checks import MakeClip, check, read
from tools.barcodes import CLOSED, Clip, draw, encode


@pytest.mark.parametrize("name", ["audio_cover.m4a", "still.avif"])
def test_shared_pictures_are_no_videos(shared_data: Path, name: str) -> None:
    with pytest.raises(SampleError, match="picture") as caught:
        read(shared_data / "odd_videos" / name)
    assert caught.value.kind is FailureKind.NO_VIDEO_STREAM


def with_palette(path: Path, codec: str) -> Path:
    """A clip of 90 pictures; the first entry of its palette is white, the others are black."""
    palette = np.full((256, 4), 255, dtype=np.uint8)
    palette[1:, 1:] = 0
    with av.open(str(path), "w") as writer:
        stream = writer.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 96, "pal8"
        for number in range(90):
            is_black = (draw(number, 160, 96)[..., 0] < 127).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray((is_black * (1 + number % 2), palette), format="pal8")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            writer.mux(stream.encode(frame))
        writer.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("name", ["pal.avi", "pal.mov"])
def test_a_palette_is_kept(tmp_path: Path, name: str) -> None:
    """Demuxers give it with the first packet alone, before the first seek."""
    check(read(with_palette(tmp_path / name, "rawvideo"), 8), 8, 3.6)


@pytest.mark.parametrize("marked", [True, False])
def test_a_cover_beside_a_video_is_passed_over(make_clip: MakeClip, tmp_path: Path, marked: bool) -> None:
    path = tmp_path / "cover.mp4"
    with av.open(str(make_clip(CLOSED))) as reader, av.open(str(path), "w") as writer:
        cover = writer.add_stream("mjpeg", rate=25)
        cover.width, cover.height, cover.pix_fmt = 640, 480, "yuvj420p"
        cover.disposition = Disposition.attached_pic if marked else Disposition.default
        video = writer.add_stream_from_template(reader.streams.video[0])
        picture = av.VideoFrame.from_ndarray(np.zeros((480, 640, 3), np.uint8), format="rgb24")
        picture.pts = 0
        writer.mux([*cover.encode(picture), *cover.encode(None)])
        for packet in reader.demux(video=0):
            if packet.size:
                packet.stream = video
                writer.mux(packet)
    with av.open(str(path)) as container:
        assert sum(bool(s.disposition & Disposition.attached_pic) for s in container.streams) == marked
    check(read(path), 64, 3.6)


def test_a_song_with_a_cover_says_so(tmp_path: Path) -> None:
    path = tmp_path / "song.mp3"
    with av.open(str(path), "w") as writer:
        sound = writer.add_stream("libmp3lame", rate=16000, layout="mono")
        cover = writer.add_stream("mjpeg", rate=25)
        cover.width, cover.height, cover.pix_fmt = 64, 64, "yuvj420p"
        cover.disposition = Disposition.attached_pic
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.int16), format="s16p", layout="mono")
        frame.sample_rate, frame.pts = 16000, 0
        writer.mux([*sound.encode(frame), *sound.encode(None)])
        picture = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
        writer.mux([*cover.encode(picture), *cover.encode(None)])
    with pytest.raises(SampleError, match="cover picture") as caught:
        read(path)
    assert caught.value.kind is FailureKind.NO_VIDEO_STREAM


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [("one.gif", "gif", "rgb8"), ("one.avi", "mjpeg", "yuvj420p"), ("one.mov", "png", "rgb24")],
)
def test_one_picture_of_a_picture_format_is_no_video(
    tmp_path: Path, name: str, codec: str, pix_fmt: str
) -> None:
    path = encode(Clip(name=name, codec=codec, pix_fmt=pix_fmt, count=1), tmp_path)
    with pytest.raises(SampleError, match="picture") as caught:
        read(path)
    assert caught.value.kind is FailureKind.NO_VIDEO_STREAM


def test_an_animated_png_is_a_video(tmp_path: Path) -> None:
    check(read(encode(Clip(name="a.apng", codec="apng", pix_fmt="rgb24"), tmp_path)), 64, 3.6)


def test_an_animated_png_is_read_from_its_start(tmp_path: Path) -> None:
    """Its key frames cover all of the picture, but what they restore afterwards is of before."""
    path = with_palette(tmp_path / "a.apng", "apng")
    with av.open(str(path)) as container:
        container.streams.video[0].codec_context.thread_count = 1
        shown = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    got = read(path, 8)
    chosen = np.round(got.times * 25).astype(int)
    np.testing.assert_array_equal(got.frames, np.array(shown)[chosen])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_of_a_video_are_turned_and_mirrored_by_their_exif(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path, shown = tmp_path / "exif.avi", []
    with av.open(str(path), "w") as writer:
        stream = writer.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuvj420p"
        for number in range(8):
            file = io.BytesIO()
            Image.fromarray(draw(number, 160, 96)).save(file, "JPEG", quality=92, exif=exif.tobytes())
            shown.append(np.asarray(ImageOps.exif_transpose(Image.open(file))).astype(int))
            packet = av.Packet(file.getvalue())
            packet.pts = packet.dts = number
            packet.time_base, packet.is_keyframe, packet.stream = Fraction(1, 25), True, stream
            writer.mux(packet)
    assert np.abs(read(path, 8).frames - np.array(shown)).mean() < 2


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"), [("a.y4m", "wrapped_avframe", "yuv420p"), ("a.mjpeg", "mjpeg", "yuvj420p")]
)
def test_raw_pictures_are_videos(tmp_path: Path, name: str, codec: str, pix_fmt: str) -> None:
    check(read(encode(Clip(name=name, codec=codec, pix_fmt=pix_fmt), tmp_path)), 64, 3.6)
