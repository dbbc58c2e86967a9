"""A cluster of two nodes on this machine, against the local engine."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from strive_data.annotations.read import read_annotations
from strive_data.config import ClusterOptions
from strive_data.demo.write import write_world
from strive_data.engines.engine import VideoJob, VideoResult, jobs_of
from strive_data.engines.local import LocalEngine
from strive_data.engines.ray_engine import RayEngine, check_versions, import_ray
from strive_data.errors import UsageError
from strive_data.schema import FailedRow, Sample
from strive_data.shards.format import encode_sample
from strive_data.shards.provenance import package_versions
from tests.strive_data.build.killed_build import command, stopped_when
from tests.strive_data.engines.test_local import SETTINGS
from tests.strive_data.made.samples import a_question

pytest.importorskip("ray", reason="the extra [ray] is not installed")

VIDEOS = 8


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_world(tmp_path_factory.mktemp("world"), videos=VIDEOS, questions_per_video=2, seed=5)


@pytest.fixture(scope="module")
def jobs(world: Path) -> list[VideoJob]:
    """Eight videos, and among them one that is absent."""
    jobs = jobs_of(read_annotations([world], world.parent).questions, world.parent)
    absent = VideoJob(name="absent", path=Path("absent"), rows=((99, a_question("x", video="absent")),))
    return [*jobs[:3], absent, *jobs[3:]]


@pytest.fixture(scope="module")
def expected(jobs: list[VideoJob]) -> list[list[bytes | str]]:
    return content_of(LocalEngine(SETTINGS, workers=1).run(jobs))


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    import_ray()
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    cluster.add_node(num_cpus=2)
    yield cluster.address
    cluster.shutdown()


def content_of(results: Iterator[VideoResult]) -> list[list[bytes | str]]:
    """The bytes of each sample, the words of each failure."""
    return [[_content(result) for result in each.results] for each in results]


def _content(result: Sample | FailedRow) -> bytes | str:
    return str(result) if isinstance(result, FailedRow) else encode_sample(result)


def actor_of(kind: str) -> psutil.Process:
    """A process of this test's cluster that is an actor of this kind."""
    for process in psutil.Process().children(recursive=True):
        try:
            line = process.cmdline()
        except psutil.Error:
            continue
        if line and line[0].startswith(f"ray::{kind}"):
            return process
    raise AssertionError(f"no actor {kind}")


@pytest.mark.slow
def test_two_nodes_give_the_bytes_of_the_local_engine_though_actors_are_killed(
    address: str, jobs: list[VideoJob], expected: list[list[bytes | str]]
) -> None:
    engine = RayEngine(SETTINGS, options=ClusterOptions(address=address, scorers=2), workers=1)
    results = engine.run(jobs)
    got = content_of(iter([next(results)]))
    # As a machine takes them away: without a word. The build cannot end without another decoder.
    actor_of("DecodeHost").kill()
    actor_of("ScoreHost").kill()
    got += content_of(results)
    assert got == expected
    assert isinstance(got[3][0], str)
    assert "absent" in got[3][0]


@pytest.mark.slow
def test_a_build_on_a_cluster_whose_driver_was_killed_ends_with_the_local_bytes(
    address: str, world: Path, tmp_path: Path
) -> None:
    more = ["--set", "shard.max_samples=2"]
    plain, out = tmp_path / "plain", tmp_path / "ray"
    on_ray = [*more, "--engine", "ray", "--ray-address", address, "--scorers", "1", "--workers", "1"]
    code, _ = stopped_when(command(world, out, *on_ray), out / "shard-000000.json", signal.SIGKILL)
    assert code == -signal.SIGKILL
    assert not (out / "run.json").exists()
    done = subprocess.run(command(world, out, *on_ray), capture_output=True, text=True, check=True)
    assert "kept from earlier starts" in done.stdout
    assert "ray" not in done.stderr.lower().replace(str(out), "")
    subprocess.run(command(world, plain, *more), capture_output=True, check=True)
    ours = {path.name: path.read_bytes() for path in out.iterdir() if path.name != "run.json"}
    theirs = {path.name: path.read_bytes() for path in plain.iterdir() if path.name != "run.json"}
    assert ours == theirs


def test_other_versions_are_refused() -> None:
    check_versions(package_versions())
    with pytest.raises(UsageError, match=r"the Ray cluster has av 1\.0, here .*equal versions only"):
        check_versions({**package_versions(), "av": "1.0"})
