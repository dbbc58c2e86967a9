"""A build from and to an object store of this machine: S3 as moto serves it, with the real client."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from strive_data.build import pipeline as build_module
from strive_data.build.pipeline import build
from strive_data.common.storage import RemoteFolder, open_folder
from strive_data.config import BuildSettings
from strive_data.demo.draw import write_world
from strive_data.errors import UsageError
from tests.strive_data.build.killed_build import PROGRAM, command, start
from tests.strive_data.build.test_resume import TIMES
from tests.strive_data.made.engine import Notes

pytest.importorskip("s3fs", reason="the extra [s3] is not installed")
pytest.importorskip("moto.server", reason="moto is not installed")

MORE = ["--set", "shard.max_samples=2", "--workers", "1"]


@pytest.fixture(scope="module")
def endpoint() -> Iterator[None]:
    """The store; clients find it, and keys that it does not look at, in the environment."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "none")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        yield
    server.stop()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, endpoint: None) -> Path:
    """Eight videos on the disk, and the same ones at s3://videos/world."""
    import s3fs

    world = write_world(tmp_path_factory.mktemp("world"), videos=8, questions_per_video=1, seed=5)
    store = s3fs.S3FileSystem()
    store.mkdir("videos")
    store.mkdir("builds")
    for path in world.parent.rglob("*"):
        if path.is_file():
            store.put_file(str(path), f"videos/world/{path.relative_to(world.parent)}")
    return world


def store_of(url: str) -> RemoteFolder:
    folder = open_folder(url)
    assert isinstance(folder, RemoteFolder)
    return folder


def called(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(PROGRAM), *map(str, arguments)], capture_output=True, text=True)


@pytest.mark.slow
def test_a_build_killed_on_an_object_store_ends_with_the_objects_of_a_local_one(
    world: Path, tmp_path: Path
) -> None:
    remote, out = f"s3://videos/world/{world.name}", "s3://builds/built"
    wanted = command(world, tmp_path / "local", *MORE)
    assert subprocess.run(wanted, capture_output=True).returncode == 0
    arguments = [remote if part == str(world) else part for part in wanted]
    arguments = ["s3://videos/world" if part == str(world.parent) else part for part in arguments]
    arguments = [out if part == str(tmp_path / "local") else part for part in arguments]
    store = store_of(out)
    process = start(arguments)
    while "shard-000000.json" not in store.sizes() and process.poll() is None:
        time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert "run.json" not in store.sizes()
    done = subprocess.run(arguments, capture_output=True, text=True)
    assert "kept from earlier starts" in done.stdout, done.stderr
    # Videos behind a URL have no times.
    local = [path for path in (tmp_path / "local").iterdir() if path.name != "videos.json"]
    assert sorted(store.sizes()) == sorted(path.name for path in local)
    for path in local:
        if path.name != "run.json":
            assert store.read(path.name) == path.read_bytes(), path.name
    ours, theirs = json.loads(store.read("run.json")), json.loads((tmp_path / "local/run.json").read_text())
    named = {*TIMES, "inputs_sha256", "recipes"}
    assert {key for key in ours if ours[key] != theirs[key]} <= named
    assert list(ours["inputs_sha256"].items()) == [(remote, *theirs["inputs_sha256"].values())]
    _look_at(out)


def test_a_bucket_that_is_missing_is_named_before_the_model_is_loaded(world: Path) -> None:
    """Regression: `no such file`, and only once the model was there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build_module, "make_engine", lambda *_, **__: pytest.fail("the engine was made"))
        with pytest.raises(UsageError) as raised:
            build(
                [world],
                data_root=world.parent,
                out="s3://none/x",
                settings=BuildSettings(),
                observer=Notes(),
            )
    assert str(raised.value) == (
        "cannot write s3://none/x/build.json: its bucket or container 'none' may be missing; make it, "
        "or name another"
    )


def _look_at(out: str) -> None:
    checked = called("verify", out)
    assert (checked.returncode, checked.stdout.split(";")[0]) == (0, f"{out}: no problem")
    assert called("inspect", out).stdout.startswith(f"{out}: 8 samples, 8 videos, 4 shards")
    refused = called("report", out)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "copy the build to one first" in refused.stderr
