from __future__ import annotations

from pathlib import Path

import pytest

from strive_data.annotations.read import read_annotations
from strive_data.config import BuildSettings, DecodeSettings, SamplerSettings, ScoreSettings
from strive_data.demo.write import write_world
from strive_data.engines.engine import VideoJob, jobs_of
from strive_data.engines.local import LocalEngine
from strive_data.errors import SettingsError
from strive_data.schema import FailedRow, Sample
from tests.strive_data.samples import a_question

SETTINGS = BuildSettings(
    decode=DecodeSettings(candidates=8, max_pixels=784),
    score=ScoreSettings(scorer="demo", batch_size=8),
    sampler=SamplerSettings(frames=4),
)


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> list[VideoJob]:
    """Two videos of two questions each, and between them one that is absent."""
    world = write_world(tmp_path_factory.mktemp("world"), videos=2, questions_per_video=2, seed=5)
    first, second = jobs_of(read_annotations([world], world.parent).questions, world.parent)
    absent = VideoJob(name="absent", path=Path("absent"), rows=((9, a_question("x", video="absent")),))
    return [first, absent, second]


def test_one_result_for_each_row_of_each_job_in_order(jobs: list[VideoJob], tmp_path: Path) -> None:
    engine = LocalEngine(SETTINGS, workers=1, cache=tmp_path)
    done = list(engine.run(jobs))
    assert [each.job for each in done] == jobs
    for each in (done[0], done[2]):
        ids = [result.meta.question.sample_id for result in each.results if isinstance(result, Sample)]
        assert ids == [question.sample_id for _, question in each.job.rows]
        assert (each.frames, each.from_cache) == (8, False)
        assert min(each.seconds[stage] for stage in ("decode", "model", "encode")) > 0
    (lost,) = done[1].results
    assert isinstance(lost, FailedRow)
    assert (lost.row, lost.sample_id, lost.stage, lost.kind) == (9, "x", "decode", "missing")
    assert done[1].frames == 0
    again = list(LocalEngine(SETTINGS, workers=1, cache=tmp_path).run(jobs[2:]))
    assert (again[0].from_cache, again[0].frames) == (True, 8)


def test_what_the_scorer_cannot_do_is_refused_when_the_engine_is_made(tmp_path: Path) -> None:
    scores = tmp_path / "scores"
    scores.mkdir()
    settings = BuildSettings(score=ScoreSettings(scorer="precomputed", scores=str(scores)))
    with pytest.raises(SettingsError, match="--cache needs frame embeddings"):
        LocalEngine(settings, cache=tmp_path)
