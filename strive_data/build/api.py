"""Frames from Python, for notebooks and other trainers: `select_frames`, `open_build`.

    import strive_data

    chosen = strive_data.select_frames("clip.mp4", "Which sign is on the roof?", frames=16, scorer="clip")
    chosen.times[0], chosen.images[0]                # the first variant: seconds, PIL images

    build = strive_data.open_build("shards")         # a folder or URL that `strive-data build` wrote
    build[0].question.answer, build[0].images[1]     # samples: by number, by id, or in a loop
    build.table("frames").filter("uniform")          # samples, frames, failures, index: polars LazyFrames

These names, their arguments and the fields of their results are stable. `select_frames` runs the engine of a
build, so it gives the frames that a build gives.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import polars as pl

from strive_data.annotations.choices import with_letters
from strive_data.common.files import near_path
from strive_data.common.settings import choose, load
from strive_data.common.storage import place_of
from strive_data.common.text import plural, short_repr
from strive_data.config import BuildSettings, ScoreSettings
from strive_data.engines.engine import Engine, VideoJob, make_engine
from strive_data.errors import FailureKind, SampleError, UsageError
from strive_data.inspect.tables import scan
from strive_data.schema import Floats, Indices, Question, Sample, Times
from strive_data.shards.format import decode_jpeg
from strive_data.shards.reader import ShardSet

if TYPE_CHECKING:
    from PIL.Image import Image


TableName = Literal["samples", "frames", "failures", "index"]


@dataclass(frozen=True, eq=False, repr=False)
class SelectedFrames:
    """The frames of each variant of one question. Shapes: N candidate frames, M variants of K frames.

    `sample` holds everything: the candidates' `times` [N] and `scores` [N], the uniform control, and
    what is known of video, scorer and sampler (`sample.meta`).
    """

    sample: Sample

    def __repr__(self) -> str:
        variants, frames = self.indices.shape
        asked = self.question
        return (
            f"<SelectedFrames {asked.sample_id!r}: {variants} variants of {frames} frames, {asked.video}, "
            f"{short_repr(asked.question)}>"
        )

    @property
    def question(self) -> Question:
        """The question, with its options and, in a build, its answer."""
        return self.sample.meta.question

    @property
    def indices(self) -> Indices:
        """Candidate numbers int32 [M, K], increasing in a variant."""
        return self.sample.variants

    @property
    def times(self) -> Times:
        """True presentation times float64 [M, K] in seconds from the first frame of the video."""
        return self.sample.times[self.sample.variants]

    @property
    def scores(self) -> Floats:
        """Scores float32 [M, K] on the scorer's own scale; higher is more relevant."""
        return self.sample.scores[self.sample.variants]

    @property
    def jpegs(self) -> list[list[bytes]]:
        """The frames as a build stores them: M lists of K JPEGs."""
        return [self.sample.jpegs_of(row) for row in self.sample.variants]

    @property
    def images(self) -> list[list[Image]]:
        """The frames as RGB images of PIL, M lists of K. Decoded at each call: keep the result."""
        from PIL import Image

        return [[Image.fromarray(decode_jpeg(jpeg)) for jpeg in row] for row in self.jpegs]


def select_frames(
    video: str | Path,
    question: str | Question,
    frames: int | None = None,
    variants: int | None = None,
    scorer: str | ScoreSettings | None = None,
    *,
    options: Sequence[str] = (),
    candidates: int | None = None,
    sample_id: str = "0",
    settings: BuildSettings | None = None,
) -> SelectedFrames:
    """The frames of a video that matter for a question, in several variants, as a build picks them.

    `video` is a file, a folder of pictures with times, or a URL; `question` a text with its `options`, or a
    `Question` of an annotation. `frames` (default 32, even), `variants` (2), `scorer` (clip; a name of
    `strive-data build --scorer`, or ScoreSettings) and `candidates` (128, the frames that are scored) go over
    `settings`, the settings of a build. The offset of a variant is keyed by the sample id: with that of a
    build's row, and its settings, these are the frames of the build.

    The video is decoded in a worker process: a script needs `if __name__ == "__main__":`. The scorer of the
    last two settings is kept in memory. For many questions of a video a build is cheaper: it decodes once.

    Raises SampleError (`kind` says why) for a video or question that cannot be used, SettingsError and
    UsageError as the build.
    """
    base = settings or BuildSettings()
    if isinstance(scorer, str):
        scorer = load(ScoreSettings, options={"scorer": scorer})
    resolved = replace(
        base,
        decode=_with(base.decode, candidates=candidates),
        sampler=_with(base.sampler, frames=frames, variants=variants),
        score=scorer or base.score,
    )
    asked = _question(question, str(video), options, sample_id)
    job = VideoJob(name=str(video), path=place_of(video), rows=((0, asked),))
    if isinstance(job.path, Path):
        try:
            job.path.stat()  # before a model is loaded
        except OSError as error:
            message = f"{job.path}: {error.strerror}{near_path(job.path)}"
            raise SampleError(FailureKind.MISSING, message) from error
    (result,) = _engine(resolved).run([job])
    (sample,) = result.results
    if not isinstance(sample, Sample):
        raise SampleError(sample.kind, sample.message)
    return SelectedFrames(sample)


class StoredBuild(Sequence[SelectedFrames]):
    """A finished build. A sample is read when it is asked for, its bytes checked; order of the build."""

    def __init__(self, shards: ShardSet) -> None:
        self.shards = shards
        self._places = {sample_id: place for place, sample_id in enumerate(shards.sample_ids)}

    def __repr__(self) -> str:
        return f"<StoredBuild of {plural(len(self), 'sample')} in {self.shards.folder}>"

    def __len__(self) -> int:
        return len(self.shards)

    def __iter__(self) -> Iterator[SelectedFrames]:
        return (SelectedFrames(self.shards.read(place)) for place in range(len(self)))

    def __getitem__(self, which: int | str | slice) -> Any:
        """A sample by its number or id; a list for a slice. Raises IndexError, and SettingsError with the
        nearest id for an unknown one; DamagedError as `ShardSet.read`."""
        if isinstance(which, slice):
            return [self[place] for place in range(*which.indices(len(self)))]
        if isinstance(which, str):
            return self[self._places[choose(which, self._places, "sample")]]
        if not -len(self) <= which < len(self):
            raise IndexError(f"sample {which} of {len(self)}")
        return SelectedFrames(self.shards.read(which % len(self)))

    def __contains__(self, which: object) -> bool:
        """Whether the build has a sample of this id."""
        return which in self._places

    @property
    def settings(self) -> dict[str, Any]:
        """The resolved settings of the build."""
        return self.shards.settings

    def table(self, name: TableName) -> pl.LazyFrame:
        """A table of the build: samples, frames (a row a candidate), failures or index.

        A local table is scanned, one at a URL is read whole. Raises SettingsError for another name,
        DamagedError for a table that has changed.
        """
        return scan(self.shards.folder, name)


def open_build(where: str | Path, *, cache: Path | None = None) -> StoredBuild:
    """A finished build in a folder or at a URL; `cache` is a local folder that keeps the shards of a URL.

    Raises UsageError if there is none, DamagedError if its index has changed.
    """
    return StoredBuild(ShardSet.open(where, cache))


@lru_cache(maxsize=2)
def _engine(settings: BuildSettings) -> Engine:
    """The local engine, and with it the loaded scorer."""
    try:
        return make_engine("local", settings, workers=1)
    except UsageError as error:
        if "--" not in str(error):
            raise
        python = "in Python, scorer= is for --scorer and settings=BuildSettings(...) for --set"
        raise type(error)(f"{error}; {python}") from error


def _with(settings: Any, **given: int | None) -> Any:
    return replace(settings, **{name: value for name, value in given.items() if value is not None})


def _question(question: str | Question, video: str, options: Sequence[str], sample_id: str) -> Question:
    if isinstance(question, Question):
        return question
    if not isinstance(question, str) or not question.strip():
        raise SampleError(FailureKind.BAD_ROW, f"question: got {question!r}, expected a text")
    if isinstance(options, str) or not all(isinstance(option, str) for option in options):
        raise SampleError(FailureKind.BAD_ROW, f"options: got {options!r}, expected a list of texts")
    return Question(
        sample_id=str(sample_id),
        video=video,
        question=question,
        answer="",
        problem_type="multiple choice" if options else "free-form",
        options=with_letters(options, "options"),
    )
