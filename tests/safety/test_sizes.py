"""No size is taken on trust."""

from __future__ import annotations

import json
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
import simplejpeg

from strive_data.common.npy import npy_bytes, read_npy
from strive_data.config import ScoreSettings
from strive_data.engines.cache import read_entry
from strive_data.errors import DamagedError, SampleError
from strive_data.inspect.report import Selection, write_report
from strive_data.inspect.timeline_png import write_plot
from strive_data.schema import MAX_FRAME_PIXELS
from strive_data.score.precomputed import PrecomputedScorer
from strive_data.shards.format import MAX_JSON_BYTES, decode_sample
from strive_data.shards.frames import decode_jpeg, jpeg_size
from strive_data.verify import verify_build
from tests.safety.forgeries import forged_entry, npy_claiming, plant, sample_tar
from tests.strive_data.samples import a_question, some_candidates


def jpeg_claiming(width: int, height: int) -> bytes:
    """A small JPEG whose header says another size."""
    jpeg = simplejpeg.encode_jpeg(np.zeros((8, 8, 3), np.uint8))
    at = jpeg.index(b"\xff\xc0") + 5
    return jpeg[:at] + struct.pack(">HH", height, width) + jpeg[at + 4 :]


def test_image_bombs_are_refused_by_their_header(build: Path, tmp_path: Path) -> None:
    bomb = jpeg_claiming(65000, 65000)
    for read in (jpeg_size, decode_jpeg):
        with pytest.raises(
            DamagedError, match=rf"65000×65000 pixels, more than the limit of {MAX_FRAME_PIXELS}"
        ):
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
    with pytest.raises(ValueError, match=r"array|magic|header|EOF"):
        read_npy(content)
    block = sample_tar(lambda name, old: (name, content if name == "1.scores.npy" else old))
    with pytest.raises(DamagedError, match=r"scores\.npy"):
        decode_sample(block)
    (tmp_path / "1.npy").write_bytes(content)
    scorer = PrecomputedScorer(ScoreSettings(scorer="precomputed", scores=str(tmp_path)))
    (result,) = scorer.score(some_candidates(), [a_question("1")])
    assert isinstance(result, SampleError)


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
        {"views": [[]]},
        {"duration_seconds": float("nan")}, {"evidence_spans": [[1]]}, {"sampler": []}, {"problem_type": "x"},
        {"query_windows": None},
    ],
)  # fmt: skip
def test_values_of_another_type_in_the_json_are_refused(change: dict[str, object]) -> None:
    def changed(name: str, content: bytes) -> tuple[str, bytes]:
        return name, json.dumps(json.loads(content) | change).encode() if name == "1.json" else content

    with pytest.raises(DamagedError):
        decode_sample(sample_tar(changed))


def test_a_forged_cache_entry_is_none(tmp_path: Path) -> None:
    assert read_entry(forged_entry(tmp_path)) is not None
    assert (
        read_entry(forged_entry(tmp_path, jpegs=npy_bytes(np.zeros(1 << 26, np.uint8)), compressed=True))
        is None
    )
    assert read_entry(forged_entry(tmp_path, times=npy_claiming("(1000000000000,)", "<f8"))) is None
    assert read_entry(forged_entry(tmp_path, times=npy_bytes(np.zeros(3)))) is None
    assert read_entry(forged_entry(tmp_path, jpeg_sizes=npy_bytes(np.full(10, -1)))) is None
    assert read_entry(forged_entry(tmp_path, info=npy_bytes(np.frombuffer(b"[1]", np.uint8)))) is None
