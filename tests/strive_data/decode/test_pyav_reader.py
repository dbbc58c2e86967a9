from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from strive_data.config import DecodeSettings
from strive_data.decode import read_candidates
from strive_data.decode.media import pixel_aspect
from strive_data.decode.pyav_reader import read_video
from strive_data.decode.store import UPRIGHT, FrameStore
from strive_data.errors import FailureKind, SampleError
from tests.strive_data.decode.made_checks import MakeClip, damaged, positions
from tools.barcodes import (
    CLOSED,
    CORPUS,
    INTRA,
    OPEN_TS,
    Clip,
    all_marked_as_keys,
    encode,
    numbers_of,
    x264,
    x265,
)


def exact(candidates: int) -> DecodeSettings:
    """Settings that keep the small test frames at their size."""
    return DecodeSettings(candidates=candidates, multiple=1, max_pixels=1 << 20)


def shown_numbers(times: np.ndarray, end: float, count: int) -> list[int]:
    """Oracle: the last frame that began at or before each midpoint, by a plain search."""
    found = []
    for cell in range(count):
        midpoint = (cell + 0.5) * end / count
        found.append(max([i for i, time in enumerate(times) if time <= midpoint + 1e-6], default=0))
    return sorted(set(found))


@pytest.mark.parametrize("clip", CORPUS, ids=lambda clip: clip.name)
@pytest.mark.parametrize("count", [7, 64])
def test_every_frame_is_the_one_shown_at_its_time(make_clip: MakeClip, clip: Clip, count: int) -> None:
    if clip.codec not in av.codecs_available:
        pytest.skip(f"this build of PyAV has no encoder {clip.codec}")
    got = read_video(make_clip(clip), exact(count))

    times = clip.times_seconds
    assert got.info.decode_errors == 0
    numbers = numbers_of(got.frames, clip.rotation)
    np.testing.assert_allclose(got.times, times[numbers], atol=2e-3)
    last = got.info.duration_seconds - times[-1]
    assert last == pytest.approx(1 / clip.rate, abs=2e-3) or (clip.times and 0 < last < 0.2)
    assert numbers == shown_numbers(times, got.info.duration_seconds, count)
    assert got.frames.shape[2:0:-1] == clip.shown_size
    assert (got.info.width, got.info.height) == clip.shown_size


def test_rotation_turns_the_picture_and_leaves_the_identity(make_clip: MakeClip) -> None:
    turned_clip = next(clip for clip in CORPUS if clip.name == "turned90.mp4")
    plain = read_video(make_clip(CLOSED), exact(4))
    turned = read_video(make_clip(turned_clip), exact(4))
    assert (turned.info.width, turned.info.height) == (96, 160)
    np.testing.assert_array_equal(turned.frames, np.rot90(plain.frames, axes=(1, 2)))  # counter-clockwise
    assert turned.info.video_id == plain.info.video_id


def test_transport_stream_that_begins_inside_a_group(make_clip: MakeClip, tmp_path: Path) -> None:
    data = make_clip(OPEN_TS).read_bytes()
    path = tmp_path / "cut.ts"
    path.write_bytes(data[188 * (len(data) // 188 // 4) :])

    got = read_video(path, exact(16))

    numbers = np.array(numbers_of(got.frames))
    first = numbers[0] - round(got.times[0] * 25)
    assert first > 5
    np.testing.assert_allclose(got.times, (numbers - first) * 0.04, atol=1e-6)
    assert len(numbers) == 16


def test_file_cut_off_behind_its_index_gives_what_survives(make_clip: MakeClip, tmp_path: Path) -> None:
    clip = Clip(name="fast.mp4", options=CLOSED.options, muxing={"movflags": "faststart"})
    data = make_clip(clip).read_bytes()
    path = tmp_path / "cut.mp4"
    path.write_bytes(data[: len(data) * 3 // 4])
    got = read_video(path, exact(32))
    numbers = numbers_of(got.frames)
    np.testing.assert_allclose(got.times, np.array(numbers) * 0.04, atol=1e-6)
    assert got.info.decode_errors >= 1
    assert len(numbers) >= 30

    path.write_bytes(data[: len(data) * 2 // 5])
    with pytest.raises(SampleError, match="can be read") as caught:
        read_video(path, exact(32))
    assert caught.value.kind is FailureKind.PARTIAL_DECODE


def test_lost_frames_are_dropped_counted_and_not_replaced(make_clip: MakeClip, tmp_path: Path) -> None:
    """Every frame is a key frame here, so that one damaged packet costs one frame."""
    path = damaged(make_clip(INTRA), tmp_path / "damaged.mp4", range(20, 30))
    got = read_video(path, exact(90))
    assert numbers_of(got.frames) == [*range(20), *range(30, 90)]
    np.testing.assert_allclose(got.times, INTRA.times_seconds[[*range(20), *range(30, 90)]], atol=1e-6)
    assert got.info.decode_errors == 10


def test_fewer_than_half_surviving_is_a_failure(make_clip: MakeClip, tmp_path: Path) -> None:
    path = damaged(make_clip(INTRA), tmp_path / "damaged.mp4", range(30, 90))
    with pytest.raises(SampleError, match="30 of 90 wanted frames") as caught:
        read_video(path, exact(90))
    assert caught.value.kind is FailureKind.PARTIAL_DECODE


def test_identity_survives_a_change_of_container(make_clip: MakeClip, tmp_path: Path) -> None:
    path = tmp_path / "copy.mkv"
    with av.open(str(make_clip(CLOSED))) as source, av.open(str(path), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    one, other = (read_video(p, exact(4)).info.video_id for p in (make_clip(CLOSED), path))
    assert one == other
    assert one != read_video(make_clip(OPEN_TS), exact(4)).info.video_id


def test_what_a_damaged_frame_reaches_is_counted_even_if_it_is_not_wanted_itself(
    make_clip: MakeClip, tmp_path: Path
) -> None:
    """Found by fuzzing: FFmpeg marks the frame that it had to conceal, not those that refer to it."""
    clip = Clip(name="chain.mp4", options=x264(keyint=30, bframes=0, scenecut=0))
    # Packet 35 is of the group of frames 30 to 59; wanted are 4, 13, 22, 31, 40 ...
    path = damaged(make_clip(clip), tmp_path / "damaged.mp4", [35], half=True)
    before, got = read_video(make_clip(clip), exact(10)), read_video(path, exact(10))
    differs = (before.frames != got.frames).any(axis=(1, 2, 3))
    assert np.array(numbers_of(before.frames))[differs].tolist() == [40, 49, 58]
    assert got.info.decode_errors == 3


def test_a_file_that_calls_every_frame_a_key_frame_is_not_believed(make_clip: MakeClip) -> None:
    """Found by fuzzing: a damaged table of frames gave grey pictures and no error."""
    clip = Clip(name="all_keys.avi", codec="mpeg4", max_b_frames=0, edit=all_marked_as_keys)
    got = read_video(make_clip(clip), exact(16))
    assert numbers_of(got.frames) == shown_numbers(clip.times_seconds, 3.6, 16)
    assert got.info.decode_errors == 0


def test_zeroed_stretches_of_hevc_are_counted(make_clip: MakeClip, tmp_path: Path) -> None:
    """FFmpeg's decoder gives pictures for them, marks none and raises nothing."""
    clip = next(clip for clip in CORPUS if clip.name == "hevc.mp4")
    path = damaged(make_clip(clip), tmp_path / "zeroed.mp4", [36], byte=0, half=True)
    before, got = read_video(make_clip(clip), exact(10)), read_video(path, exact(10))
    # The rest of a picture is what the memory held, which may even be right.
    assert (before.frames != got.frames).any(axis=(1, 2, 3)).sum() <= 1
    assert got.info.decode_errors == 1


def test_a_reference_that_cannot_be_read_is_counted_even_if_it_is_not_wanted(
    make_clip: MakeClip, tmp_path: Path
) -> None:
    """Found by fuzzing: a decoder that skips unreferenced pictures raised no error for a broken reference."""
    clip = Clip(name="pyramid3.mp4", options=x264(keyint=30, bframes=3, b_adapt=0, b_pyramid="normal"))
    before = read_video(make_clip(clip), exact(10))
    assert numbers_of(before.frames) == [4, 13, 22, 31, 40, 49, 58, 67, 76, 85]
    data = bytearray(make_clip(clip).read_bytes())
    with av.open(str(make_clip(clip))) as container:
        packets = {round(float(p.pts * p.time_base) * 25): p for p in container.demux(video=0) if p.size}
    bad = packets[34]  # of the group that begins at 30, and not wanted
    assert bytes(bad)[4] & 0x60
    data[bad.pos + 5 : bad.pos + bad.size] = bytes(bad.size - 5)
    path = tmp_path / "zeroed.mp4"
    path.write_bytes(data)
    got = read_video(path, exact(10))
    # The four that refer to it show what the decoder's memory held, which may even be the right picture.
    np.testing.assert_array_equal(got.frames[[0, 1, 2, 7, 8, 9]], before.frames[[0, 1, 2, 7, 8, 9]])
    assert got.info.decode_errors == 1 + 4


def test_hevc_pictures_that_nothing_wanted_refers_to_are_left_out(
    make_clip: MakeClip, tmp_path: Path
) -> None:
    """Destroying every such picture changes nothing, so that they were not decoded."""
    clip = next(clip for clip in CORPUS if clip.name == "hevc.mp4")
    before = read_video(make_clip(clip), exact(8))
    wanted = {round(time * 25) for time in before.times}
    data = bytearray(make_clip(clip).read_bytes())
    destroyed = 0
    with av.open(str(make_clip(clip))) as container:
        for packet in container.demux(video=0):
            trailing_unreferenced = packet.size and bytes(packet)[4] >> 1 == 0
            if trailing_unreferenced and round(float(packet.pts * packet.time_base) * 25) not in wanted:
                data[packet.pos + 6 : packet.pos + packet.size] = b"\xff" * (packet.size - 6)
                destroyed += 1
    path = tmp_path / "destroyed.mp4"
    path.write_bytes(data)
    got = read_video(path, exact(8))
    assert destroyed > 25
    assert got.info.decode_errors == 0
    np.testing.assert_array_equal(got.frames, before.frames)


def test_one_turned_bit_is_found_where_hevc_pictures_have_their_md5(tmp_path: Path) -> None:
    """Without it FFmpeg's decoder takes such pictures for sound: what it decodes is valid."""
    clip = Clip(name="hevc.mp4", codec="libx265", options=x265(keyint=30, bframes=3, hash=1))
    path = encode(clip, tmp_path)
    before = read_video(path, exact(10))
    assert before.info.decode_errors == 0
    assert numbers_of(before.frames) == shown_numbers(clip.times_seconds, 3.6, 10)
    packets = positions(path)
    data = path.read_bytes()
    for place in (1, 31, 61):  # the first picture after each key frame, to which others refer
        turned = bytearray(data)
        turned[packets[place][0] + packets[place][1] // 3] ^= 4
        broken = tmp_path / "turned.mp4"
        broken.write_bytes(turned)
        got = read_video(broken, exact(10))
        differs = sum(not np.array_equal(*pair) for pair in zip(before.frames, got.frames, strict=True))
        assert 0 < differs < got.info.decode_errors


def test_no_hevc_picture_is_left_out_where_there_are_sublayers(tmp_path: Path) -> None:
    clip = Clip(name="hevc.mp4", codec="libx265", options=x265(keyint=24, bframes=4, temporal_layers=3))
    path = encode(clip, tmp_path)
    with av.open(str(path)) as container:
        assert {(bytes(packet)[5] & 7) - 1 for packet in container.demux(video=0) if packet.size} == {0, 1, 2}
    for count in (7, 64):
        got = read_video(path, exact(count))
        assert numbers_of(got.frames) == shown_numbers(clip.times_seconds, 3.6, count)
        assert got.info.decode_errors == 0


@pytest.mark.parametrize("name", ["open.mkv", "vp9.webm"])
def test_a_matroska_file_that_was_cut_off_says_so(make_clip: MakeClip, tmp_path: Path, name: str) -> None:
    """FFmpeg reads such a file to where it ends, without an error."""
    clip = next(clip for clip in CORPUS if clip.name == name)
    data = make_clip(clip).read_bytes()
    path = tmp_path / name
    path.write_bytes(data[: len(data) * 3 // 4])
    assert read_video(path, exact(8)).info.decode_errors == 1
    path.write_bytes(data[: len(data) * 2 // 5])
    with pytest.raises(SampleError, match="can be read") as caught:
        read_video(path, exact(8))
    assert caught.value.kind is FailureKind.PARTIAL_DECODE


LIVE_VP8: dict[str, Any] = {"codec": "libvpx", "options": {"lag-in-frames": "0", "cpu-used": "8"}}
APPENDED = [*CORPUS, *(Clip(name=name, **LIVE_VP8) for name in ("a.ogg", "a.ivf", "a.nut"))]


@pytest.mark.parametrize("name", ["fragments.mp4", "plain.avi", "a.ogg", "a.ivf", "a.nut"])
def test_what_was_appended_to_a_file_is_no_damage_and_what_it_lost_is(
    make_clip: MakeClip, tmp_path: Path, name: str
) -> None:
    path, sound = tmp_path / name, make_clip(next(clip for clip in APPENDED if clip.name == name))
    data, before = sound.read_bytes(), read_video(sound, exact(8))
    for junk in (b"\n", b"<html>no mdat, no moof</html>\n", b"TAG" + bytes(125), bytes(5000)):
        path.write_bytes(data + junk)
        got = read_video(path, exact(8))
        assert got.info.decode_errors == 0
        np.testing.assert_array_equal(got.frames, before.frames)
    for ending in (b"", bytes(len(data) // 5), b"\xa5" * (len(data) // 5)):
        path.write_bytes(data[: len(data) - len(data) // 5] + ending)
        assert read_video(path, exact(8)).info.decode_errors > 0
    if name == "fragments.mp4":  # what is no text may have been a fragment
        kept = data.rfind(b"moof") - 4
        path.write_bytes(data[:kept] + b"\xa5" * (len(data) - kept))
        assert read_video(path, exact(8)).info.decode_errors > 0


def test_two_reads_are_equal_bit_for_bit(make_clip: MakeClip) -> None:
    one, other = (read_video(make_clip(CLOSED), DecodeSettings(candidates=9)) for _ in range(2))
    np.testing.assert_array_equal(one.frames, other.frames)
    assert one.info == other.info


REAL = ["arm_wrestling.mp4", "bikes.mp4", "collisions.mp4", "flipping_a_pancake.mkv", "peppers.mp4"]


@pytest.mark.parametrize("name", REAL)
def test_real_clips_equal_a_full_sequential_decode(shared_data: Path, name: str) -> None:
    path = shared_data / "videos" / name
    settings = DecodeSettings(candidates=32, max_pixels=64 * 28 * 28)
    got = read_video(path, settings)
    assert len(got.frames) == 32

    wanted = {round(time * 1e4): slot for slot, time in enumerate(got.times)}
    with av.open(str(path)) as container:
        aspect, start = pixel_aspect(container.streams.video[0]), None
        sequential = FrameStore(32, settings, pixel_aspect=aspect, orientation=UPRIGHT)
        for frame in container.decode(video=0):
            start = frame.time if start is None else start
            slot = wanted.get(round((frame.time - start) * 1e4))
            if slot is not None:
                sequential.put(slot, frame)
    np.testing.assert_array_equal(got.frames, sequential.survivors())


@pytest.mark.parametrize("count", [32, 128])
def test_all_real_clips_decode(shared_data: Path, count: int) -> None:
    names = sorted(path.name for path in (shared_data / "videos").iterdir())
    good = [name for name in names if name not in ("corrupted.mp4", "unreadable.mp4")]
    assert len(good) == 11
    for name in good:
        got = read_video(shared_data / "videos" / name, DecodeSettings(candidates=count))
        assert len(got.frames) == len(got.times) == count
        assert got.info.decode_errors == 0
        assert got.frames.shape[1] * got.frames.shape[2] <= 128 * 28 * 28
        assert np.all(np.diff(got.times) > 0)
        assert got.times[0] >= 0
        assert got.times[-1] < got.info.duration_seconds


def test_a_really_damaged_file_gives_all_but_the_lost_frame(shared_data: Path) -> None:
    got = read_video(shared_data / "videos" / "corrupted.mp4", DecodeSettings(candidates=128))
    assert len(got.frames) == 49
    assert got.info.decode_errors >= 1
    assert 3.0 not in got.times.round(6)


@pytest.mark.parametrize(("name", "used"), [("auto", "pyav"), ("pyav", "pyav"), ("decord", "decord")])
def test_reader_by_name(make_clip: MakeClip, name: str, used: str) -> None:
    settings = DecodeSettings(reader=name, candidates=8, multiple=1)  # type: ignore[arg-type]
    got = read_candidates(make_clip(CLOSED), settings)
    assert got.info.reader == used
    assert numbers_of(got.frames) == [5, 16, 28, 39, 50, 61, 73, 84]


def test_decoding_imports_no_torch(make_clip: MakeClip) -> None:
    code = (
        "import sys; from pathlib import Path; from strive_data.config import DecodeSettings;"
        "import strive_data.engines.decode_pool; from strive_data.decode import read_candidates;"
        "settings = [DecodeSettings(candidates=4, reader=name) for name in ('pyav', 'decord')];"
        "[read_candidates(Path(sys.argv[1]), s) for s in settings];"
        "print(sorted({'torch', 'transformers', 'open_clip'} & set(sys.modules)))"
    )
    path = str(make_clip(CLOSED))
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
