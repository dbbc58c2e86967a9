from __future__ import annotations

import os
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from strive_data.config import DecodeSettings
from strive_data.decode import read_candidates
from strive_data.demo.draw import write_world
from strive_data.engines.cache import (
    FRAMES_ONLY,
    CacheHit,
    CacheMiss,
    VideoCache,
    check_cache_folder,
    read_entry,
    write_entry,
)
from strive_data.errors import FailureKind, SampleError, StriveError, UsageError
from strive_data.schema import Candidates
from strive_data.shards.format import EncodedFrames, encode_frames
from tests.strive_data.made.samples import some_candidates

SETTINGS = DecodeSettings(candidates=6, max_pixels=784)
STORED = DecodeSettings(candidates=10)
EMBEDDINGS = np.stack([np.cos(np.arange(10)), np.sin(np.arange(10))], axis=1).astype(np.float32)


@pytest.fixture
def entry(tmp_path: Path) -> Path:
    path = tmp_path / "ab" / "abc.npz"
    write_entry(path, encode_frames(some_candidates(), 90), EMBEDDINGS)
    return path


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    world = write_world(tmp_path_factory.mktemp("world"), videos=1, questions_per_video=1, seed=0)
    return next(world.parent.rglob("*.mp4"))


def cache_in(folder: Path) -> VideoCache:
    return VideoCache(folder=folder, identity="model a", quality=90, embedding_size=2)


def test_an_entry_gives_back_every_bit(entry: Path) -> None:
    kept = read_entry(entry, STORED, 2)
    encoded = encode_frames(some_candidates(), 90)
    assert kept.frames.info == encoded.info
    assert kept.frames.times.tobytes() == encoded.times.tobytes()
    assert kept.frames.jpegs_of(range(10)) == encoded.jpegs_of(range(10))
    assert kept.embeddings.dtype == np.float32
    np.testing.assert_array_equal(kept.embeddings, EMBEDDINGS)


def test_an_entry_is_plain_npz_and_alone_in_its_folder(entry: Path) -> None:
    with np.load(entry, allow_pickle=False) as arrays:
        assert sorted(arrays.files) == ["embeddings", "info", "jpeg_sizes", "jpegs", "times"]
    assert list(entry.parent.iterdir()) == [entry]


@pytest.mark.parametrize("place", [0, 100, 0.5, -200, -33, -32, -1])
def test_any_changed_byte_is_seen(entry: Path, place: float) -> None:
    content = bytearray(entry.read_bytes())
    at = int(len(content) * place) if isinstance(place, float) else place
    content[at] ^= 1
    entry.write_bytes(content)
    assert read_entry(entry, STORED, 2) is None


@pytest.mark.parametrize("length", [0, 1, 31, 32, 1000])
def test_an_entry_cut_off_is_seen(entry: Path, length: int) -> None:
    entry.write_bytes(entry.read_bytes()[:length])
    assert read_entry(entry, STORED, 2) is None


def test_an_entry_under_the_name_of_another_is_none(entry: Path) -> None:
    assert read_entry(entry.rename(entry.with_stem("abd")), STORED) is None


def test_a_miss_is_the_decoded_video_and_a_hit_what_was_written(video: Path, tmp_path: Path) -> None:
    cache = pickle.loads(pickle.dumps(cache_in(tmp_path)))  # as a worker gets it
    missed = cache.read(video, SETTINGS)
    assert missed.damaged_entry is None
    assert not missed.entry.exists()
    write_entry(missed.entry, encode_frames(missed.candidates, 90), EMBEDDINGS[:6])
    kept = cache.read(video, SETTINGS)
    assert kept.frames.info == missed.candidates.info
    elsewhere = video.with_name("renamed.mp4")
    elsewhere.write_bytes(video.read_bytes())
    assert isinstance(cache.read(elsewhere, SETTINGS), CacheHit)
    missed.entry.write_bytes(b"damaged")
    again = cache.read(video, SETTINGS)
    assert again.damaged_entry == missed.entry


def test_frames_alone_are_found_whatever_model_they_were_kept_for(video: Path, tmp_path: Path) -> None:
    cache = cache_in(tmp_path)
    bare, other = replace(cache, identity=FRAMES_ONLY), replace(cache, identity="model b")
    missed = cache.read(video, SETTINGS)
    assert missed.entry is not None
    write_entry(missed.entry, encode_frames(missed.candidates, 90), EMBEDDINGS[:6])
    kept, whole = bare.read(video, SETTINGS), cache.read(video, SETTINGS)
    assert kept.embeddings.shape == (6, 0)
    assert kept.frames.jpegs == whole.frames.jpegs
    assert isinstance(bare.read(video, replace(SETTINGS, candidates=5)), CacheMiss)
    assert isinstance(replace(bare, quality=91).read(video, SETTINGS), CacheMiss)
    assert isinstance(other.read(video, SETTINGS), CacheMiss)  # its embeddings need the frames as decoded


def test_frames_that_were_kept_alone_do_not_do_for_a_model(video: Path, tmp_path: Path) -> None:
    cache = cache_in(tmp_path)
    missed = replace(cache, identity=FRAMES_ONLY).read(video, SETTINGS)
    assert missed.entry is not None
    write_entry(missed.entry, encode_frames(missed.candidates, 90), EMBEDDINGS[:6, :0])
    assert isinstance(replace(cache, identity=FRAMES_ONLY).read(video, SETTINGS), CacheHit)
    assert isinstance(cache.read(video, SETTINGS), CacheMiss)


def test_whatever_changes_the_entry_changes_the_key(tmp_path: Path) -> None:
    cache = cache_in(tmp_path)
    seen = [
        cache.key("video", SETTINGS),
        cache.key("another video", SETTINGS),
        replace(cache, identity="model b").key("video", SETTINGS),
        replace(cache, quality=91).key("video", SETTINGS),
        *(
            cache.key("video", replace(SETTINGS, **change))  # type: ignore[arg-type]
            for change in ({"candidates": 7}, {"max_pixels": 1568}, {"multiple": 14}, {"reader": "decord"})
        ),
    ]
    assert len(set(seen)) == len(seen)
    patient = replace(SETTINGS, timeout_seconds=1.0)
    assert cache.key("video", patient) == cache.key("video", SETTINGS)
    assert replace(cache, folder=tmp_path / "x").key("video", SETTINGS) == cache.key("video", SETTINGS)


def test_a_changed_video_misses(video: Path, tmp_path: Path) -> None:
    cache, copy = cache_in(tmp_path), tmp_path / "copy.mp4"
    content = bytearray(video.read_bytes())
    content[-1] ^= 1
    copy.write_bytes(content)
    first, second = cache.read(video, SETTINGS), cache.read(copy, SETTINGS)
    assert first.entry != second.entry


def test_a_video_written_to_while_it_is_decoded_is_kept_nowhere(
    video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "copy.mp4"
    copy.write_bytes(video.read_bytes())

    def read_and_append(path: Path, settings: DecodeSettings) -> Candidates:
        candidates = read_candidates(path, settings)
        path.write_bytes(path.read_bytes() + b"more")
        return candidates

    monkeypatch.setattr("strive_data.engines.cache.read_candidates", read_and_append)
    missed = cache_in(tmp_path).read(copy, SETTINGS)
    assert missed.entry is None


def test_a_video_that_is_not_there_is_an_error_of_the_reader(tmp_path: Path) -> None:
    with pytest.raises(SampleError) as caught:
        cache_in(tmp_path).read(tmp_path / "none.mp4", SETTINGS)
    assert caught.value.kind is FailureKind.MISSING


def test_folders_that_cannot_be_written_are_refused(tmp_path: Path) -> None:
    check_cache_folder(tmp_path / "new" / "folder")
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(UsageError, match="--cache"):
        check_cache_folder(file)
    with pytest.raises(StriveError, match="free space"):
        write_entry(file / "ab" / "x.npz", encode_frames(some_candidates(), 90), EMBEDDINGS)
    if os.geteuid():  # root may write anywhere
        closed = tmp_path / "closed"
        closed.mkdir(mode=0o500)
        with pytest.raises(UsageError, match="no permission to write"):
            check_cache_folder(closed)


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    bad = EncodedFrames(info=some_candidates().info, times=np.zeros(1), jpegs={0: b"x"})
    (tmp_path / "x.npz").mkdir()
    with pytest.raises(StriveError, match="cache entry"):
        write_entry(tmp_path / "x.npz", bad, EMBEDDINGS)
    assert [path.name for path in tmp_path.iterdir()] == ["x.npz"]
