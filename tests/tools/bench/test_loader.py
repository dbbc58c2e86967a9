"""The comparison: its arithmetic, and that every way gives the frames that the loader gives."""

from __future__ import annotations

import gc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from strive_data.shards.reader import ShardSet
from tests.strive_rl.made.shards import SAMPLED, make_shards
from tools.bench.loader import (
    Seconds,
    measure,
    ratio,
    raw_way,
    read_by_loader,
    report,
    shown_frames,
    webdataset_way,
)


@pytest.fixture
def shards(tmp_path: Path) -> ShardSet:
    return make_shards(tmp_path / "shards", samples=5, settings=SAMPLED)


def test_shown_frames_are_those_of_the_variants(shards: ShardSet) -> None:
    sample = shards.read(4)
    slots = [list(sample.stored).index(candidate) for candidate in np.unique(sample.variants)]
    mine = sorted(name for name in shown_frames(shards) if name.startswith("q4."))
    assert mine == [f"q4.f{slot:04d}.jpg" for slot in slots]
    assert len(mine) <= sample.variants.size


# webdataset 1.0 leaves the closing of the files that it opens to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_each_way_reads_an_epoch(shards: ShardSet, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[int] = []
    real = __import__("simplejpeg").decode_jpeg
    monkeypatch.setattr(
        "simplejpeg.decode_jpeg", lambda data, **options: decoded.append(len(data)) or real(data, **options)
    )
    counts = {}
    for name, way in (
        ("loader", lambda: read_by_loader(shards)),
        ("raw", raw_way(shards)),
        ("webdataset", webdataset_way(shards)),
    ):
        decoded.clear()
        assert way() == 5
        counts[name] = sorted(decoded)
    assert len(counts["raw"]) == len(shown_frames(shards))
    assert counts["loader"] == counts["raw"] == counts["webdataset"]
    gc.collect()


def test_a_ratio_is_the_median_of_the_rounds() -> None:
    ours = [Seconds(cpu=1.0, wall=9.0), Seconds(cpu=2.0, wall=9.0), Seconds(cpu=1.0, wall=9.0)]
    theirs = [replace(each, cpu=cpu) for each, cpu in zip(ours, (3.0, 8.0, 100.0), strict=True)]
    seconds = {"loader": ours, "raw": ours, "webdataset": ours, "decode": theirs, "decode once": theirs}
    assert ratio(seconds, "decode") == 4.0
    lines = report(seconds)
    assert lines[0].split() == ["loader", "1.0", "samples", "a", "CPU", "second", "0.1", "a", "second"]
    assert [line.split()[-1] for line in lines if "target" in line] == ["met", "met", "MISSED"]


def test_a_first_round_is_not_counted() -> None:
    calls: list[int] = []
    seconds = measure({"one": lambda: calls.append(1) or 2}, rounds=3)
    assert (len(calls), len(seconds["one"])) == (4, 3)
