from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from threading import Event, Thread
from typing import Any

import psutil
import pytest

from strive_data.annotations.read import read_annotations
from strive_data.config import BuildSettings, ClusterOptions, DecodeSettings, ScoreSettings
from strive_data.decode import read_candidates
from strive_data.demo.draw import write_world
from strive_data.engines.engine import VideoJob, VideoResult, jobs_of
from strive_data.engines.local import LocalEngine
from strive_data.engines.ray_engine import (
    CALLS_PER_ACTOR,
    MAX_TRIES,
    ActorCounts,
    Actors,
    DecodeHost,
    Flow,
    RayEngine,
    ScoreHost,
    check_versions,
    connected,
    count_actors,
    import_ray,
)
from strive_data.errors import FailureKind, SampleError, SettingsError, StriveError, UsageError
from strive_data.schema import Candidates, FailedRow, Sample
from strive_data.shards.format import encode_sample
from strive_data.shards.manifest import package_versions
from tests.strive_data.build.killed_build import command, stopped_when
from tests.strive_data.engines.fake_ray import FakeActor, FakeRay, ObjectLostError, RayActorError
from tests.strive_data.engines.test_local import SETTINGS
from tests.strive_data.made.samples import a_question

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
    pytest.importorskip("ray", reason="the extra [ray] is not installed")
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
    here = package_versions()
    check_versions(here, here)
    with pytest.raises(UsageError, match=r"the Ray cluster has av 1\.0, here .*equal versions only"):
        check_versions({**here, "av": "1.0"}, here)
    for host in (
        DecodeHost(SETTINGS.decode, read_candidates, {"av": "1.0"}),
        ScoreHost(SETTINGS, {"av": "1.0"}),
    ):
        with pytest.raises(UsageError, match=r"has av .*, here 1\.0"):
            host.ready()
    with pytest.raises(UsageError, match=r"here 1\.0"):  # of a host that was started again
        DecodeHost(SETTINGS.decode, read_candidates, {"av": "1.0"}).decode(Path("x"))


def die(path: Path, settings: DecodeSettings) -> Candidates:
    os._exit(7)


def test_a_decoder_that_dies_costs_its_video_and_not_its_host() -> None:
    host = DecodeHost(DecodeSettings(reader="pyav"), die, package_versions())
    for _ in range(2):
        status, video = host.decode(Path("x"))
        assert (status.kind, video) == (FailureKind.CRASH, None)
    host.ready()
    host.close()


def test_hosts_give_the_bytes_of_the_local_engine(tmp_path: Path) -> None:
    world = write_world(tmp_path / "world", videos=1, questions_per_video=2, seed=5)
    jobs = jobs_of(read_annotations([world], world.parent).questions, world.parent)
    here = package_versions()
    decoder, scorer = DecodeHost(SETTINGS.decode, read_candidates, here), ScoreHost(SETTINGS, here)
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
    score = ScoreSettings(scorer="precomputed", scores=str(tmp_path / "none"))
    host = ScoreHost(BuildSettings(score=score), package_versions())
    with pytest.raises(UsageError, match="none"):
        host.ready()


def test_calls_go_round_until_every_actor_has_its_calls() -> None:
    actors = Actors(FakeRay(), ["a", "b"])
    with ExitStack() as calls:
        taken = [calls.enter_context(actors.one()) for _ in range(2 * CALLS_PER_ACTOR)]
        assert taken == ["a", "b", "a", "b"]
        waiting = Thread(target=lambda: calls.enter_context(actors.one()), daemon=True)
        waiting.start()
        waiting.join(0.05)
        assert waiting.is_alive()
    waiting.join(5)
    assert not waiting.is_alive()


def test_a_lost_actor_gets_no_call_before_it_answers() -> None:
    lost, answers = FakeActor(Host()), Event()
    lost.host.ready = answers.wait
    actors = Actors(FakeRay(), [lost, "b"])

    def lose_one() -> Any:
        with actors.one() as actor:
            if actor is lost:
                raise RayActorError
        return actor

    for _ in range(2):
        with pytest.raises(RayActorError):
            lose_one()
        assert lose_one() == "b"
    with actors.one() as first, actors.one() as second:
        assert (first, second) == ("b", "b")
        answers.set()
        with actors.one() as third:
            assert third is lost


class Host:
    """Decodes a path to its name, scores that to its length as the number of frames."""

    def ready(self) -> None:
        pass

    def decode(self, path: Path) -> tuple[float | SampleError, str | None]:
        if path.name == "broken":
            return SampleError(FailureKind.TIMEOUT, "too slow"), None
        if path.name == "bug":
            raise ZeroDivisionError("a defect of the code")
        if path.name == "refused":
            raise UsageError("no such reader")
        return 1.5, path.name

    def score(self, job: VideoJob, video: str, decode_seconds: float) -> VideoResult:
        return VideoResult(job=job, results=(), frames=len(video), seconds={"decode": decode_seconds})


def jobs_named(*names: str) -> list[VideoJob]:
    return [
        VideoJob(name=name, path=Path(name), rows=((place, a_question(name)),))
        for place, name in enumerate(names)
    ]


def flow_of(decoders: list[FakeActor], scorers: list[FakeActor]) -> Flow:
    return Flow(FakeRay(), decoders, scorers)


def test_results_come_in_the_order_of_the_jobs_whatever_is_done_first() -> None:
    jobs = jobs_named(*[f"v{place}" * (1 + place % 3) for place in range(25)])
    done = list(flow_of([FakeActor(Host()) for _ in range(3)], [FakeActor(Host())]).run(jobs))
    assert [each.job for each in done] == jobs
    assert [each.frames for each in done] == [len(job.name) for job in jobs]
    assert done[0].seconds == {"decode": 1.5}


def test_no_more_videos_are_drawn_than_may_be_in_flight() -> None:
    drawn: list[str] = []

    def source() -> Iterator[VideoJob]:
        for job in jobs_named(*[f"v{place}" for place in range(100)]):
            drawn.append(job.name)
            yield job

    flow = flow_of([FakeActor(Host())] * 2, [FakeActor(Host())])
    results = flow.run(source())
    for taken in range(1, 50):
        next(results)
        assert len(drawn) <= taken + flow.most_in_flight
    assert flow.most_in_flight == 6


def test_a_video_that_cannot_be_decoded_is_a_failure_and_goes_to_no_scorer() -> None:
    scorer = FakeActor(Host())
    done = list(flow_of([FakeActor(Host())], [scorer]).run(jobs_named("a", "broken", "b")))
    (lost,) = done[1].results
    assert (lost.sample_id, lost.row, lost.kind, lost.stage) == ("broken", 1, "timeout", "decode")
    assert scorer.calls == ["score", "score"]


def test_the_actors_end_with_the_results_and_where_whoever_takes_them_stops() -> None:
    for taken in (1, 3):
        ray, actors = FakeRay(), [FakeActor(Host()) for _ in range(2)]
        results = Flow(ray, actors[:1], actors[1:]).run(jobs_named("a", "b", "c"))
        assert len(list(islice(results, taken))) == taken
        results.close()  # type: ignore[attr-defined]  # a generator
        assert ray.killed == actors


@pytest.mark.parametrize("lost_is", ["decoder", "scorer"])
def test_a_lost_actor_is_paused_until_it_answers_and_its_videos_start_again(lost_is: str) -> None:
    decoders, scorers = [FakeActor(Host()) for _ in range(2)], [FakeActor(Host()) for _ in range(2)]
    lost = (decoders if lost_is == "decoder" else scorers)[0]
    lost.lost = 2
    done = list(flow_of(decoders, scorers).run(jobs_named(*"abcdefgh")))
    assert [(each.job.name, each.frames) for each in done] == [(name, 1) for name in "abcdefgh"]
    assert lost.calls.count("ready") == 2
    assert sum(actor.calls.count("decode") for actor in decoders) == 10


def test_lost_frames_are_decoded_again_and_no_actor_rests() -> None:
    scorer = FakeActor(Host(), lost=1, error=ObjectLostError)
    decoder = FakeActor(Host())
    assert len(list(flow_of([decoder], [scorer]).run(jobs_named("a")))) == 1
    assert decoder.calls == ["decode", "decode"]
    assert scorer.calls == ["score", "score"]


def test_a_video_that_is_lost_again_and_again_ends_the_build() -> None:
    decoder = FakeActor(Host(), lost=99, error=lambda: RayActorError("node died\nmore"))
    with pytest.raises(StriveError, match=r"lost a 4 times \(node died\): check its machines"):
        list(flow_of([decoder], [FakeActor(Host())]).run(jobs_named("a")))
    assert decoder.calls.count("decode") == MAX_TRIES == 4


def test_errors_for_the_user_are_raised_as_they_are_and_defects_with_their_traceback() -> None:
    with pytest.raises(UsageError, match=r"^no such reader$"):
        list(flow_of([FakeActor(Host())], [FakeActor(Host())]).run(jobs_named("refused")))
    with pytest.raises(RuntimeError, match=r"an actor failed:\ntask: a defect of the code"):
        list(flow_of([FakeActor(Host())], [FakeActor(Host())]).run(jobs_named("bug")))


GPUS = {"CPU": 16.0, "GPU": 2.0}


@pytest.mark.parametrize(
    ("resources", "options", "workers", "expected"),
    [
        (GPUS, ClusterOptions(), 0, ActorCounts(decoders=14, scorers=2, gpus=1.0)),
        (GPUS, ClusterOptions(gpus_per_scorer=0.5), 0, ActorCounts(decoders=12, scorers=4, gpus=0.5)),
        (GPUS, ClusterOptions(gpus_per_scorer=0), 0, ActorCounts(decoders=15, scorers=1, gpus=0)),
        ({"CPU": 8.0}, ClusterOptions(), 0, ActorCounts(decoders=7, scorers=1, gpus=0.0)),
        ({"CPU": 8.0}, ClusterOptions(scorers=3), 2, ActorCounts(decoders=2, scorers=3, gpus=0.0)),
    ],
)
def test_actors_fill_the_cluster(
    resources: dict[str, float], options: ClusterOptions, workers: int, expected: ActorCounts
) -> None:
    assert count_actors(resources, options, workers) == expected


def test_more_than_fits_is_refused_with_the_sums() -> None:
    wanted = r"has 4 CPUs and 1 GPUs, 3 decoding and 2 scoring actors need 5 and 2: lower --workers"
    with pytest.raises(UsageError, match=wanted):
        count_actors({"CPU": 4.0, "GPU": 1.0}, ClusterOptions(scorers=2), 3)
    with pytest.raises(UsageError, match="1 decoding and 1 scoring actors need 2 and 0"):
        count_actors({"CPU": 1.0}, ClusterOptions(), 0)


def test_options_are_checked() -> None:
    with pytest.raises(SettingsError, match=r"--gpus-per-scorer: got 1\.5"):
        ClusterOptions(gpus_per_scorer=1.5)
    with pytest.raises(SettingsError, match="--scorers: got -1"):
        ClusterOptions(scorers=-1)


def test_a_missing_package_is_said_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"--engine ray needs the package ray: .* extra, \[ray\]"):
        import_ray()


def test_an_address_where_nothing_answers_is_refused() -> None:
    pytest.importorskip("ray", reason="the extra [ray] is not installed")
    refused = pytest.raises(UsageError, match=r"--ray-address nonsense: no Ray cluster answers \(")
    with refused, connected(ClusterOptions(address="nonsense"), 1):
        pass
