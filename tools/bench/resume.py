"""How long `strive-data build` takes to see that a finished build has nothing left to do.

    python -m tools.bench.resume --work bench/resume --samples 100000

Simulated: annotation, manifests and tables are of that many samples and written by the package's own
functions, but the tars are empty and the tables hold one sample a shard (resuming reads neither).
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
import typer

from strive_data import SCHEMA_VERSION
from strive_data.annotations.read import read_annotations
from strive_data.common.files import write_json
from strive_data.common.settings import fingerprint
from strive_data.config import BuildSettings
from strive_data.schema import Question, Sample, SampleMeta, VideoInfo, question_hash
from strive_data.shards.build_state import BuildState, start_build
from strive_data.shards.format import END_OF_ARCHIVE
from strive_data.shards.manifest import Entry, Manifest, as_body, manifest_name, shard_name
from strive_data.shards.writer import failures_table, finalize, write_parts
from tools.bench.measure import Cost, cost_line, ratio_line, run_measured

QUESTIONS_PER_VIDEO = 4
TO_SECONDS = 6.0


def main(work: Path = Path("bench/resume"), samples: int = 100_000) -> None:
    """Time the start of a finished build in WORK, a scratch folder that is emptied first."""
    shutil.rmtree(work, ignore_errors=True)
    annotation = write_annotation(work / "data", samples)
    write_finished_build(annotation, work / "build")
    print(f"{samples} samples")
    cost = start_again(annotation, work / "build", log=work / "log.txt")
    print(cost_line("started again", cost))
    for what, seconds in (("wall", cost.wall_seconds), ("CPU", cost.cpu_seconds)):
        print(ratio_line(f"  seconds, {what}", seconds, target=TO_SECONDS, at_most=True))


def write_annotation(root: Path, samples: int) -> Path:
    """An annotation of so many questions, four on each of as many (one-byte) videos as that takes."""
    (root / "videos").mkdir(parents=True)
    rows = []
    for number in range(samples):
        video = f"videos/{number // QUESTIONS_PER_VIDEO:07d}.mp4"
        if number % QUESTIONS_PER_VIDEO == 0:
            (root / video).write_bytes(b"v")
        text = f"What is seen at the moment {number}?"
        row = {"problem_id": number, "problem": text, "options": ["A. yes", "B. no"], "solution": "A"}
        rows.append(row | {"path": video, "problem_type": "multiple choice", "data_type": "video"})
    annotation = root / "questions.jsonl"
    annotation.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return annotation


def write_finished_build(annotation: Path, out: Path) -> None:
    """What a build of all rows by the default settings leaves, but for its tars and most table rows."""
    settings = BuildSettings()
    out.mkdir(parents=True)
    rows = read_annotations([annotation], annotation.parent)
    start_build(out, settings, BuildState(), 0)
    manifests = list(_shards([question for _, question in rows.questions], out, settings))
    finalize(
        out,
        settings,
        BuildState().at_end(manifests, (), 0),
        failures_table([]),
        inputs=rows.input_sha256,
        recipes={path: reading.recipe for path, reading in rows.readings.items()},
        seconds=1.0,
        stage_seconds={},
    )


def start_again(annotation: Path, out: Path, *, log: Path) -> Cost:
    """The same command once more, from the start of its process to the end."""
    command = [sys.executable, "-c", "from strive_data.cli import main; main()", "build", str(annotation)]
    return run_measured([*command, "--data-root", str(annotation.parent), "--out", str(out)], log=log)


def _shards(questions: Sequence[Question], out: Path, settings: BuildSettings) -> Iterator[Manifest]:
    most = settings.shard.max_samples
    for number, start in enumerate(range(0, len(questions), most)):
        of = questions[start : start + most]
        name = shard_name(number)
        (out / name).write_bytes(END_OF_ARCHIVE)
        parts = write_parts(out, name, [_sample(of[0])])
        digest = sha256(END_OF_ARCHIVE).hexdigest()
        manifest = Manifest(
            schema_version=SCHEMA_VERSION,
            shard=name,
            settings=fingerprint(settings),
            size_bytes=len(END_OF_ARCHIVE),
            sha256=digest,
            parts=parts,
            samples=tuple(
                Entry(
                    sample_id=question.sample_id,
                    offset=place << 20,
                    length=1 << 20,
                    sha256=digest,
                    question=question_hash(question),
                )
                for place, question in enumerate(of)
            ),
        )
        write_json(out / manifest_name(name), as_body(manifest))
        yield manifest


def _sample(question: Question) -> Sample:
    info = VideoInfo(
        video_id="v", duration_seconds=4.0, width=56, height=28, reader="pyav", reader_version="18"
    )
    pair = np.array([0, 1], np.int32)
    return Sample(
        meta=SampleMeta(question=question, info=info),
        scores=np.array([0.1, 0.2], np.float32),
        times=np.array([1.0, 3.0]),
        variants=pair[None],
        uniform=pair,
        stored=pair,
        jpegs=(b"", b""),
    )


if __name__ == "__main__":
    typer.run(main)
