"""Nothing that a file or a path says is run."""

from __future__ import annotations

import pickle
import tarfile
from pathlib import Path

import pytest

from strive_data.annotations.read import read_annotations
from strive_data.build.verify import verify_build
from strive_data.cli import app
from strive_data.config import DecodeSettings, ScoreSettings
from strive_data.engines.cache import read_entry
from strive_data.errors import DamagedError, FailureKind, SampleError, StriveError, UsageError
from strive_data.score.precomputed import PrecomputedScorer
from strive_data.shards.format import decode_sample, sample_members
from strive_data.shards.reader import ShardSet
from tests.safety.forgeries import Bomb, annotation_of, forged_entry, object_array, plant, sample_tar, tar_of
from tests.strive_data.made.samples import a_question, a_sample, some_candidates


@pytest.mark.parametrize("suffix", ["pyd", "pkl", "pickle", "pth", "pt", "dill"])
def test_pickled_members_of_a_shard_are_refused_unread(build: Path, trace: Path, suffix: str) -> None:
    members = [*sample_members(a_sample("1")), (suffix, pickle.dumps(Bomb(trace)))]
    block = tar_of([(tarfile.TarInfo(f"1.{name}"), content) for name, content in members])
    with pytest.raises(DamagedError, match=f"1.{suffix} .*not read"):
        decode_sample(block)
    plant(build, block)
    with pytest.raises(DamagedError, match="not read"):
        ShardSet.open(build).read(0)
    assert any("not read" in problem.what for problem in verify_build(build, workers=1).problems)


@pytest.mark.parametrize("name", ["scores.npy", "times.npy", "variants.npy", "uniform.npy", "stored.npy"])
def test_arrays_of_objects_are_refused_unread(trace: Path, name: str) -> None:
    block = sample_tar(
        lambda member, content: (member, object_array(trace) if member == f"1.{name}" else content)
    )
    with pytest.raises(DamagedError, match=f"{name}: the array .*O"):
        decode_sample(block)


def test_precomputed_scores_and_cache_entries_hold_no_pickle(tmp_path: Path, trace: Path) -> None:
    (tmp_path / "scores").mkdir()
    (tmp_path / "scores" / "1.npy").write_bytes(object_array(trace))
    (tmp_path / "scores" / "2.npy").write_bytes(pickle.dumps(Bomb(trace)))
    scorer = PrecomputedScorer(ScoreSettings(scorer="precomputed", scores=str(tmp_path / "scores")))
    for result in scorer.score(some_candidates(), [a_question("1"), a_question("2")]):
        assert isinstance(result, SampleError)
    entry = forged_entry(tmp_path, times=object_array(trace))
    assert read_entry(entry, DecodeSettings()) is None


COMMANDS = [
    "pipe:mkdir {trace}",
    "pipe:mkdir {trace} |",
    "| mkdir {trace}",
    "$(mkdir {trace})",
    "`mkdir {trace}`",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_no_path_is_a_shell_command(tmp_path: Path, trace: Path, command: str) -> None:
    said = command.format(trace=trace)
    with pytest.raises(StriveError):
        ShardSet.open(said)
    with pytest.raises(StriveError):
        read_annotations([Path(said)], tmp_path)
    with pytest.raises(StriveError):
        PrecomputedScorer(ScoreSettings(scorer="precomputed", scores=said))
    for arguments in (
        ["build", said, "--data-root", said, "--out", said],
        ["inspect", said],
        ["report", said, "--out", said],
        ["verify", said],
        ["merge", said, "x", "--out", said],
        ["overlap", said, said],
    ):
        with pytest.raises(StriveError):
            app(arguments, standalone_mode=False)
    annotation = annotation_of(tmp_path, said)
    (failure,) = read_annotations([annotation], tmp_path).failures
    assert failure.kind in (FailureKind.MISSING, FailureKind.OUTSIDE_ROOT)


@pytest.mark.parametrize(
    "where", ["http://127.0.0.1:9/x::file:///etc", "simplecache::memory://x", "jar://x", "python://x"]
)
def test_no_url_chains_or_runs(where: str) -> None:
    with pytest.raises(UsageError):
        ShardSet.open(where)
