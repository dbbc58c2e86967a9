"""What is exported: a row for each wanted variant of each sample, and the text of its prompt."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from strive_data.build.progress import Observe
from strive_data.config import ALL_VARIANTS, UNIFORM, ExportOptions
from strive_data.errors import UsageError
from strive_data.schema import Floats, Indices, Question, Sample, Times, VideoInfo
from strive_data.shards.reader import ShardSet

IMAGE = "<image>"
"""The place of an image in a prompt, for the tools whose prompts are one text."""
PLACEHOLDERS = re.compile("<image>|<video>|<audio>")


@dataclass(frozen=True, kw_only=True, eq=False)
class ExportRow:
    """One variant of a sample: `number` counts rows from 0, `variant` is its number or "uniform".

    indices int32 [K] (candidates), times float64 [K] seconds, scores float32 [K], JPEGs as they are stored.
    """

    number: int
    variant: str
    question: Question
    info: VideoInfo
    key: str
    indices: Indices
    times: Times
    scores: Floats
    jpegs: tuple[bytes, ...]

    @property
    def frame_names(self) -> list[str]:
        """A name for the file of each frame, the same in every variant that has it."""
        return [f"{self.key}/{candidate:06d}.jpg" for candidate in self.indices.tolist()]


def export_rows(
    shards: ShardSet, options: ExportOptions, observe: Observe | None = None
) -> Iterator[ExportRow]:
    """The rows in the order of the build; each sample is read once.

    Raises UsageError for a variant that a sample does not have, DamagedError as `ShardSet.read`.
    """
    ends, number, size_bytes = _shard_ends(shards), 0, 0
    for position in range(len(shards)):
        sample = shards.read(position)
        for variant, indices in chosen_variants(sample, options.variants):
            yield _row(sample, number, variant, indices)
            number += 1
        size_bytes += sum(map(len, sample.jpegs))
        if observe:
            observe(sum(end <= position + 1 for end in ends), len(ends), size_bytes)


def chosen_variants(sample: Sample, wanted: tuple[str, ...]) -> Iterator[tuple[str, Indices]]:
    """(name, candidates int32 [K]) of the wanted variants of a sample, as they are named."""
    count = len(sample.variants)
    for name in wanted:
        if name == UNIFORM:
            yield name, sample.uniform
        elif name == ALL_VARIANTS:
            yield from ((str(number), sample.variants[number]) for number in range(count))
        elif int(name) < count:
            yield name, sample.variants[int(name)]
        else:
            raise UsageError(
                f"--variants: got {name}, but sample {sample.meta.question.sample_id!r} has the variants "
                f"0 to {count - 1}"
            )


def prompt_text(row: ExportRow, options: ExportOptions) -> str:
    """A prompt that is one text: a placeholder a frame, then question, options, instruction, a line each.

    Raises UsageError for a question that holds a placeholder itself: the tool would read it as one more.
    """
    text = question_text(row.question, options)
    found = PLACEHOLDERS.search(text)
    if found:
        raise UsageError(
            f"question {row.question.sample_id!r} holds {found[0]}, which the tool would read as one of its "
            "inputs; remove it from the table (a recipe does: rules.strip), build, and export again"
        )
    stamps = time_stamps(row) if options.time_stamps else [""] * len(row.jpegs)
    return "".join(stamp + IMAGE for stamp in stamps) + "\n" + text


def question_text(question: Question, options: ExportOptions) -> str:
    """Question, options and instruction, a line each."""
    lines = [question.question.strip(), *question.options, options.instruction]
    return "\n".join(line for line in lines if line)


def time_stamps(row: ExportRow) -> list[str]:
    """`<3.5 seconds>` for each frame, as Qwen3-VL writes times in its prompts; nothing for an image."""
    if row.info.is_image:
        return [""] * len(row.times)
    return [f"<{seconds:.1f} seconds>" for seconds in row.times.tolist()]


def _row(sample: Sample, number: int, variant: str, indices: Indices) -> ExportRow:
    return ExportRow(
        number=number,
        variant=variant,
        question=sample.meta.question,
        info=sample.meta.info,
        key=sample.key,
        indices=indices,
        times=sample.times[indices],
        scores=sample.scores[indices],
        jpegs=tuple(sample.jpegs_of(indices)),
    )


def _shard_ends(shards: ShardSet) -> list[int]:
    """The number of samples up to the end of each shard."""
    ends = [0]
    for count in shards.blocks:
        ends.append(ends[-1] + count)
    return ends[1:]
