"""A video file that is replaced under a build is noticed: one name never gives two clips."""

from __future__ import annotations

import json
import os
from contextlib import nullcontext
from pathlib import Path

import av
import numpy as np
import polars as pl
import pytest
from PIL import Image

from strive_data.build.verify import verify_build
from strive_data.config import BuildSettings, DecodeSettings, SamplerSettings, ScoreSettings
from strive_data.errors import DamagedError, UsageError
from tests.strive_data.build.test_pipeline import build
from tests.strive_data.made.engine import Notes

SETTINGS = BuildSettings(
    decode=DecodeSettings(candidates=4, max_pixels=784),
    score=ScoreSettings(scorer="flat"),
    sampler=SamplerSettings(frames=2, variants=1),
)
KINDS = ("video", "image", "folder", "written over")


def write_media(path: Path, kind: str, shade: int) -> None:
    """A video, image or folder of one grey in 28 x 28; all greys give files of about one size. Pictures of a
    folder are new files, or the old ones "written over"."""
    grey = np.full((28, 28, 3), shade, np.uint8)
    if kind != "video":
        path.mkdir(exist_ok=True) if kind != "image" else None
        files = [path] if kind == "image" else [path / f"new{n}.png" for n in range(3)]
        for file in files:
            made = file if kind == "written over" else file.with_suffix(".tmp")
            Image.fromarray(grey).save(made, format="PNG")
            made.replace(file)
        return
    with av.open(path, "w", format="avi") as file:
        stream = file.add_stream("rawvideo", rate=4)
        stream.width = stream.height = 28
        stream.pix_fmt = "bgr24"
        for _ in range(8):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(grey, format="rgb24").reformat(format="bgr24")))
        file.mux(stream.encode())


def named(kind: str) -> str:
    return {"video": "a.avi", "image": "a.png", "folder": "a", "written over": "a"}[kind]


def run(
    root: Path, kind: str, rows: int, *, retry: bool = False, fps: float | None = 2.0
) -> tuple[bool, int, list[str]]:
    """Whether there was nothing to do, the number of samples, and the failures' kinds."""
    asked = {"video": named(kind), "answer": "x", "fps": fps}
    lines = [asked | {"id": str(n), "question": f"Which {n}?"} for n in range(rows)]
    (root / "q.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = build(
        [root / "q.jsonl"],
        data_root=root,
        out=root / "out",
        settings=SETTINGS,
        observer=Notes(),
        workers=1,
        retry_failed=retry,
    )
    return done.unchanged, done.counts["samples"], [str(failure.kind) for failure in done.failures]


def ids(root: Path) -> list[str]:
    return pl.read_parquet(root / "out" / "samples.parquet")["video_id"].to_list()


@pytest.mark.parametrize("kind", KINDS)
def test_a_replaced_file_is_named_and_one_that_was_copied_is_not(tmp_path: Path, kind: str) -> None:
    path = tmp_path / named(kind)
    write_media(path, kind, 50)
    assert run(tmp_path, kind, 1) == (False, 1, [])
    assert run(tmp_path, kind, 1) == (True, 1, [])
    os.utime(path, (1, 1))
    assert run(tmp_path, kind, 1) == (True, 1, [])
    noted = json.loads((tmp_path / "out" / "videos.json").read_text())
    assert path.is_dir() or noted[named(kind)][1] == 10**9
    write_media(path, kind, 200)
    for rows in (1, 2):
        with pytest.raises(UsageError, match=rf"1 video is .*: {path.name} \(.*name a new --out"):
            run(tmp_path, kind, rows)
    write_media(path, kind, 50)
    assert run(tmp_path, kind, 2) == (False, 2, [])
    assert len({*ids(tmp_path)}) == 1
    assert verify_build(tmp_path / "out", workers=1).problems == []


@pytest.mark.parametrize(
    ("name", "before", "after"), [("fps.txt", "2", "4"), ("times.txt", "0\n1\n4", "0\n3\n4")]
)
def test_other_times_of_a_folder_are_another_video(
    tmp_path: Path, name: str, before: str, after: str
) -> None:
    write_media(tmp_path / "a", "folder", 50)
    for text, is_refused in ((before, False), (after, True), (before, False), (before + "\n", False)):
        (tmp_path / "a" / name).write_text(text)
        with pytest.raises(UsageError, match=r"1 video is .*: a \(") if is_refused else nullcontext():
            run(tmp_path, "folder", 1, fps=None)


def test_a_file_that_is_replaced_unseen_gives_failures_not_a_second_clip(tmp_path: Path) -> None:
    """As behind a URL, in a build of an older version, or while the build runs."""
    write_media(tmp_path / "a.avi", "video", 50)
    run(tmp_path, "video", 1)
    write_media(tmp_path / "a.avi", "video", 200)
    (tmp_path / "out" / "videos.json").unlink()
    assert run(tmp_path, "video", 2) == (False, 1, ["changed"])
    assert not (tmp_path / "out" / "videos.json").exists()  # the new file is not noted as the one it was
    write_media(tmp_path / "a.avi", "video", 50)
    assert run(tmp_path, "video", 2, retry=True) == (False, 2, [])
    assert len({*ids(tmp_path)}) == 1


def test_verify_finds_two_clips_under_one_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A build that grew before this was noticed."""
    write_media(tmp_path / "a.avi", "video", 50)
    run(tmp_path, "video", 1)
    write_media(tmp_path / "a.avi", "video", 200)
    (tmp_path / "out" / "videos.json").unlink()
    monkeypatch.setattr("strive_data.build.source_files.SourceFiles.checked", lambda _, video: video.results)
    run(tmp_path, "video", 2)
    (problem,) = verify_build(tmp_path / "out", workers=1).problems
    assert "'a.avi' are of 2 different videos" in problem.what


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    write_media(tmp_path / "a.avi", "video", 50)
    run(tmp_path, "video", 1)
    (tmp_path / "out" / "videos.json").write_text('{"a.avi": 3}')
    with pytest.raises(DamagedError, match=r"videos\.json is damaged .*remove it"):
        run(tmp_path, "video", 1)
