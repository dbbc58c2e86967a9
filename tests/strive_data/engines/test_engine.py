from __future__ import annotations

import pickle
from pathlib import Path

from strive_data.engines.engine import VideoJob, VideoResult
from tests.strive_data.samples import a_question, a_sample


def test_jobs_and_results_cross_process_boundaries_whole() -> None:
    job = VideoJob(name="a.mp4", path=Path("root/a.mp4"), rows=((3, a_question()),))
    result = VideoResult(job=job, results=(a_sample(),), frames=10, seconds={"model": 1.5})
    again = pickle.loads(pickle.dumps(result))
    assert again.job == job
    assert again.seconds == {"model": 1.5}
    assert again.results[0].jpegs == result.results[0].jpegs  # type: ignore[union-attr]
