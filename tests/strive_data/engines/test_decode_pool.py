from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import av
import fsspec
import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from strive_data.config import DecodeSettings
from strive_data.decode import read_candidates
from strive_data.engines.decode_pool import (
    decode_videos,
    fetched,
    other_reader,
    own_folder,
    timed_read,
)
from strive_data.errors import FailureKind, SampleError, StriveError
from strive_data.schema import Candidates

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the limit is one of Linux")

SCRIPT = """
import numpy as np
from strive_data.engines.decode_pool import data_bytes, limit_memory
before = data_bytes()
limit_memory(64 << 20)
kept = np.ones(48 << 20, np.uint8)
print(48 << 20 <= data_bytes() - before < 52 << 20)
try:
    np.ones(32 << 20, np.uint8)
except MemoryError:
    print("refused")
"""


def test_more_than_the_limit_is_refused_and_less_is_not() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "refused"]


def test_only_a_free_choice_of_reader_has_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    auto = DecodeSettings(candidates=7)
    assert other_reader(auto) == DecodeSettings(candidates=7, reader="decord")
    assert other_reader(DecodeSettings(reader="pyav")) is None
    assert other_reader(DecodeSettings(reader="decord")) is None
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert other_reader(auto) is None


# A worker imports its reader by name, so the reader is a real module in a folder on the path.
READER = '''
import ctypes, os, sys
import numpy as np
from strive_data.errors import FailureKind, SampleError
from strive_data.schema import Candidates, VideoInfo

def read(path, settings):
    """Does what the file's name says."""
    what = path.name
    if what.startswith("fragile:") and settings.reader == "auto":
        what = what.split(":")[1]
    if what == "both":
        if settings.reader == "auto":
            os._exit(7)
        raise SampleError(FailureKind.NO_MOOV, "decord's own words")
    if what.startswith("eat:"):
        np.ones(int(what[4:]) << 20, np.uint8)
    if what == "hang":
        ctypes.PyDLL(None).sleep(1000)  # native code that holds the interpreter's lock
    if what == "die":
        os._exit(7)
    if what == "segfault":
        os.kill(os.getpid(), 11)
    if what == "memory":
        raise MemoryError
    if what == "bad":
        raise SampleError(FailureKind.NO_MOOV, "bad file")
    if what == "bug":
        raise ZeroDivisionError("a defect of the code")
    loaded = ",".join(sorted({"torch"} & set(sys.modules)))
    info = VideoInfo(video_id=what, duration_seconds=1.0, width=4, height=4, reader=loaded,
        reader_version=settings.reader)
    frames = np.arange(144, dtype=np.uint8).reshape(3, 4, 4, 3)
    return Candidates(info=info, frames=frames, times=np.arange(3.0))
'''


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    (tmp_path / "worker_reader.py").write_text(READER)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module("worker_reader")
    sys.modules.pop("worker_reader")


def outcome(result: Candidates | SampleError) -> str:
    return result.kind.value if isinstance(result, SampleError) else result.info.video_id


def test_each_disaster_costs_only_its_own_video_and_order_is_kept(fake: ModuleType) -> None:
    names = ["a", "hang", "b", "die", "c", "segfault", "memory", "d", "bad", "e"]
    jobs = [(str(place), Path(name)) for place, name in enumerate(names)]
    settings = DecodeSettings(timeout_seconds=1.5)
    got = list(decode_videos(jobs, settings, 2, read=fake.read))
    assert [name for name, _ in got] == [str(place) for place in range(10)]
    expected = ["a", "timeout", "b", "crash", "c", "crash", "oom", "d", "no_moov", "e"]
    assert [outcome(result) for _, result in got] == expected
    messages = {outcome(r): r.message for _, r in got if isinstance(r, SampleError)}
    late = messages["timeout"]
    assert (late.count("hang: "), late.startswith("hang: ")) == (1, True)
    assert "not decoded within 1.5 s" in late
    assert messages["no_moov"] == "bad file"


def test_workers_hold_no_torch_and_frames_arrive_whole(fake: ModuleType) -> None:
    ((_, got),) = decode_videos([("x", Path("x"))], DecodeSettings(), 1, read=fake.read)
    assert got.info.reader == ""
    np.testing.assert_array_equal(got.frames, np.arange(144).reshape(3, 4, 4, 3))
    assert got.frames.dtype == np.uint8
    assert got.times.tolist() == [0.0, 1.0, 2.0]


def test_jobs_are_drawn_as_needed(fake: ModuleType) -> None:
    drawn = []

    def jobs() -> Iterator[tuple[str, Path]]:
        for number in range(20):
            drawn.append(number)
            yield str(number), Path("x")

    results = decode_videos(jobs(), DecodeSettings(), 1, read=fake.read)
    for taken in range(1, 5):
        next(results)
        assert len(drawn) <= taken + 2
    results.close()  # type: ignore[attr-defined]  # a generator: closing it ends the workers


def test_defects_of_the_code_are_raised(fake: ModuleType) -> None:
    with pytest.raises(ZeroDivisionError, match="a defect"):
        list(decode_videos([("x", Path("bug"))], DecodeSettings(), 1, read=fake.read))


def test_script_without_a_guard_is_reported(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from pathlib import Path\n"
        "from strive_data.config import DecodeSettings\n"
        "from strive_data.decode import read_candidates\n"
        "from strive_data.engines.local import decode_videos\n"
        "list(decode_videos([('a', Path('a'))], DecodeSettings(), 1, read=read_candidates))\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "UsageError: the decoding processes cannot start" in done.stderr


def test_no_jobs_no_results() -> None:
    assert list(decode_videos([], DecodeSettings(), 1, read=read_candidates)) == []


def test_real_clips_through_the_pool(shared_data: Path) -> None:
    names = ["peppers.mp4", "unreadable.mp4", "corrupted.mp4", "absent.mp4"]
    jobs = [(name, shared_data / "videos" / name) for name in names]
    got = dict(decode_videos(jobs, DecodeSettings(candidates=16), 2, read=read_candidates))
    peppers, corrupted = got["peppers.mp4"], got["corrupted.mp4"]
    assert isinstance(corrupted, Candidates)
    assert len(peppers.frames) == 16
    assert outcome(got["unreadable.mp4"]) == FailureKind.NO_MOOV
    assert outcome(got["absent.mp4"]) == FailureKind.MISSING


def test_workers_die_with_their_parent_even_while_they_hang(fake: ModuleType, tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        "import sys; from pathlib import Path\n"
        f"sys.path.insert(0, {str(tmp_path)!r})\n"
        "import worker_reader\n"
        "from strive_data.config import DecodeSettings\n"
        "from strive_data.engines.local import decode_videos\n"
        "if __name__ == '__main__':\n"
        "    jobs = [('a', Path('a')), ('h', Path('hang'))]\n"
        "    for name, _ in decode_videos(jobs, DecodeSettings(), 1, read=worker_reader.read):\n"
        "        print(name, flush=True)\n"
    )
    parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout.readline() == "a\n"
    children = _children(parent.pid)
    assert children
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    for _ in range(100):
        if not any(map(_alive, children)):
            return
        time.sleep(0.05)
    pytest.fail(f"workers outlived their parent: {[pid for pid in children if _alive(pid)]}")


def _children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    listed = " ".join((task / "children").read_text() for task in tasks)
    return [int(child) for child in listed.split()]


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_what_hangs_dies_or_bursts_is_read_once_more_by_the_other_reader(fake: ModuleType) -> None:
    names = ["fragile:hang", "a", "fragile:die", "fragile:memory", "both"]
    settings = DecodeSettings(timeout_seconds=1.5, memory_bytes=256 << 20)
    got = dict(decode_videos([(name, Path(name)) for name in names], settings, 2, read=fake.read))
    readers = {name: r.info.reader_version for name, r in got.items() if isinstance(r, Candidates)}
    assert readers == {
        "fragile:hang": "decord",
        "a": "auto",
        "fragile:die": "decord",
        "fragile:memory": "decord",
    }
    both = got["both"]
    assert both.kind is FailureKind.CRASH
    assert both.message == (
        "both: pyav: crash: the decoding process died with exit code 7; decord: no_moov: decord's own words"
    )


def test_a_reader_that_was_named_is_not_replaced(fake: ModuleType) -> None:
    settings = DecodeSettings(timeout_seconds=20, reader="pyav")
    ((_, got),) = decode_videos([("x", Path("die"))], settings, 1, read=fake.read)
    assert got.message == "die: the decoding process died with exit code 7"


def test_memory_above_the_limit_is_refused_to_that_video_only(fake: ModuleType) -> None:
    settings = DecodeSettings(memory_bytes=64 << 20, reader="pyav")
    jobs = [(name, Path(name)) for name in ("a", "eat:32", "eat:200", "b", "eat:32")]
    got = [outcome(result) for _, result in decode_videos(jobs, settings, 1, read=fake.read)]
    assert got == ["a", "eat:32", "oom", "b", "eat:32"]


def test_memory_stays_flat_over_many_videos(make_tiny: Path) -> None:
    """Resident size of one worker after 200 videos, beside that after 20; in pages, leaks add up."""
    jobs = [(str(number), make_tiny) for number in range(200)]
    settings = DecodeSettings(candidates=4, multiple=1)
    sizes = []
    for number, (_, got) in enumerate(decode_videos(jobs, settings, 1, read=read_candidates)):
        assert isinstance(got, Candidates)
        if number in (20, 190):
            sizes.append(max(map(_resident_bytes, _children(os.getpid()))))
    assert sizes[1] < sizes[0] + (16 << 20)


@pytest.fixture
def make_tiny(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height = 64, 48
        for _ in range(10):
            container.mux(stream.encode(av.VideoFrame(64, 48, "yuv420p")))
        container.mux(stream.encode(None))
    return path


def _resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


URL = "memory://bucket/in/a.mp4"


@pytest.fixture(autouse=True)
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("strive_data.engines.decode_pool.gettempdir", lambda: str(tmp_path))
    fsspec.filesystem("memory").pipe_file("/bucket/in/a.mp4", b"video")
    yield
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


def test_a_copy_is_there_while_it_is_read_with_the_ending_of_the_name() -> None:
    with fetched(URL) as copy:
        assert (copy.read_bytes(), copy.suffix) == (b"video", ".mp4")
        assert own_folder().stat().st_mode & 0o777 == 0o700
    assert list(own_folder().iterdir()) == []


def test_errors_name_the_url_and_leave_no_copy(tmp_path: Path) -> None:
    def refuse(path: Path, settings: DecodeSettings) -> None:
        raise SampleError(FailureKind.NO_MOOV, f"{path}: no moov in {path}")

    with pytest.raises(SampleError) as caught:
        timed_read(refuse, URL, DecodeSettings())
    assert (caught.value.kind, caught.value.message) == (FailureKind.NO_MOOV, f"{URL}: no moov in {URL}")
    assert list(own_folder().iterdir()) == []
    with pytest.raises(SampleError) as caught:
        timed_read(refuse, "memory://bucket/in/b.mp4", DecodeSettings())
    assert (caught.value.kind, caught.value.message) == ("missing", "memory://bucket/in/b.mp4: no such file")
    with pytest.raises(SampleError, match=f"{tmp_path}/x: no moov"):
        timed_read(refuse, tmp_path / "x", DecodeSettings())


def test_copies_of_killed_processes_are_removed_and_those_of_others_kept() -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    stale, ours = own_folder() / f"{ended.pid}.mp4", own_folder() / f"{os.getppid()}.mp4"
    stale.touch()
    ours.touch()
    assert [path.name for path in own_folder().iterdir()] == [ours.name]


def test_a_video_larger_than_the_disk_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=4))
    refused = pytest.raises(
        StriveError, match=f"{URL} has 5 bytes, and .* has 4 bytes free: free space, or set TMPDIR"
    )
    with refused, fetched(URL):
        pass


def test_a_read_is_timed_where_it_happens() -> None:
    read, seconds = timed_read(lambda path, settings: path, Path("x"), DecodeSettings())
    assert read == Path("x")
    assert seconds >= 0
