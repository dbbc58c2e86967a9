"""A build that is killed at any step and started again ends with the bytes of one that was not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from strive_data.build import pipeline as build_module
from strive_data.build.merge import merge_builds
from strive_data.build.pipeline import build
from strive_data.build.progress import BuildCounts
from strive_data.build.summary import BuildSummary, TooManyFailuresError
from strive_data.build.verify import verify_build
from strive_data.config import BuildSettings
from strive_data.engines.engine import VideoJob, VideoResult
from strive_data.errors import DamagedError, UsageError
from tests.strive_data.build.crash_images import recorded
from tests.strive_data.made.engine import SETTINGS, FakeEngine, Notes, write_annotation

TIMES = ("seconds", "stage_seconds", "sha256")
# Videos of one to three rows, mixed; e and h are broken, row d6 is refused; the last rows fail.
VIDEOS = "aabcbbdedhh"
BROKEN, REFUSED = "eh", ["d6"]
OTHER = replace(SETTINGS, sampler=replace(SETTINGS.sampler, seed=3))


class Killed(FakeEngine):
    """Is killed when its results for some videos were drawn."""

    def __init__(self, videos: int, broken: str = BROKEN, refused: Iterable[str] = REFUSED) -> None:
        super().__init__(broken, refused)
        self._most = videos

    def run(self, jobs: Iterable[VideoJob]) -> Iterator[VideoResult]:
        for result in super().run(jobs):
            yield result
            if len(self.videos) == self._most:
                raise KeyboardInterrupt


def run(
    annotation: Path,
    out: Path | str,
    engine: FakeEngine | None = None,
    *,
    retry: bool = False,
    observer: Notes | None = None,
    settings: BuildSettings = SETTINGS,
) -> tuple[BuildSummary, FakeEngine]:
    chosen = engine or FakeEngine(BROKEN, REFUSED)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build_module, "make_engine", lambda *_, **__: chosen)
        summary = build(
            [annotation],
            data_root=annotation.parent,
            out=out,
            settings=settings,
            observer=observer or Notes(),
            retry_failed=retry,
        )
    return summary, chosen


def built(tmp_path: Path) -> tuple[Path, Path]:
    """An annotation of all videos, and its finished build."""
    annotation, out = write_annotation(tmp_path / "data", VIDEOS), tmp_path / "out"
    run(annotation, out)
    return annotation, out


def bytes_of(folder: Path, names: str = "*") -> dict[str, object]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob(names))}


def content(folder: Path) -> dict[str, object]:
    """All files of a build, run.json without its times."""
    record = json.loads((folder / "run.json").read_text())
    return bytes_of(folder) | {"run.json": {name: record[name] for name in record if name not in TIMES}}


def counts_of(out: Path) -> dict[str, int]:
    """What run.json says that a build holds."""
    return dict(json.loads((out / "run.json").read_text())["counts"])


def failed_ids(out: Path) -> list[str]:
    return pl.read_parquet(out / "failures.parquet")["sample_id"].to_list()


def all_resumed_alike(images: Iterable[Path], annotation: Path, wanted: Path, **options: object) -> int:
    """Resume each image; returns how many there were."""
    expected, count = content(wanted), 0
    for image in images:
        run(annotation, image, **options)  # type: ignore[arg-type]
        found = content(image)
        assert found.keys() == expected.keys(), image.name
        assert found == expected, (image.name, [name for name in found if found[name] != expected[name]])
        shutil.rmtree(image)
        count += 1
    return count


def test_killed_before_any_step_it_ends_with_the_same_bytes(tmp_path: Path) -> None:
    annotation, out = write_annotation(tmp_path / "data", VIDEOS), tmp_path / "out"
    with recorded(out, tmp_path / "images") as images:
        summary, _ = run(annotation, out)
    assert (summary.counts["samples"], summary.counts["shards"], len(summary.failures)) == (7, 3, 4)
    assert failed_ids(out) == ["d6", "e7", "h9", "h10"]
    assert all_resumed_alike(images, annotation, out) > 20


def test_killed_again_and_again_it_does_nothing_finished_twice(tmp_path: Path) -> None:
    """Only the videos of the open shard are done again."""
    annotation, out = built(tmp_path)
    again, made = tmp_path / "again", list[str]()
    for videos in (2, 2, 2):
        engine = Killed(videos)
        with pytest.raises(KeyboardInterrupt):
            run(annotation, again, engine)
        assert not list(again.glob(".*"))  # an end that can be seen coming leaves nothing behind
        made.append("".join(video[0] for video in engine.videos))
    _, engine = run(annotation, again)
    assert content(again) == content(out)
    assert made == ["ab", "bc", "de"]
    assert engine.videos == ["d.mp4", "e.mp4", "h.mp4"]


@given(data=st.data())
@hypothesis_settings(max_examples=8)
def test_whatever_the_annotation_and_the_step(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    tmp_path = tmp_path_factory.mktemp("any")
    videos = data.draw(st.text("abcde", min_size=1, max_size=12).filter(lambda text: set(text) - {"e"}))
    annotation, out = write_annotation(tmp_path / "data", videos), tmp_path / "out"
    with recorded(out, tmp_path / "images") as images:
        run(annotation, out)
    image = images[data.draw(st.integers(0, len(images) - 1))]
    with recorded(image, tmp_path / "second") as again:
        run(annotation, image)
    assert content(image) == content(out)
    second = again[data.draw(st.integers(0, len(again) - 1))] if again else image
    run(annotation, second)
    assert content(second) == content(out)


def test_rows_that_are_added_become_shards_behind_the_old_ones(tmp_path: Path) -> None:
    annotation, out = built(tmp_path)
    old = bytes_of(out, "shard-*")
    write_annotation(annotation.parent, VIDEOS + "aiijj")
    base = shutil.copytree(out, tmp_path / "base")
    with recorded(out, tmp_path / "images") as images:
        summary, engine = run(annotation, out)
    assert (summary.counts["samples"], summary.resumed, summary.counts["shards"]) == (12, 7, 5)
    assert engine.videos == ["a.mp4", "i.mp4", "j.mp4"]
    assert bytes_of(out).items() >= old.items()
    added = pl.read_parquet(out / "samples.parquet")["sample_id"].to_list()[7:]
    assert added == ["a11", "i12", "i13", "j14", "j15"]
    assert failed_ids(out) == ["d6", "e7", "h9", "h10"]
    assert all_resumed_alike([base, *images], annotation, out) > 15


def test_added_rows_may_stand_first_and_failures_keep_their_true_row(tmp_path: Path) -> None:
    annotation, out = built(tmp_path)
    rows = annotation.read_text()
    added = json.dumps({"id": "new", "video": "a.mp4", "question": "New?", "answer": "x"}) + "\n"
    annotation.write_text(added + rows)
    run(annotation, out)
    failures = pl.read_parquet(out / "failures.parquet")
    assert failures.select("sample_id", "row").rows() == [("d6", 7), ("e7", 8), ("h9", 10), ("h10", 11)]


def test_failed_rows_are_tried_again_when_asked(tmp_path: Path) -> None:
    annotation, out = built(tmp_path)
    old = bytes_of(out, "shard-*")
    summary, engine = run(annotation, out, FakeEngine("h"))
    assert (summary.unchanged, engine.videos) == (True, [])
    base = shutil.copytree(out, tmp_path / "base")
    with recorded(out, tmp_path / "images") as images:
        summary, engine = run(annotation, out, FakeEngine("h"), retry=True)
    assert engine.videos == ["d.mp4", "e.mp4", "h.mp4"]
    assert (summary.counts["samples"], summary.counts["shards"]) == (9, 4)
    assert failed_ids(out) == ["h9", "h10"]
    assert bytes_of(out).items() >= old.items()
    # With run.json of this round there, the round is over: the same command begins the next one.
    stopped = [image for image in images if not (image / "run.json").exists()]
    assert all_resumed_alike([base, *stopped], annotation, out, engine=FakeEngine("h"), retry=True) > 10
    # Nothing but failures again: no shard, one row each, and a new round each time.
    for _ in range(2):
        summary, engine = run(annotation, out, FakeEngine("h"), retry=True)
        assert (engine.videos, summary.counts["shards"], failed_ids(out)) == (["h.mp4"], 4, ["h9", "h10"])
    summary, _ = run(annotation, out, FakeEngine(), retry=True)
    assert (summary.counts["samples"], summary.failures) == (11, ())
    assert not (out / "tail.json").exists()


def known(counts: BuildCounts) -> tuple[int, ...]:
    """Videos and questions in all, then what is done, and how many rows failed."""
    done = (counts.videos, counts.questions, counts.shards, counts.written_bytes, counts.failed)
    return (counts.videos_total, counts.questions_total, *done)


def test_rows_that_are_tried_again_count_as_failed_only_once_they_fail_again(tmp_path: Path) -> None:
    """Two videos fail, one for good: a round of it shows one row less, not the old failures and the new."""
    annotation, out = write_annotation(tmp_path / "data", "abbc"), tmp_path / "out"
    seen = Notes()
    run(annotation, out, FakeEngine("bc", ()), observer=seen)
    assert known(seen.before) == (3, 4, 0, 0, 0, 0, 0)
    held = counts_of(out)
    assert (seen.end.shards, seen.end.written_bytes) == (held["shards"], held["bytes"]) == (1, held["bytes"])
    run(annotation, out, FakeEngine("c", ()), retry=True, observer=seen)
    assert known(seen.before) == (3, 4, 1, 1, 1, held["bytes"], 0)
    held = counts_of(out)
    assert (seen.end.shards, seen.end.written_bytes) == (held["shards"], held["bytes"]) == (2, held["bytes"])
    with annotation.open("a") as file:
        file.write("{}\n")
    run(annotation, out, FakeEngine("c", ()), retry=True, observer=seen)
    assert known(seen.before) == (3, 4, 2, 3, 2, held["bytes"], 1)


def test_a_build_without_a_shard_may_start_again_with_other_settings_and_be_killed(tmp_path: Path) -> None:
    """Every video failed; other settings then give what they give in a new folder, killed at any step."""
    annotation, out = write_annotation(tmp_path / "data", VIDEOS), tmp_path / "out"
    run(annotation, fresh := tmp_path / "fresh", settings=OTHER)
    with pytest.raises(UsageError, match="none of 11 rows"):
        run(annotation, out, FakeEngine("abcdeh"))
    assert {"build.json", "run.json", "tail.json"} <= {path.name for path in out.iterdir()}
    with recorded(out, tmp_path / "images") as images:
        run(annotation, out, settings=OTHER)
    assert content(out) == content(fresh)
    assert all_resumed_alike(images, annotation, fresh, settings=OTHER) > 20


def test_an_interrupted_build_with_a_shard_refuses_other_settings(tmp_path: Path) -> None:
    annotation, out = write_annotation(tmp_path / "data", VIDEOS), tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        run(annotation, out, Killed(3))
    assert (out / "shard-000000.json").exists()
    held = bytes_of(out)
    with pytest.raises(UsageError, match=r"other settings: sampler\.seed: 0, now 3\."):
        run(annotation, out, settings=OTHER)
    assert bytes_of(out) == held


def test_a_round_that_was_interrupted_tries_nothing_twice(tmp_path: Path) -> None:
    """d and e succeed and fill a shard; what failed before it is not tried again, what comes behind it is."""
    annotation, out = write_annotation(tmp_path / "data", "hdddah"), tmp_path / "out"
    run(annotation, out, FakeEngine("hd"))
    with pytest.raises(KeyboardInterrupt):
        run(annotation, out, Killed(2, "h"), retry=True)
    summary, engine = run(annotation, out, FakeEngine("h"), retry=True)
    assert (engine.videos, summary.counts["samples"], failed_ids(out)) == ([], 4, ["h0", "h5"])


def test_a_failed_row_that_was_corrected_is_tried_again(tmp_path: Path) -> None:
    annotation, out = built(tmp_path)
    (annotation.parent / "z.mp4").touch()
    annotation.write_text(annotation.read_text().replace('"h.mp4"', '"z.mp4"'))
    summary, engine = run(annotation, out)
    assert (engine.videos, summary.counts["samples"]) == (["z.mp4"], 9)
    assert failed_ids(out) == ["d6", "e7"]


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ('"answer": "x"', '"answer": "y"', r"rows.jsonl line 1 \(sample 'a0'\) has changed"),
        ('{"id": "a0", ', '{"id": "a99", ', "the row of sample 'a0' is missing"),
        ('"question": "?"', '"question": ""', r"sample 'a0', rows.jsonl line 1: .*question"),
    ],
)
def test_rows_of_samples_may_not_change(tmp_path: Path, before: str, after: str, says: str) -> None:
    annotation, out = built(tmp_path)
    held = content(out)
    annotation.write_text(annotation.read_text().replace(before, after, 1))
    with pytest.raises(UsageError, match=says):
        run(annotation, out)
    assert content(out) == held


def test_a_video_that_was_built_may_be_gone(tmp_path: Path) -> None:
    annotation, out = built(tmp_path)
    (annotation.parent / "a.mp4").unlink()
    summary, _ = run(annotation, out)
    assert (summary.unchanged, summary.counts["samples"], len(summary.failures)) == (True, 7, 4)
    write_annotation(tmp_path / "data", VIDEOS + "f")
    (annotation.parent / "a.mp4").unlink()
    summary, _ = run(annotation, out)
    # Its samples are still there, so it counts.
    assert (summary.unchanged, summary.counts["samples"]) == (False, 8)
    for counts in (summary.counts, counts_of(out)):
        assert (counts["videos"], counts["tried_videos"]) == (5, 7)
    assert verify_build(out, workers=1).problems == []


def test_a_continued_joined_build_keeps_the_records_of_its_parts(tmp_path: Path) -> None:
    first, second = (
        write_annotation(tmp_path / "data", rows, name=f"{rows[0]}.jsonl") for rows in ("aab", "ccf")
    )
    for annotation in (first, second):
        run(annotation, tmp_path / annotation.stem)
    merge_builds([tmp_path / "a", tmp_path / "c"], tmp_path / "all")
    parts = json.loads((tmp_path / "all" / "run.json").read_text())["parts"]
    assert [part["folder"] for part in parts] == ["a", "c"]
    both = write_annotation(tmp_path / "data", "aab", name="both.jsonl")
    both.write_text(
        first.read_text()
        + second.read_text()
        + '{"id": "n", "video": "a.mp4", "question": "?", "answer": "x"}\n'
    )
    summary, _ = run(both, tmp_path / "all")
    assert (summary.resumed, summary.counts["samples"]) == (6, 7)
    record = json.loads((tmp_path / "all" / "run.json").read_text())
    assert record["parts"] == parts
    assert list(record["inputs_sha256"]) == [both.as_posix()]
    assert verify_build(tmp_path / "all", workers=1).problems == []


def test_damage_to_what_is_finished_is_named(tmp_path: Path) -> None:
    annotation, out = built(tmp_path)
    tar = out / "shard-000001.tar"
    whole = tar.read_bytes()
    tar.write_bytes(whole[:-1])
    with pytest.raises(DamagedError, match=rf"shard-000001.tar has {len(whole) - 1} bytes"):
        run(annotation, out)
    tar.unlink()
    with pytest.raises(DamagedError, match=r"shard-000001.tar is missing"):
        run(annotation, out)
    tar.write_bytes(whole)
    (out / "shard-000001.json").unlink()
    with pytest.raises(DamagedError, match=r"shard-000001.json is missing, but shard-000002.json is there"):
        run(annotation, out)
    (out / "shard-000000.json").write_text("{}")
    with pytest.raises(DamagedError, match=r"shard-000000.json: not a manifest"):
        run(annotation, out)


@pytest.mark.parametrize("content", [b"", b"PAR1 no table", None])
def test_a_table_that_was_damaged_is_made_again(tmp_path: Path, content: bytes | None) -> None:
    annotation, out = built(tmp_path)
    table = out / "failures.parquet"
    whole = table.read_bytes()
    if content is None:
        table.unlink()
    else:
        table.write_bytes(content)
    summary, engine = run(annotation, out)
    assert (engine.videos, summary.unchanged) == ([], False)
    assert table.read_bytes() == whole
    assert verify_build(out, workers=1).problems == []


def test_too_many_failures_stop_early_and_keep_what_is_done(tmp_path: Path) -> None:
    videos = "abcdef" * 2 + "g" * 60
    annotation, out = write_annotation(tmp_path / "data", videos), tmp_path / "out"
    with pytest.raises(TooManyFailuresError) as raised:
        run(annotation, out, FakeEngine("g"))
    assert str(raised.value).splitlines()[:2] == [
        "stopped: 60 of 72 rows failed, failures.max_share is 0.5",
        "  60 timeout, for example too slow",
    ]
    assert not (out / "run.json").exists()
    assert len(list(out.glob("shard-*.tar"))) == 4
    summary, engine = run(annotation, out, FakeEngine())
    assert (engine.videos, summary.counts["samples"], summary.failures) == (["g.mp4"], 72, ())
    run(annotation, tmp_path / "plain", FakeEngine())
    assert content(out) == content(tmp_path / "plain")


def test_each_failure_names_the_line_of_its_row(tmp_path: Path) -> None:
    """Regression: a video that failed later had no file and no line."""
    annotation, out = write_annotation(tmp_path / "data", "afa"), tmp_path / "out"
    rows = annotation.read_text()
    annotation.write_text("\n" + rows + '{"problem_id": "x"}\n')
    summary, _ = run(annotation, out, FakeEngine("f"))
    assert [(row.row, row.stage) for row in summary.failures] == [(3, "annotation"), (1, "decode")]
    assert summary.failures[0].message.startswith("rows.jsonl line 5: ")
    assert summary.failures[1].message.endswith(" (rows.jsonl line 3)")
    assert verify_build(out, workers=1).problems == []
