"""Paths of an annotation against a folder with links in it; more paths are in tests/safety."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strive_data.annotations.read import Annotations, read_annotations
from strive_data.annotations.videos import VideoFolder
from strive_data.engines.engine import jobs_of
from strive_data.errors import FailureKind, SampleError

STEPS = ("a", "b", "x.mp4", "up", "in", "loop", "out.mp4", ".", "..", "gone")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """a/b/x.mp4 and x.mp4; `in` leads to a, `up` and out.mp4 lead outside, `loop` nowhere."""
    outer = tmp_path_factory.mktemp("outer")
    (outer / "out.mp4").touch()
    root = outer / "root"
    (root / "a" / "b").mkdir(parents=True)
    for name in ("x.mp4", "a/b/x.mp4"):
        (root / name).touch()
    (root / "in").symlink_to(root / "a")
    (root / "a" / "up").symlink_to(outer)
    (root / "out.mp4").symlink_to(outer / "out.mp4")
    (root / "loop").symlink_to(root / "loop")
    return root


def refused(folder: VideoFolder, path: str, *, label: str = "path") -> SampleError:
    with pytest.raises(SampleError) as caught:
        folder.find(path, label=label)
    return caught.value


def test_a_path_is_normalised_and_found_through_links_that_stay_inside(root: Path) -> None:
    folder = VideoFolder(root)
    assert folder.find("./a//b/../b/x.mp4") == "a/b/x.mp4"
    assert folder.find("in/b/x.mp4") == "in/b/x.mp4"
    away = refused(folder, "a/up/out.mp4", label="video")
    assert (away.kind, away.message) == (
        FailureKind.OUTSIDE_ROOT,
        f"video 'a/up/out.mp4' leaves the data root {root}; --data-root names a folder that holds all videos",
    )


@given(steps=st.lists(st.sampled_from(STEPS), min_size=1, max_size=4))
def test_it_agrees_with_realpath_of_the_whole_path(root: Path, steps: list[str]) -> None:
    """The oracle resolves each path as a whole; the folder keeps what it knows of other paths."""
    path = "/".join(steps)
    video = os.path.normpath(path)
    real = Path(os.path.realpath(root / video))
    inside = not video.startswith("..") and real.is_relative_to(os.path.realpath(root))
    folder = VideoFolder(root)
    for _ in range(2):
        if inside and real.is_file():
            assert folder.find(path) == video
        else:
            kind = FailureKind.MISSING if inside else FailureKind.OUTSIDE_ROOT
            assert refused(folder, path).kind == kind


def test_each_path_and_each_folder_is_looked_at_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[str] = []
    monkeypatch.setattr(Path, "stat", _noting(Path.stat, looks))
    monkeypatch.setattr(os.path, "realpath", _noting(os.path.realpath, looks))
    folder = VideoFolder(root)
    counts = []
    for path in ("a/b/x.mp4", "a/b/gone.mp4", "a/b/x.mp4", "a/b/gone.mp4"):
        with suppress(SampleError):
            folder.find(path)
        counts.append(len(looks))
    assert 0 < counts[0] < counts[1] == counts[2] == counts[3]
    # And once more for the nearest name of what is absent.
    assert [Path(look).name for look in looks].count("b") == 2


def test_the_first_absent_videos_get_the_nearest_name(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "films" / "old").mkdir(parents=True)
    (root / "films" / "old" / "sunrise.mp4").touch()
    folder, there = VideoFolder(root), "films/old/sunrise.mp4"
    for path in ("films/old/Sunrise.MP4", "films/odl/sunrise.mp4", "films/old/sunrize.mp4"):
        assert refused(folder, path).message.endswith(f", did you mean {there}?")
    assert refused(folder, "films/old/nope.mp4").message.endswith("no such file or directory")
    twice = refused(folder, f"root/{there}").message
    assert f"repeats the data root: leave root/ out, or give --data-root {root.parent}" in twice
    hints = [refused(folder, f"films/old/sunrise{n}.mp4").message.count("did you mean") for n in range(30)]
    assert sum(hints) == 16
    assert hints == sorted(hints, reverse=True)


def test_a_reason_that_is_kept_is_said_by_the_label_of_the_asker(root: Path) -> None:
    folder = VideoFolder(root)
    first, second = refused(folder, "../x", label="path"), refused(folder, "../x", label="file")
    assert (first.message[:4], second.message[:4]) == ("path", "file")
    assert refused(folder, "../x", label="path") is not first


def test_unchecked_only_the_path_itself_counts(root: Path) -> None:
    folder = VideoFolder(root / "nowhere", check_files=False)
    assert folder.find("a/up/out.mp4") == "a/up/out.mp4"
    assert refused(folder, "a/../../x.mp4").kind == FailureKind.OUTSIDE_ROOT
    assert refused(folder, "/a/x.mp4").kind == FailureKind.OUTSIDE_ROOT
    assert folder.find((root / "nowhere" / "a" / "x.mp4").as_posix()) == "a/x.mp4"


def _noting(function, looks: list[str]):  # type: ignore[no-untyped-def]
    def noted(path, *args, **kwargs):  # type: ignore[no-untyped-def]
        looks.append(str(path))
        return function(path, *args, **kwargs)

    return noted


def test_a_folder_of_pictures_is_a_video(tmp_path: Path) -> None:
    clip = tmp_path / "frames" / "clip7"
    clip.mkdir(parents=True)
    videos = (VideoFolder(tmp_path, check_files=True) for _ in range(4))
    for mentions, name in [("without pictures", "00001.JPG"), ("fps.txt", "fps.txt")]:
        with pytest.raises(SampleError, match=mentions) as caught:
            next(videos).find("frames/clip7")
        assert caught.value.kind == "missing"
        (clip / name).write_text("2\n")
    for path in ("frames/clip7", "frames/clip7/", "frames/clip7/%05d.jpg", "frames/clip7/*.png"):
        assert VideoFolder(tmp_path).find(path) == "frames/clip7"
    with pytest.raises(SampleError, match="leaves the data root"):
        VideoFolder(clip).find("../%05d.jpg")


def rows_of(root: Path, rows: list[dict[str, object]]) -> Annotations:
    asked = [{"question": "Who?", "answer": "x", **row} for row in rows]
    (root / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in asked))
    return read_annotations([root / "t.jsonl"], root)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    (tmp_path / "clip").mkdir()
    for number in range(3):
        (tmp_path / "clip" / f"{number:05d}.jpg").touch()
    (tmp_path / "x.mp4").touch()
    return tmp_path


def test_a_row_gives_a_folder_its_rate_or_its_times(clip: Path) -> None:
    found = rows_of(
        clip,
        [
            {"video": "clip/%05d.jpg", "fps": 2},
            {"video": "clip", "fps": "29.97"},
            {"video": "clip", "frame_times": [0, 0.5, 2]},
            {"video": "x.mp4", "fps": 30, "frame_times": [0, 1]},
        ],
    )
    assert not found.failures
    assert [(q.video, q.fps, q.frame_times) for _, q in found.questions] == [
        ("clip", 2.0, ()),
        ("clip", 29.97, ()),
        ("clip", 0.0, (0.0, 0.5, 2.0)),
        ("x.mp4", 0.0, ()),
    ]
    jobs = jobs_of(found.questions, clip)
    assert [(job.name, str(job.path), type(job.path).__name__) for job in jobs] == [
        ("clip", str(clip / "clip"), "TimedFolder"),
        ("clip (2)", str(clip / "clip"), "TimedFolder"),
        ("clip (3)", str(clip / "clip"), "TimedFolder"),
        ("x.mp4", str(clip / "x.mp4"), "PosixPath"),
    ]


@pytest.mark.parametrize(
    ("row", "mentions"),
    [
        ({"fps": 0}, "fps: got 0"),
        ({"fps": "fast"}, "fps: got 'fast'"),
        ({"fps": -2.5}, "fps: got -2.5"),
        ({"frame_times": []}, "frame_times: got []"),
        ({"frame_times": ["1"]}, "frame_times: got ['1']"),
        ({}, "column fps"),
    ],
)
def test_a_folder_without_usable_times_is_a_failure(
    clip: Path, row: dict[str, object], mentions: str
) -> None:
    (failure,) = rows_of(clip, [{"video": "clip", **row}]).failures
    assert mentions in failure.message


def test_times_in_a_csv(clip: Path) -> None:
    (clip / "t.csv").write_text('video,question,answer,frame_times,fps\nclip,Who?,x,"[0, 1, 4]",\n')
    ((_, question),) = read_annotations([clip / "t.csv"], clip).questions
    assert (question.frame_times, question.fps) == ((0.0, 1.0, 4.0), 0.0)


def test_a_rate_beside_any_path_loses_no_other_row(clip: Path) -> None:
    """The path is looked at for its times before it is looked for as a video."""
    long, file_url = "x" * 300, f"file://{clip}/clip"
    paths = [long, f"{long}/%05d.jpg", "clip/%05d.jpg/x", "../clip", "/", file_url, "clip"]
    found = rows_of(clip, [{"video": path, "fps": 2} for path in paths])
    assert [(q.video, q.fps) for _, q in found.questions] == [("clip", 2.0)] * 2
    assert [failure.row for failure in found.failures] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ("f0 f1 f2", ""),
        ("a_3 a_6 a_9", ""),
        ("f0 f1 g2", ""),
        ("f0 f1 f3 f5 f6", "2 pictures missing, first before f3.jpg"),
        ("f3 f8 f10", "numbers without a step"),
        ("f1 f2 f100", "numbers without a step"),
    ],
)
def test_missing_pictures_are_said(tmp_path: Path, names: str, says: str) -> None:
    """A row that gives each picture its time needs no numbers."""
    folder = tmp_path / "clip"
    folder.mkdir()
    for name in names.split():
        (folder / f"{name}.jpg").touch()
    (reading,) = rows_of(tmp_path, [{"video": "clip", "fps": 2}]).readings.values()
    said = "; ".join(guess for guess in reading.guesses if "gaps" in guess)
    assert says in said
    assert bool(said) == bool(says)
    times = [*range(len(names.split()))]
    (reading,) = rows_of(tmp_path, [{"video": "clip", "frame_times": times}]).readings.values()
    assert not any("gaps" in guess for guess in reading.guesses)
