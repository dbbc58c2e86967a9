"""A mixed build, exported to each layout and read back: same questions, same frames, same times.

What the tools read is taken from the files as the tools take it (their public source is named in
strive_data/export); test_libraries.py reads them by the tools themselves, where they are installed.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import polars as pl
import pytest
from PIL import Image

from strive_data.build.api import open_build
from strive_data.config import ExportOptions
from strive_data.errors import DamagedError, SettingsError, UsageError
from strive_data.export import rows as parquet
from strive_data.export.layouts import LAYOUTS, export_build
from strive_data.export.lmms_eval import presented
from strive_data.export.rows import export_rows
from strive_data.shards.reader import ShardSet
from tests.strive_data.made.builds import write_build
from tests.strive_data.made.samples import a_question, a_sample

Exported = Callable[[str], Path]


@dataclass(frozen=True)
class Seen:
    """What a tool reads of one row."""

    sample_id: str
    variant: str
    text: str
    answer: str
    images: list[bytes]
    times: list[float]


def expected(build: Path) -> list[Seen]:
    return [
        Seen(
            sample_id=one.question.sample_id,
            variant=str(number),
            text="\n".join([one.question.question, *one.question.options]),
            answer=one.question.answer,
            images=one.jpegs[number],
            times=one.times[number].tolist(),
        )
        for one in open_build(build)
        for number in range(len(one.indices))
    ]


def parquet_rows(folder: Path) -> list[dict[str, Any]]:
    return pl.read_parquet(sorted((folder / "data").glob("train-*-of-*.parquet"))).to_dicts()


def seen(row: dict[str, Any], text: str, answer: str, about: dict[str, Any] | None = None) -> Seen:
    about = about or row
    images = [image["bytes"] for image in row["images"]]
    return Seen(about["sample_id"], about["variant"], text, answer, images, about["times"])


def split(prompt: str, images: int) -> str:
    """The text of a prompt whose placeholders, which come first, are as many as its images."""
    head, _, text = prompt.partition("\n")
    assert re.fullmatch(rf"(<image>){{{images}}}", head)
    return text


def read_easyr1(folder: Path) -> list[Seen]:
    rows = parquet_rows(folder)
    return [seen(row, split(row["problem"], len(row["images"])), row["answer"]) for row in rows]


def read_verl(folder: Path) -> list[Seen]:
    found = []
    for number, row in enumerate(parquet_rows(folder)):
        (message,) = row["prompt"]
        assert (message["role"], row["reward_model"]["style"]) == ("user", "rule")
        assert (row["extra_info"]["index"], row["extra_info"]["split"]) == (number, "train")
        text = split(message["content"], len(row["images"]))
        found.append(seen(row, text, row["reward_model"]["ground_truth"], row["extra_info"]))
    return found


def read_messages(folder: Path) -> list[Seen]:
    found = []
    (described,) = json.loads((folder / "dataset_info.json").read_text()).values()  # for LLaMA-Factory
    assert described["columns"] == {"messages": "messages", "images": "images"}
    tags = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}
    assert (described["formatting"], described["tags"]) == ("sharegpt", tags)
    for line in (folder / described["file_name"]).read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        assert not row.keys() & {"video", "videos", "image", "audio", "options", "label", "state", "channel"}
        asked, answered = row["messages"]
        assert (asked["role"], answered) == ("user", {"role": "assistant", "content": row["solution"]})
        images = [(folder / path).read_bytes() for path in row["images"]]
        text = split(asked["content"], len(images))
        found.append(Seen(row["sample_id"], row["variant"], text, row["solution"], images, row["times"]))
    return found


def read_trl(folder: Path) -> list[Seen]:
    return [seen(row, row["prompt"][0]["content"], row["solution"]) for row in parquet_rows(folder)]


def read_datasets(folder: Path) -> list[Seen]:
    rows = parquet_rows(folder)
    texts = [split(row["prompt"], len(row["images"])) for row in rows]
    assert texts == ["\n".join([row["question"], *row["options"]]) for row in rows]
    return [seen(row, text, row["answer"]) for row, text in zip(rows, texts, strict=True)]


READERS = {
    "easyr1": read_easyr1,
    "verl": read_verl,
    "messages": read_messages,
    "trl": read_trl,
    "datasets": read_datasets,
}


@pytest.fixture
def exported(mixed: Path, tmp_path: Path) -> Exported:
    def export(layout: str) -> Path:
        root = mixed / "world" if layout == "lmms-eval" else None
        export_build(mixed / "build", layout, tmp_path / layout, data_root=root)
        return tmp_path / layout

    return export


@pytest.mark.parametrize("layout", READERS)
def test_each_layout_holds_the_questions_frames_and_times_of_the_build(
    mixed: Path, exported: Exported, layout: str
) -> None:
    rows = READERS[layout](exported(layout))
    assert rows == expected(mixed / "build")
    assert [row.sample_id for row in rows[::2]] == ["0", "1", "count", "when", "how far?", "sign", "say"]
    assert [len(row.images) for row in rows[::2]] == [4, 4, 4, 4, 4, 1, 1]


def check_key_frames(folder: Path, build: Path, root: Path) -> None:
    """Frame n of a decode of the whole video is the picture, at the build's size, and has its time."""
    for variant in (0, 1):
        entries = json.loads((folder / f"keyframes-{variant}.json").read_text(encoding="utf-8"))
        for entry, one in zip(entries, open_build(build), strict=True):
            assert entry["question_id"] == one.question.sample_id
            assert (entry["options"], entry["answer"]) == (list(one.question.options), one.question.answer)
            assert entry["keyframe_times"] == one.times[variant].tolist()
            if one.sample.meta.info.reader == "pyav":
                with av.open(str(root / entry["video"])) as container:
                    frames = [
                        (frame.time, frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)
                    ]
                shown = [frames[number] for number in entry["keyframe_indices"]]
                assert [time for time, _ in shown] == pytest.approx(entry["keyframe_times"])
                for (_, pixels), image in zip(shown, one.images[variant], strict=True):
                    whole = Image.fromarray(pixels).resize(image.size, Image.Resampling.BILINEAR)
                    assert np.abs(np.asarray(whole).astype(int) - np.asarray(image).astype(int)).mean() < 6
            elif one.sample.meta.info.is_image:
                assert entry["keyframe_indices"] == [0]
            else:
                # Its pictures are fewer than the cells, so every candidate is a picture.
                assert entry["keyframe_indices"] == one.indices[variant].tolist()


def test_key_frames_are_numbered_as_the_video_shows_them(mixed: Path, exported: Exported) -> None:
    check_key_frames(exported("lmms-eval"), mixed / "build", mixed / "world")


def test_key_frames_are_added_to_the_rows_of_the_benchmark(mixed: Path, tmp_path: Path) -> None:
    """In the layout of WFS-SB's files: a row of the benchmark as it is, and `keyframe_indices`."""
    table, root = mixed / "world" / "questions.jsonl", mixed / "world"
    export_build(mixed / "build", "lmms-eval", tmp_path / "out", data_root=root, table=table)
    written = json.loads((tmp_path / "out" / "keyframes-1.json").read_text(encoding="utf-8"))
    rows = [json.loads(line) for line in table.read_text().splitlines()]
    numbers = [entry.pop("keyframe_indices") for entry in written]
    times = [entry.pop("keyframe_times") for entry in written]
    assert written == rows
    assert [len(row) for row in numbers] == [4, 4, 4, 4, 4, 1, 1]
    assert times == [one.times[1].tolist() for one in open_build(mixed / "build")]
    longer = tmp_path / "longer.jsonl"
    unusable = json.dumps({**rows[0], "problem_id": "bad", "solution": None})
    failed = json.dumps({**rows[0], "problem_id": "failed"})
    longer.write_text(f"{table.read_text()}{failed}\n{unusable}\n")
    more = export_build(mixed / "build", "lmms-eval", tmp_path / "more", data_root=root, table=longer)
    assert (more.rows, more.left_out) == (14, 2)
    other = tmp_path / "other.jsonl"
    other.write_text("".join(json.dumps({**row, "problem": f"{row['problem']} Why?"}) + "\n" for row in rows))
    with pytest.raises(UsageError, match=r"other\.jsonl: the row of sample .* asks .* Why\?"):
        export_build(mixed / "build", "lmms-eval", tmp_path / "new", data_root=root, table=other)
    short = tmp_path / "short.jsonl"
    short.write_text("".join(json.dumps(row) + "\n" for row in rows[:2]))
    with pytest.raises(UsageError, match=r"short\.jsonl has no row of sample 'count'"):
        export_build(mixed / "build", "lmms-eval", tmp_path / "new", data_root=root, table=short)
    with pytest.raises(UsageError, match="--table changes nothing in the layout trl"):
        export_build(mixed / "build", "trl", tmp_path / "new", table=table)


@pytest.mark.parametrize(
    ("variants", "first"), [(("all",), "0"), (("1",), "1"), (("uniform", "0"), "uniform")]
)
def test_the_command_names_key_frames_that_are_there(
    mixed: Path, tmp_path: Path, variants: tuple[str, ...], first: str
) -> None:
    options = ExportOptions(variants=variants)
    out = tmp_path / "out"
    usage = export_build(mixed / "build", "lmms-eval", out, options=options, data_root=mixed / "world").usage
    assert f'{{"test": "{out}/keyframes-{first}.json"}}' in usage
    assert (out / f"keyframes-{first}.json").exists()


def test_key_frames_need_the_videos_of_the_build(mixed: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(UsageError, match="name the folder of the videos with --data-root"):
        export_build(mixed / "build", "lmms-eval", out)
    with pytest.raises(UsageError, match=r"videos/world3-0000\.mp4'.* no such file"):
        export_build(mixed / "build", "lmms-eval", out, data_root=tmp_path)
    other = tmp_path / "root" / "videos" / "world3-0000.mp4"
    other.parent.mkdir(parents=True)
    with av.open(str(mixed / "world" / "videos" / other.name)) as source, av.open(str(other), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in list(source.demux(video=0))[:-9]:
            packet.stream = stream
            target.mux(packet)
    presented.cache_clear()
    with pytest.raises(UsageError, match=r"world3-0000\.mp4 is not the video of the build"):
        export_build(mixed / "build", "lmms-eval", out, data_root=tmp_path / "root")
    assert not list(tmp_path.glob("*out*"))


def test_time_stamps_stand_before_the_frames(mixed: Path, tmp_path: Path) -> None:
    options = ExportOptions(variants=("0",), time_stamps=True, instruction="Answer by a letter.")
    for layout in ("verl", "trl"):
        export_build(mixed / "build", layout, tmp_path / layout, options=options)
    text = [row["prompt"][0]["content"] for row in parquet_rows(tmp_path / "verl")]
    parts = [row["prompt"][0]["content"] for row in parquet_rows(tmp_path / "trl")]
    times = open_build(mixed / "build")["count"].times[0]
    stamps = [f"<{seconds:.1f} seconds>" for seconds in times]
    question = "What is it?\nAnswer by a letter."
    assert text[2] == "".join(f"{stamp}<image>" for stamp in stamps) + f"\n{question}"
    assert [part["text"] for part in parts[2] if part["type"] == "text"] == [*stamps, question]
    assert [part["type"] for part in parts[2]] == ["text", "image"] * 4 + ["text"]
    # An image has no time.
    assert text[5] == f"<image>\n{question}"
    assert [part["type"] for part in parts[5]] == ["image", "text"]


@pytest.mark.parametrize(
    ("variants", "names"),
    [
        (("all",), ["0", "1"]),
        (("1",), ["1"]),
        (("uniform", "0"), ["uniform", "0"]),
        (("all", "uniform"), ["0", "1", "uniform"]),
    ],
)
def test_the_variants_that_are_asked_for(tmp_path: Path, variants: tuple[str, ...], names: list[str]) -> None:
    write_build(tmp_path / "build", [a_sample("1"), a_sample("2")])
    shards = ShardSet.open(tmp_path / "build")
    rows = list(export_rows(shards, ExportOptions(variants=variants)))
    assert [(row.question.sample_id, row.variant) for row in rows] == [(i, n) for i in "12" for n in names]
    sample = shards.read(1)
    for row in rows[len(names) :]:
        indices = sample.uniform if row.variant == "uniform" else sample.variants[int(row.variant)]
        np.testing.assert_array_equal(row.indices, indices)
        np.testing.assert_array_equal(row.scores, sample.scores[indices])


@pytest.mark.parametrize("variants", ["first", "all,1", "-1", "", "0,0", "00", "9999999"])
def test_variants_that_mean_nothing(variants: str) -> None:
    with pytest.raises(SettingsError, match=f"--variants: got '{variants}', expected"):
        ExportOptions(variants=tuple(variants.split(",")))


def test_what_cannot_be_exported_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    sample = a_sample("1")
    asked = a_question("2", question="Is <image> shown?")
    broken = replace(sample, meta=replace(sample.meta, question=asked))
    build = write_build(tmp_path / "build", [sample, broken])
    out = tmp_path / "out"
    with pytest.raises(UsageError, match="question '2' holds <image>"):
        export_build(build, "verl", out)
    with pytest.raises(UsageError, match="got 2, but sample '1' has the variants 0 to 1"):
        export_build(build, "trl", out, options=ExportOptions(variants=("2",)))
    with pytest.raises(SettingsError, match="unknown layout 'tlr', did you mean 'trl'"):
        export_build(build, "tlr", out)
    with pytest.raises(UsageError, match="--instruction changes nothing in the layout lmms-eval"):
        export_build(build, "lmms-eval", out, options=ExportOptions(instruction="Think."), data_root=out)
    tar = build / "shard-000000.tar"
    content = bytearray(tar.read_bytes())
    content[len(content) // 2] ^= 1
    tar.write_bytes(content)
    with pytest.raises(DamagedError, match="the shard is damaged"):
        export_build(build, "trl", out)
    assert not list(tmp_path.glob("*out*"))


def test_an_output_that_exists_is_left_alone(tmp_path: Path) -> None:
    build, out = write_build(tmp_path / "build", [a_sample()]), tmp_path / "out"
    (tmp_path / ".out.partial").mkdir()
    (tmp_path / ".out.partial" / "left.parquet").touch()
    export_build(build, "trl", out)
    assert sorted(path.name for path in out.iterdir()) == ["README.md", "data", "export.json"]
    assert not (tmp_path / ".out.partial").exists()
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    with pytest.raises(UsageError, match="exists and is not an empty folder"):
        export_build(build, "messages", out)
    assert before == {path: path.stat().st_mtime_ns for path in out.rglob("*")}


@pytest.mark.parametrize("where", ["build/out", "build"])
def test_a_build_is_left_as_it_is(tmp_path: Path, where: str) -> None:
    """Else `verify` finds in it what is no part of a build."""
    build = write_build(tmp_path / "build", [a_sample()])
    before = sorted(build.rglob("*"))
    with pytest.raises(UsageError, match="inside the build"):
        export_build(build, "trl", tmp_path / where)
    assert sorted(build.rglob("*")) == before


def test_the_source_is_recorded(tmp_path: Path) -> None:
    build, out = write_build(tmp_path / "build", [a_sample()]), tmp_path / "out"
    summary = export_build(build, "messages", out, options=ExportOptions(variants=("0", "uniform")))
    assert (summary.rows, summary.samples, summary.frames) == (2, 1, 8)
    record = json.loads((out / "export.json").read_text())
    run = json.loads((build / "run.json").read_text())
    assert record["build_run_sha256"] == run["sha256"]
    assert record["options"]["variants"] == ["0", "uniform"]
    assert record["counts"] == {"samples": 1, "rows": 2, "frames": 8}
    assert f"--dataset {out}/train.jsonl" in (out / "README.md").read_text()


def test_rows_go_into_several_files_and_samples_are_read_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = write_build(tmp_path / "build", [a_sample(str(i)) for i in range(5)], a_shard=2)
    jpegs = open_build(build)[0].jpegs[0]
    monkeypatch.setattr(parquet, "PART_BYTES", 3 * sum(map(len, jpegs)))
    steps = list[tuple[int, int, int]]()
    export_build(build, "datasets", tmp_path / "out", observe=lambda *step: steps.append(step))
    names = sorted(path.name for path in (tmp_path / "out" / "data").iterdir())
    assert names == [f"train-{number:05d}-of-{len(names):05d}.parquet" for number in range(len(names))]
    assert len(names) > 2
    assert read_datasets(tmp_path / "out") == expected(build)
    assert [done for done, _, _ in steps] == [0, 1, 1, 2, 3]
    assert {total for _, total, _ in steps} == {3}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_has_a_reader_and_a_way_to_use_it(mixed: Path, tmp_path: Path, layout: str) -> None:
    assert layout in {*READERS, "lmms-eval"}
    out = tmp_path / "my export"
    root = mixed / "world" if layout == "lmms-eval" else None
    summary = export_build(mixed / "build", layout, out, data_root=root)
    page = (out / "README.md").read_text()
    assert summary.usage in page
    assert summary.note in page
    assert "https://" in page
    assert "…" not in summary.usage
    named = re.findall(rf"{tmp_path}/my export[\w/.-]*", summary.usage.replace("'", ""))
    assert named
    assert all(Path(path).exists() for path in named)
    if "load_dataset" not in summary.usage:
        assert not any("my export" in word and " " not in word for word in shlex.split(summary.usage))
