"""No size is taken on trust."""

from __future__ import annotations

import json
import os
import pickle
import re
import struct
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import simplejpeg

from strive_data.build.verify import verify_build
from strive_data.common.npy import npy_bytes, read_npy
from strive_data.config import MAX_FRAME_PIXELS, DecodeSettings, ScoreSettings
from strive_data.demo.draw import write_world
from strive_data.engines.cache import FRAMES_ONLY, CacheHit, VideoCache, read_entry, write_entry
from strive_data.errors import DamagedError, SampleError
from strive_data.inspect.report import Selection, write_report
from strive_data.inspect.timeline import write_plot
from strive_data.score import FrameScores
from strive_data.score.precomputed import PrecomputedScorer
from strive_data.shards.format import MAX_JSON_BYTES, decode_jpeg, decode_sample, encode_frames, jpeg_size
from tests.safety.forgeries import forged_entry, npy_claiming, plant, sample_tar, signed_entry
from tests.strive_data.made.samples import a_question, some_candidates

STORED = DecodeSettings(candidates=10)
INFO = asdict(some_candidates().info)
JPEG_BYTES = sum(map(len, encode_frames(some_candidates(), 90).jpegs_of(range(10))))


def json_array(body: object) -> bytes:
    return npy_bytes(np.frombuffer(json.dumps(body).encode(), np.uint8))


def jpeg_claiming(width: int, height: int) -> bytes:
    """A small JPEG whose header says another size."""
    jpeg = simplejpeg.encode_jpeg(np.zeros((8, 8, 3), np.uint8))
    at = jpeg.index(b"\xff\xc0") + 5
    return jpeg[:at] + struct.pack(">HH", height, width) + jpeg[at + 4 :]


def test_image_bombs_are_refused_by_their_header(build: Path, tmp_path: Path) -> None:
    bomb = jpeg_claiming(65000, 65000)
    for read in (jpeg_size, decode_jpeg):
        with pytest.raises(DamagedError, match=rf"65000×65000 pixels, .* {MAX_FRAME_PIXELS}"):
            read(bomb)
    plant(build, sample_tar(lambda name, content: (name, bomb if name.endswith(".jpg") else content)))
    with pytest.raises(DamagedError, match="image bomb"):
        write_report(build, tmp_path / "r.html", Selection())
    with pytest.raises(DamagedError, match="image bomb"):
        write_plot(build, "1", tmp_path / "p.png")
    assert any("image bomb" in problem.what for problem in verify_build(build, workers=1).problems)


@pytest.mark.parametrize(
    "content", [b"", b"GIF89a" + bytes(50), b"%!PS-Adobe (file) run", b"\x89PNG\r\n\x1a\n" + bytes(40)]
)
def test_only_jpeg_is_opened_as_a_frame(content: bytes) -> None:
    with pytest.raises(DamagedError, match="not a JPEG image"):
        decode_jpeg(content)


@pytest.mark.parametrize(
    "content",
    [
        npy_claiming("(1000000000000,)"),
        npy_claiming("(1000000, 1000000, 1000000)"),
        npy_claiming("(9,)"),
        npy_claiming("(11,)"),
        npy_claiming("(-1, -10)"),
        npy_claiming("(0, 1000000000000000000)"),
        npy_claiming("(" * 5000),
        npy_claiming("(" * 500 + "10," + ")" * 500),
        npy_claiming("[" * 900),
        npy_claiming("(10,"),
        npy_claiming("(10,)}" + "}" * 300),
        npy_claiming("-" * 900 + "1"),
        npy_claiming("(" + "9" * 900 + ",)"),
        npy_claiming("(10,)", "<f4', 'descr': '<f4"),
        npy_claiming("(10,)", "|O"),
        npy_claiming("(10,)", "<U1"),
        npy_claiming("(10,)", "<M8[s]", bytes(80)),
        npy_claiming("(10,)", "<c8", bytes(80)),
        b"",
        b"\x93NUMPY",
        b"\x93NUMPY\x03\x00" + bytes(60),
        pickle.dumps([1.0]),
    ],
)
def test_arrays_of_another_size_or_type_are_refused_before_they_are_made(
    tmp_path: Path, content: bytes
) -> None:
    with pytest.raises(ValueError, match="array"):
        read_npy(content)
    block = sample_tar(lambda name, old: (name, content if name == "1.scores.npy" else old))
    with pytest.raises(DamagedError, match=r"scores\.npy"):
        decode_sample(block)
    (tmp_path / "1.npy").write_bytes(content)
    (tmp_path / "2.npy").write_bytes(npy_bytes(np.arange(10.0)))
    scorer = PrecomputedScorer(ScoreSettings(scorer="precomputed", scores=str(tmp_path)))
    failed, sound = scorer.score(some_candidates(), [a_question("1"), a_question("2")])
    assert isinstance(failed, SampleError)
    assert isinstance(sound, FrameScores)


def test_a_sound_array_survives() -> None:
    for array in (np.arange(6, dtype=np.int32).reshape(2, 3), np.zeros((0,), np.float64), np.float16([1, 2])):
        np.testing.assert_array_equal(read_npy(npy_bytes(array), dtype=array.dtype), array)


def test_member_sizes_and_json_are_bounded() -> None:
    block = bytearray(sample_tar(lambda name, content: (name, content)))
    block[124:136] = b"77777777777\0"
    with pytest.raises(DamagedError, match=r"claims 8589934591 bytes, but \d+ follow"):
        decode_sample(bytes(block))
    block[124:136] = b"\x80" + bytes(10) + b"\x01"
    with pytest.raises(DamagedError, match="no size in octal"):
        decode_sample(bytes(block))
    for content in (b" " * (MAX_JSON_BYTES + 1), b"[" * 100_000, b"{}", b"[]", b"\xff", b"{"):
        with pytest.raises(DamagedError):
            decode_sample(sample_tar(lambda name, old, new=content: (name, new if name == "1.json" else old)))


@pytest.mark.parametrize(
    "change",
    [
        {"question": 7}, {"options": "A"}, {"options": [1]}, {"width": "9"}, {"width": 10**400},
        {"duration_seconds": float("nan")}, {"evidence_spans": [[1]]}, {"sampler": []}, {"problem_type": "x"},
        {"query_windows": None},
    ],
)  # fmt: skip
def test_values_of_another_type_in_the_json_are_refused(change: dict[str, object]) -> None:
    def changed(name: str, content: bytes) -> tuple[str, bytes]:
        return name, json.dumps(json.loads(content) | change).encode() if name == "1.json" else content

    with pytest.raises(DamagedError):
        decode_sample(sample_tar(changed))


FORGED_ARRAYS = {
    "times of any size": {"times": npy_claiming("(1000000000000,)", "<f8")},
    "times of another count": {"times": npy_bytes(np.zeros(3))},
    "falling times": {"times": npy_bytes(np.arange(10.0)[::-1] / 2)},
    "times after the end": {"times": npy_bytes(np.arange(10.0) + 5)},
    "times of another type": {"times": npy_bytes(np.arange(10, dtype=np.float32))},
    "times without end": {"times": npy_bytes(np.full(10, np.nan))},
    "objects": {"times": npy_claiming("(10,)", "|O", bytes(80))},
    "a deep header": {"times": npy_claiming("(" * 800)},
    "negative sizes": {"jpeg_sizes": npy_bytes(np.full(10, -1))},
    "sizes that overflow": {"jpeg_sizes": npy_bytes(np.full(10, 1 << 62))},
    "zeroed JPEGs": {"jpegs": npy_bytes(np.zeros(JPEG_BYTES, np.uint8))},
    "no frame": {
        "jpeg_sizes": npy_bytes(np.zeros(0, np.int64)),
        "jpegs": npy_bytes(np.zeros(0, np.uint8)),
        "times": npy_bytes(np.zeros(0)),
        "embeddings": npy_bytes(np.zeros((0, 2), np.float32)),
    },
    "embeddings of another model": {"embeddings": npy_bytes(np.zeros((10, 3), np.float32))},
    "embeddings in one row": {"embeddings": npy_bytes(np.zeros(10, np.float32))},
    "embeddings of another count": {"embeddings": npy_bytes(np.zeros((9, 2), np.float32))},
    "huge embeddings": {"embeddings": npy_bytes(np.full((10, 2), 1e38, np.float32))},
    "a list for the video": {"info": json_array([1])},
    "a list of lists for the video": {"info": json_array([[1, 2]])},
    "half a character": {"info": json_array(INFO | {"reader": "\ud800"})},
    "fewer than no gaps": {"info": json_array(INFO | {"discontinuities": -1})},
    "nothing for the video": {"info": json_array(None)},
    "nested JSON": {"info": npy_bytes(np.frombuffer(b"[" * 100_000, np.uint8))},
    "no JSON": {"info": npy_bytes(np.frombuffer(b"\xff{", np.uint8))},
    "a width in words": {"info": json_array(INFO | {"width": "wide"})},
    "no width": {"info": json_array(INFO | {"width": 0})},
    "another size": {"info": json_array(INFO | {"width": 280})},
    "a duration without end": {"info": json_array(INFO | {"duration_seconds": float("inf")})},
    "an unknown member": {"info": json_array(INFO | {"a.b": 1})},
}


@pytest.mark.parametrize("arrays", FORGED_ARRAYS.values(), ids=FORGED_ARRAYS)
def test_a_forged_cache_entry_is_not_believed(tmp_path: Path, arrays: dict[str, bytes]) -> None:
    assert read_entry(forged_entry(tmp_path), STORED, 2) is not None
    assert read_entry(forged_entry(tmp_path, **arrays), STORED, 2) is None


def test_a_cache_entry_is_neither_compressed_nor_encrypted_nor_of_other_settings(tmp_path: Path) -> None:
    bomb = npy_bytes(np.zeros(1 << 26, np.uint8))
    assert read_entry(forged_entry(tmp_path, jpegs=bomb, compressed=True), STORED) is None
    entry = forged_entry(tmp_path)
    for settings in (DecodeSettings(candidates=9), replace(STORED, max_pixels=784)):
        assert read_entry(entry, settings) is None
    payload = bytearray(entry.read_bytes()[:-32])
    for at in [match.start() for match in re.finditer(rb"PK\x01\x02", payload)]:
        payload[at + 8] |= 1  # the flag of an encrypted member
    assert read_entry(signed_entry(entry, bytes(payload)), STORED) is None


def test_no_changed_byte_of_a_signed_cache_entry_raises(tmp_path: Path) -> None:
    entry, generator = forged_entry(tmp_path), np.random.default_rng(0)
    payload = entry.read_bytes()[:-32]
    directory = payload.index(b"PK\x01\x02")
    for at in [*range(directory, len(payload)), *generator.integers(0, len(payload), 100)]:
        changed = bytearray(payload)
        changed[at] ^= int(generator.integers(1, 256))
        read_entry(signed_entry(entry, bytes(changed)), STORED, 2)


def a_folder(entry: Path) -> None:
    entry.mkdir()


def a_pipe(entry: Path) -> None:
    os.mkfifo(entry)


def a_link_to_a_device(entry: Path) -> None:
    entry.symlink_to("/dev/zero")


def a_huge_file(entry: Path) -> None:
    with entry.open("wb") as file:
        file.truncate(1 << 36)


def a_file_for_its_folder(entry: Path) -> None:
    entry.parent.rmdir()
    entry.parent.touch()


@pytest.mark.parametrize("identity", ["model", FRAMES_ONLY])
@pytest.mark.parametrize("make", [a_folder, a_pipe, a_link_to_a_device, a_huge_file, a_file_for_its_folder])
def test_only_regular_files_of_a_possible_size_are_cache_entries(
    tmp_path: Path, make: Callable[[Path], None], identity: str
) -> None:
    video = next(
        write_world(tmp_path / "world", videos=1, questions_per_video=1, seed=0).parent.rglob("*.mp4")
    )
    settings = DecodeSettings(candidates=4, max_pixels=784)
    cache = VideoCache(folder=tmp_path / "cache", identity=identity, quality=90, embedding_size=2)
    first = cache.read(video, settings)
    first.entry.parent.mkdir(parents=True)
    make(first.entry)
    again = cache.read(video, settings)
    assert again.damaged_entry in (first.entry, first.entry.parent)
    if again.entry is not None:
        write_entry(again.entry, encode_frames(again.candidates, 90), np.zeros((4, 2), np.float32))
        assert isinstance(cache.read(video, settings), CacheHit)
