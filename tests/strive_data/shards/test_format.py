from __future__ import annotations

import io
import json
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import simplejpeg
from PIL import Image

from strive_data.errors import DamagedError, FailureKind, SampleError, StriveError
from strive_data.shards.format import (
    END_OF_ARCHIVE,
    decode_jpeg,
    decode_sample,
    encode_frames,
    encode_jpeg,
    encode_sample,
    jpeg_size,
    read_meta,
    sample_members,
    tar_members,
)
from strive_data.shards.writer import OpenShard, join_parts, write_parts
from tests.strive_data.made.samples import a_sample, some_candidates

BODY = a_sample().meta.to_json()


def test_a_member_is_read_back() -> None:
    assert read_meta(json.dumps(BODY).encode()) == a_sample().meta


@pytest.mark.parametrize("name", sorted(BODY.keys() - {"views"}))
def test_a_missing_value_is_named(name: str) -> None:
    content = json.dumps({key: value for key, value in BODY.items() if key != name}).encode()
    with pytest.raises(DamagedError, match="schema version None" if name == "schema_version" else name):
        read_meta(content)


@pytest.mark.parametrize("name", ["question", "options", "sampler", "views"])
def test_half_a_character_is_refused(name: str) -> None:
    """Regression: no tokenizer can encode it, so that a forged shard ended the run of training."""
    half = {"options": ["\ud800"], "views": ["\ud800"], "sampler": {"name": "\ud800"}}.get(name, "\ud800")
    with pytest.raises(DamagedError, match="json"):
        read_meta(json.dumps(BODY | {name: half}).encode())
    whole = BODY | {"question": "\U0001f600 \x1b?"}
    assert read_meta(json.dumps(whole).encode()).question.question == "\U0001f600 \x1b?"


def test_a_sample_survives_its_tar_bytes() -> None:
    sample = a_sample()
    back = decode_sample(encode_sample(sample))
    assert back.meta == sample.meta
    assert back.jpegs == sample.jpegs
    for name in ("scores", "times", "variants", "uniform", "stored"):
        written, read = getattr(sample, name), getattr(back, name)
        assert read.dtype == written.dtype
        np.testing.assert_array_equal(read, written)


def test_members_are_read_as_tarfile_reads_them() -> None:
    block = encode_sample(a_sample("an id with / and ."))
    with tarfile.open(fileobj=io.BytesIO(block + END_OF_ARCHIVE)) as tar:
        oracle = [(m.name, tar.extractfile(m).read()) for m in tar.getmembers()]  # type: ignore[union-attr]
        assert {(m.mtime, m.uid, m.gid, m.mode) for m in tar.getmembers()} == {(0, 0, 0, 0o644)}
    assert [(member.name, bytes(member.content)) for member in tar_members(block)] == oracle


def test_members_stand_in_the_order_of_the_contract() -> None:
    sample = a_sample()
    arrays = ["scores.npy", "times.npy", "variants.npy", "uniform.npy", "stored.npy"]
    frames = [f"f{slot:04d}.jpg" for slot in range(len(sample.stored))]
    assert [name for name, _ in sample_members(sample)] == ["json", *arrays, *frames]


def test_embeddings_are_an_optional_member_before_the_frames() -> None:
    plain = a_sample()
    embeds = np.linspace(-1, 1, 30, dtype=np.float16).reshape(10, 3)
    names = [name for name, _ in sample_members(replace(plain, embeds=embeds))]
    assert names[5:8] == ["stored.npy", "embeds.npy", "f0000.jpg"]
    back = decode_sample(encode_sample(replace(plain, embeds=embeds)))
    assert back.embeds.dtype == np.float16
    np.testing.assert_array_equal(back.embeds, embeds)
    assert back.jpegs == plain.jpegs
    assert decode_sample(encode_sample(plain)).embeds is None


def test_a_missing_member_and_another_schema_are_named() -> None:
    block = encode_sample(a_sample())
    with pytest.raises(StriveError, match=r"1\.jsno"):
        decode_sample(block.replace(b"1.json\0", b"1.jsno\0"))
    with pytest.raises(StriveError, match="members json are missing"):
        decode_sample(block[next(m.offset for m in tar_members(block) if m.suffix == "scores.npy") :])
    version = json.dumps({"schema_version": 1})[1:-1].encode()
    with pytest.raises(StriveError, match="schema version 7"):
        decode_sample(block.replace(version, version.replace(b"1", b"7")))


FRAME = np.random.default_rng(0).integers(0, 256, (28, 56, 3), dtype=np.uint8)


def test_pixels_are_those_that_pillow_reads() -> None:
    jpeg = encode_jpeg(FRAME, 90)
    assert jpeg_size(jpeg) == (56, 28)
    np.testing.assert_array_equal(decode_jpeg(jpeg), np.asarray(Image.open(io.BytesIO(jpeg))))
    assert decode_jpeg(jpeg, colours="GRAY").shape == (28, 56, 1)


def test_a_frame_that_is_cut_off_is_damaged() -> None:
    with pytest.raises(DamagedError, match="not a whole JPEG image: Premature end"):
        decode_jpeg(encode_jpeg(FRAME, 90)[:-2])


def test_jpegs_made_side_by_side_are_those_of_their_frames_and_made_once() -> None:
    candidates = some_candidates()
    candidates.frames[:] = np.random.default_rng(0).integers(0, 256, candidates.frames.shape)
    encoded = encode_frames(candidates, 90)
    (first,) = encoded.jpegs_of([3])
    made = encoded.jpegs_of(np.array([8, 3, 8, 0], np.int32))
    assert made == tuple(encode_jpeg(candidates.frames[place], 90) for place in (8, 3, 8, 0))
    assert made[0] is made[2]
    assert made[1] is first
    candidates.frames[:] = 0
    assert encoded.jpegs_of([0, 8]) == (made[3], made[0])


def test_a_frame_that_cannot_be_encoded_is_a_failure_of_the_sample_alone_and_among_others() -> None:
    with pytest.raises(SampleError, match="frame of shape") as caught:
        encode_jpeg(np.zeros((4, 4), dtype=np.uint8), 90)
    assert caught.value.kind is FailureKind.ENCODE_FAILED
    encoded = encode_frames(replace(some_candidates(), frames=np.zeros((10, 4, 4), np.uint8)), 90)
    with pytest.raises(SampleError, match="frame of shape"):
        encoded.jpegs_of([1, 2])


def test_saturated_colours_keep_their_edges() -> None:
    """4:2:0 would mix red and blue over two pixels; stored frames are small, so chroma is kept whole."""
    frame = np.zeros((28, 28, 3), dtype=np.uint8)
    frame[:, ::2, 0], frame[:, 1::2, 2] = 255, 255
    decoded = simplejpeg.decode_jpeg(encode_jpeg(frame, 90))
    assert np.abs(decoded.astype(int) - frame).mean() < 12


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shard = OpenShard(tmp_path, 0, "settings")
    samples = [a_sample("a.1"), a_sample("b")]
    for sample in samples:
        shard.add(sample)
    shard.commit()
    write_parts(tmp_path, shard.name, samples)
    join_parts(tmp_path, [shard.name])
    return tmp_path


# webdataset 1.0 leaves the closing of the files that it opens to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_webdataset_reads_the_shards(folder: Path) -> None:
    import webdataset

    read = list(webdataset.WebDataset(str(folder / "shard-000000.tar"), shardshuffle=False))
    assert [sample["__key__"] for sample in read] == [a_sample("a.1").key, "b"]
    for sample, name in zip(read, ("a.1", "b"), strict=True):
        written = a_sample(name)
        for member in ("scores", "times", "variants", "uniform", "stored"):
            values = np.load(io.BytesIO(sample[f"{member}.npy"]))
            np.testing.assert_array_equal(values, getattr(written, member))
        frames = [content for name, content in sorted(sample.items()) if name.endswith(".jpg")]
        assert frames == list(written.jpegs)


def test_polars_reads_the_tables(folder: Path) -> None:
    best = (
        pl.scan_parquet(folder / "frames.parquet")
        .filter(pl.col("variants").list.len() > 0)
        .group_by("sample_id")
        .agg(pl.col("time").top_k_by("score", 1).first())
        .sort("sample_id")
        .collect()
    )
    assert best.rows() == [("a.1", 9.5), ("b", 9.5)]
