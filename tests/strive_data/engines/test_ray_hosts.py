from __future__ import annotations

import os
from pathlib import Path

import pytest

from strive_data.annotations.read import read_annotations
from strive_data.config import BuildSettings, DecodeSettings, ScoreSettings
from strive_data.decode import read_candidates
from strive_data.demo.write import write_world
from strive_data.engines.engine import jobs_of
from strive_data.engines.local import LocalEngine
from strive_data.engines.ray_engine import DecodeHost, ScoreHost
from strive_data.errors import FailureKind, SampleError, UsageError
from strive_data.schema import Candidates, Sample
from strive_data.shards.format import encode_sample
from strive_data.shards.provenance import package_versions
from tests.strive_data.engines.test_local import SETTINGS


def die(path: Path, settings: DecodeSettings) -> Candidates:
    os._exit(7)


def test_a_decoder_that_dies_costs_its_video_and_not_its_host() -> None:
    host = DecodeHost(DecodeSettings(reader="pyav"), die)
    for _ in range(2):
        status, video = host.decode(Path("x"))
        assert isinstance(status, SampleError)
        assert (status.kind, video) == (FailureKind.CRASH, None)
    assert host.versions() == package_versions()
    host.close()


def test_hosts_give_the_bytes_of_the_local_engine(tmp_path: Path) -> None:
    world = write_world(tmp_path / "world", videos=1, questions_per_video=2, seed=5)
    jobs = jobs_of(read_annotations([world], world.parent).questions, world.parent)
    decoder, scorer = DecodeHost(SETTINGS.decode, read_candidates), ScoreHost(SETTINGS)
    seconds, video = decoder.decode(jobs[0].path)
    decoder.close()
    assert isinstance(seconds, float)
    assert video is not None
    result = scorer.score(jobs[0], video, seconds)
    (expected,) = LocalEngine(SETTINGS, workers=1).run(jobs[:1])
    assert result.seconds["decode"] == seconds
    for ours, theirs in zip(result.results, expected.results, strict=True):
        assert isinstance(ours, Sample)
        assert isinstance(theirs, Sample)
        assert encode_sample(ours) == encode_sample(theirs)


def test_a_scorer_that_cannot_be_had_is_refused_when_first_asked(tmp_path: Path) -> None:
    host = ScoreHost(BuildSettings(score=ScoreSettings(scorer="precomputed", scores=str(tmp_path / "none"))))
    with pytest.raises(UsageError, match="none"):
        host.versions()
