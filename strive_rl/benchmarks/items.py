"""What readers, rules and aggregation exchange: items, verdicts, conventions, scored questions; at the end
annotation files → items.

A **convention** is one way to score an output. Two of them are kept apart everywhere: `official` is what the
authors' published code computes, quirks included, and is comparable with published numbers; `robust` is this
project's reading of what the answer says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from strive_data.annotations.nested_rows import rows_of
from strive_data.annotations.read import NO_COLUMNS, Reading, annotations_of
from strive_data.annotations.recipes import FIRST, find_recipe
from strive_data.annotations.rows import ROWS_FOR_COLUMNS, RowFile, columns_of, read_rows
from strive_data.common.files import near_path
from strive_data.errors import UsageError
from strive_data.schema import Question

OFFICIAL, ROBUST = "official", "robust"
Row = Mapping[str, Any]
Tags = Mapping[str, str]
PRODUCT = " × "  # the breakdown "task × dimension" combines two tags
LIST = " | "  # the value "motion | object" counts under each of its parts
Status = Literal["scored", "judged", "awaiting judge", "missing", "unusable"]


@dataclass(frozen=True, kw_only=True)
class Item:
    """One question of a benchmark. `tags` are what results are broken down by ({"duration": "short"}).

    `judge_question` and `judge_reference` replace question and answer where a judge is asked something else
    than the model.
    """

    question: Question
    tags: Tags = field(default_factory=dict)
    judge_question: str = ""
    judge_reference: str = ""


@dataclass(frozen=True, kw_only=True)
class Unusable:
    """A row of the annotation that is not a question, and the reason."""

    sample_id: str
    video: str
    message: str
    tags: Tags = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a convention says of one output: `value` in [0, 1], or None where a judge must decide.

    `extracted` is what was read as the answer, None where nothing could be read. With `left_out` the output
    does not count in the convention's mean.
    """

    value: float | None
    extracted: str | None
    left_out: bool = False


@dataclass(frozen=True, kw_only=True)
class Convention:
    """One way to score an output, and to average.

    `score` returns None for questions that the convention does not cover. `strata` gives (task, part) of an
    item for a macro mean: over tasks, of each the mean over its parts; without it the mean is over questions.
    `judge_overrides`: a judgement replaces the rule's value; else it only fills an undecided one. Questions
    for which `judge_only` holds have no rule; they stay out of the mean until they are judged.
    """

    name: str
    score: Callable[[str, Item], Verdict | None]
    strata: Callable[[Tags], tuple[str, str]] | None = None
    note: str = ""
    judge_overrides: bool = False
    judge_only: Callable[[Tags], bool] = lambda tags: False


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """A benchmark. Its first convention is the one that results lead with.

    `published` is the number of its questions, 0 if that is not fixed. `files` are the names of its
    annotation files, each a choice of patterns below the data root. `recipe` reads them where their columns
    alone do not tell whose they are. `tags` reads them from a row of such a
    file or of one in Video-R1's layout. `breakdowns` are those that tables show, in order; a tag "a × b"
    combines a and b. `order` lists tag values that have an order of their own. `judge_task` is the
    instruction to a judge. `finish` adds to items what only all of them together determine. `form` is the
    line of a prompt that asks for the answer in the form that the rules read, "" for the form of the
    question's type. `voted` gives what an output says in a vote, "" where that is nothing; None is its final
    text. `knowledge` is the (tag, value) of the questions for which a comparison reports the knowledge gain.
    """

    name: str
    title: str
    published: int
    files: tuple[tuple[str, ...], ...] = ()
    recipe: str = ""
    tags: Callable[[Row, Path], dict[str, str]]
    breakdowns: tuple[str, ...]
    conventions: tuple[Convention, ...]
    notes: tuple[str, ...] = ()
    order: tuple[str, ...] = ()
    judge_task: str = ""
    finish: Callable[[Sequence[Item]], Sequence[Item]] | None = None
    form: Callable[[Item], str] = lambda item: ""
    voted: Callable[[str, Item], str] | None = None
    knowledge: tuple[str, str] | None = None


@dataclass(frozen=True, kw_only=True)
class Scored:
    """One question with its output (None: missing) and what each convention says of it.

    `values` and `extracted` are by convention: only conventions that cover the question, and that do not
    leave the output out (`left_out`). A value is None while it awaits a judge; `by_judge` names the
    conventions in which a judge decides. `frames` is what the prediction says of its frames (sampler, times
    in seconds). `outputs` are all answers where several were sampled: `output` and `extracted` are the
    first's, values means.
    """

    sample_id: str
    video: str
    status: Status
    question: str = ""
    options: tuple[str, ...] = ()
    reference: str = ""
    tags: Tags = field(default_factory=dict)
    output: str | None = None
    extracted: Mapping[str, str | None] = field(default_factory=dict)
    values: Mapping[str, float | None] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    by_judge: tuple[str, ...] = ()
    frames: Mapping[str, Any] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()


def values_of(tags: Tags, name: str) -> tuple[str, ...]:
    """The values of a tag: several where it is a list, none where it is absent."""
    return tuple(tags[name].split(LIST)) if name in tags else ()


def text_of(row: Row, *names: str) -> str:
    """The first of the named fields that is a text or a whole number, or ""; dots lead into objects."""
    for name in names:
        value: Any = row
        for part in name.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        if isinstance(value, str) and value:
            return value
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
    return ""


def listed_text(row: Row, name: str) -> str:
    """The texts of a field that is a list, as one value of a tag; else as `text_of`."""
    value = row.get(name)
    listed = [text for text in value if isinstance(text, str)] if isinstance(value, list) else []
    return LIST.join(listed) or text_of(row, name)


def tags_from(fields: Mapping[str, Sequence[str]]) -> Callable[[Row, Path], dict[str, str]]:
    """A benchmark's `tags` where each is the first of some named fields, as `text_of`."""
    return lambda row, path: {tag: text_of(row, *names) for tag, names in fields.items()}


def find_annotations(benchmark: Benchmark, data_root: Path) -> tuple[Path, ...]:
    """The benchmark's files below a data root, as they were published: of each the first pattern that some
    file fits, in alphabetical order.

    Raises UsageError where there is none, or no such folder. One of several that is absent is not missed
    here: results say how many questions were published.
    """
    if not data_root.is_dir():
        raise UsageError(f"--data-root {data_root}: no such folder{near_path(data_root)}")
    found = [path for patterns in benchmark.files for path in _first(patterns, data_root)]
    if not benchmark.files:
        raise UsageError(f"--benchmark {benchmark.name}: give --annotations, your table of questions")
    if not found:
        wanted = ", ".join(" or ".join(patterns) for patterns in benchmark.files)
        raise UsageError(
            f"no annotation of {benchmark.title}: none of {wanted} in {data_root}; name its files by "
            "--annotations"
        )
    return tuple(found)


def _first(patterns: tuple[str, ...], folder: Path) -> list[Path]:
    matches = (sorted(path for path in folder.glob(pattern) if path.is_file()) for pattern in patterns)
    return next((found for found in matches if found), [])


@dataclass(frozen=True, kw_only=True)
class ItemSet:
    """The questions of annotation files in their order, the rows that are none, and how each was read."""

    items: tuple[Item, ...]
    unusable: tuple[Unusable, ...] = ()
    input_sha256: Mapping[str, str]
    readings: Mapping[str, Reading] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Number of rows, usable or not."""
        return len(self.items) + len(self.unusable)


def read_items(
    paths: Sequence[Path],
    benchmark: Benchmark,
    recipe: str | None = None,
    data_root: Path = Path(),
    columns: Mapping[str, str] = NO_COLUMNS,
) -> ItemSet:
    """All questions of the files; videos are not looked for, but absolute paths lie below `data_root`.

    `columns` names those of a table of the user's own by field. Raises UsageError as `read_annotations` does,
    and for columns of another benchmark.
    """
    if columns and benchmark.files:
        raise UsageError(
            f"--columns names those of your own table: for --benchmark own, not {benchmark.name}"
        )
    files = [read_rows(path) for path in paths]
    recipe = recipe or _recipe_of(benchmark, files)
    annotations = annotations_of(files, data_root, recipe=recipe, columns=columns, check_files=False)
    tags = [  # Of all rows, counted as `read_annotations` counts them.
        tags_of(benchmark, _with_fields(row.value, columns), file.path)
        for file in files
        for row in rows_of(file, find_recipe(annotations.readings[file.path.as_posix()].recipe))
    ]
    items = [Item(question=question, tags=tags[row]) for row, question in annotations.questions]
    unusable = tuple(
        Unusable(
            sample_id=f"{failure.sample_id}#row{failure.row}",
            video=failure.video,
            message=failure.message,
            tags=tags[failure.row],
        )
        for failure in annotations.failures
    )
    finished = benchmark.finish(items) if benchmark.finish else items
    return ItemSet(
        items=tuple(finished),
        unusable=unusable,
        input_sha256=annotations.input_sha256,
        readings=annotations.readings,
    )


def _recipe_of(benchmark: Benchmark, files: Sequence[RowFile]) -> str | None:
    """The benchmark's recipe, unless the files are in Video-R1's layout; None: each file's columns choose."""
    columns = {*find_recipe(FIRST).columns}
    if not benchmark.recipe or any(columns <= columns_of(file.items, ROWS_FOR_COLUMNS) for file in files):
        return None
    return benchmark.recipe


def _with_fields(row: object, columns: Mapping[str, str]) -> object:
    """The row with its named columns under the names of their fields too."""
    if not isinstance(row, Mapping):
        return row
    return {**row, **{field: row[column] for field, column in columns.items() if column in row}}


def tags_of(benchmark: Benchmark, row: object, path: Path) -> dict[str, str]:
    """The benchmark's tags of one row that has any, and the products that it is broken down by."""
    tags = benchmark.tags(row, path) if isinstance(row, Mapping) else {}
    found = {name: value for name, value in tags.items() if value}
    for name in benchmark.breakdowns:
        parts = name.split(PRODUCT)
        if len(parts) > 1 and all(part in found for part in parts):
            found[name] = PRODUCT.join(found[part] for part in parts)
    return found
