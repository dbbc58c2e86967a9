"""Read frame scores that the user computed, from a parquet file or a folder of .npy files.

Parquet: columns `sample_id`, `score` and `candidate` (0 to N-1, each once) or `time` (seconds; each candidate
takes the score that is nearest in time, at most half a candidate's share of the video away). frames.parquet
of another build has this form. Folder: one `KEY.npy` [N] a sample, KEY as in the shards.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from strive_data.common.files import near_path, read_regular_file
from strive_data.common.npy import read_npy
from strive_data.config import ScoreSettings
from strive_data.errors import FailureKind, SampleError, UsageError
from strive_data.schema import Candidates, Floats, Question, sample_key
from strive_data.score.scorer import FrameScores

# A row with candidate and time must agree in both: otherwise the scores belong to other candidates.
SAME_TIME_SECONDS = 1e-3
MAX_NPY_BYTES = 1 << 26


Lookup = Callable[[str, Candidates], npt.NDArray[np.generic]]
"""Sample id → its scores in the order of the candidates. Raises SampleError if none fit the candidates."""


class PrecomputedScorer:
    """Scorer that looks scores up. Scores that do not fit their video fail that sample only."""

    def __init__(self, settings: ScoreSettings) -> None:
        path = Path(settings.scores)
        if not settings.scores or not (path.is_dir() or path.is_file()):
            got = f"no such file or folder: {path}{near_path(path)}" if settings.scores else "not set"
            raise UsageError(
                f"score.scores: {got}; --scorer precomputed reads a parquet file (sample_id, score, and "
                "candidate or time) or a folder of .npy files"
            )
        self._look_up: Lookup = partial(_npy_scores, path) if path.is_dir() else _table_scores(path)
        self.name = f"precomputed/{path.name}"

    def score(self, candidates: Candidates, questions: Sequence[Question]) -> list[FrameScores | SampleError]:
        """The scores of each question as float32 [N], or a SampleError (score_failed) in their place if they
        are absent, not one for each candidate, or not finite."""
        return [self._score_one(candidates, question.sample_id) for question in questions]

    def _score_one(self, candidates: Candidates, sample_id: str) -> FrameScores | SampleError:
        try:
            scores = _checked(self._look_up(sample_id, candidates), len(candidates.times))
        except SampleError as error:
            return SampleError(error.kind, f"{self.name}, sample {sample_id!r}: {error.message}")
        return FrameScores(scores=scores, windows=1, scorer=self.name)


def _npy_scores(folder: Path, sample_id: str, candidates: Candidates) -> npt.NDArray[np.generic]:
    """The array of KEY.npy, unchanged."""
    path = folder / f"{sample_key(sample_id)}.npy"
    try:
        return read_npy(read_regular_file(path, max_bytes=MAX_NPY_BYTES))
    except FileNotFoundError as error:
        raise _failed(f"no file {path.name}") from error
    except (OSError, ValueError) as error:
        raise _failed(f"{path.name} is not a .npy file of numbers: {error}") from error


def _table_scores(path: Path) -> Lookup:
    """Scores by candidate, or by time if the table has no candidate column; its rows may be in any order."""
    table = _read_table(path)
    match = _by_candidate if "candidate" in table.columns else _by_time
    parts = table.partition_by("sample_id", as_dict=True, include_key=False)

    def look_up(sample_id: str, candidates: Candidates) -> npt.NDArray[np.generic]:
        if (sample_id,) not in parts:
            raise _failed("no rows")
        return match(parts[sample_id,], candidates)

    return look_up


def _read_table(path: Path) -> pl.DataFrame:
    try:
        table = pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise UsageError(f"score.scores: {path} cannot be read as parquet: {error}") from error
    names = [name for name in ("sample_id", "score", "candidate", "time") if name in table.columns]
    if names[:2] != ["sample_id", "score"] or len(names) < 3:
        raise UsageError(
            f"score.scores: {path} has the columns {', '.join(table.columns)}; expected sample_id, score, "
            "and candidate or time"
        )
    types = {"sample_id": pl.String, "score": pl.Float64, "candidate": pl.Int64, "time": pl.Float64}
    try:
        return table.select(pl.col(name).cast(types[name]) for name in names)
    except pl.exceptions.PolarsError as error:
        raise UsageError(f"score.scores: {path}: {error}") from error


def _by_candidate(rows: pl.DataFrame, candidates: Candidates) -> npt.NDArray[np.float64]:
    rows, count = rows.sort("candidate"), len(candidates.times)
    if rows["candidate"].to_list() != list(range(count)):
        raise _failed(f"{rows.height} rows whose candidates are not 0 to {count - 1}, each once")
    if "time" in rows.columns:
        apart = np.abs(_numbers(rows["time"]) - candidates.times)
        if not (apart <= SAME_TIME_SECONDS).all():
            worst = int(np.argmax(np.nan_to_num(apart, nan=np.inf)))
            wrong = f"candidate {worst} is at {rows['time'][worst]} s, but the video's at"
            raise _failed(f"{wrong} {candidates.times[worst]:.3f} s: scores of other candidates")
    return _numbers(rows["score"])


def _by_time(rows: pl.DataFrame, candidates: Candidates) -> npt.NDArray[np.float64]:
    """The score of the row nearest in time; of two equally near rows, the earlier one."""
    rows = rows.sort("time")
    times = _numbers(rows["time"])
    if not np.isfinite(times).all():
        raise _failed("times that are not finite")
    nearest = np.abs(times[None, :] - candidates.times[:, None]).argmin(axis=1)
    apart = np.abs(times[nearest] - candidates.times)
    limit = candidates.info.duration_seconds / len(candidates.times) / 2 + SAME_TIME_SECONDS
    if apart.max() > limit:
        worst = int(apart.argmax())
        raise _failed(
            f"the score nearest to candidate {worst} at {candidates.times[worst]:.3f} s is "
            f"{apart[worst]:.3f} s away, more than half a candidate's share ({limit:.3f} s)"
        )
    scores: npt.NDArray[np.float64] = _numbers(rows["score"])[nearest]
    return scores


def _numbers(column: pl.Series) -> npt.NDArray[np.float64]:
    """The column as float64, with NaN for null."""
    return column.fill_null(float("nan")).to_numpy()


def _checked(scores: npt.NDArray[np.generic], count: int) -> Floats:
    if scores.dtype.kind not in "fiu" or scores.shape != (count,):
        got = f"{scores.dtype} of shape {list(scores.shape)}"
        raise _failed(f"got {got}, expected a number for each of {count} candidates")
    with np.errstate(over="ignore"):
        narrow: Floats = scores.astype(np.float32)
    if not np.isfinite(narrow).all():
        raise _failed(f"{int((~np.isfinite(narrow)).sum())} of {count} scores are not finite in float32")
    return narrow


def _failed(message: str) -> SampleError:
    return SampleError(FailureKind.SCORE_FAILED, message)
