from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from strive_data.config import BuildSettings, ScoreSettings
from strive_data.engines.engine import VideoJob, VideoResult, make_engine
from strive_data.engines.local import LocalEngine
from strive_data.errors import SettingsError
from tests.strive_data.samples import a_question, a_sample


def test_engines_are_found_by_name() -> None:
    assert isinstance(make_engine("local", BuildSettings(score=ScoreSettings(scorer="demo"))), LocalEngine)
    with pytest.raises(SettingsError, match="unknown engine 'locla', did you mean 'local'"):
        make_engine("locla", BuildSettings())


def test_jobs_and_results_cross_process_boundaries_whole() -> None:
    job = VideoJob(name="a.mp4", path=Path("root/a.mp4"), rows=((3, a_question()),))
    result = VideoResult(job=job, results=(a_sample(),), frames=10, seconds={"model": 1.5})
    again = pickle.loads(pickle.dumps(result))
    assert again.job == job
    assert again.seconds == {"model": 1.5}
    assert again.results[0].jpegs == result.results[0].jpegs  # type: ignore[union-attr]
