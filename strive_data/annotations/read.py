"""Annotation files, at paths or URLs → questions and failed rows.

`rows` reads a file, a recipe (`recipes`, `apply_recipe`) says which field is what, `question` checks each
row. One wrong row costs no other. Rows stream: only the questions and the failures are kept.
"""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

from strive_data.annotations.apply_recipe import RecipeReader
from strive_data.annotations.choices import DOUBTS, doubt_of
from strive_data.annotations.choose_recipe import choose, printable
from strive_data.annotations.nested_rows import blocks_of, rows_of
from strive_data.annotations.new_table import DURATION
from strive_data.annotations.plain_rows import PlainReader
from strive_data.annotations.question import question_of, sample_id_of, video_of
from strive_data.annotations.recipes import (
    Recipe,
    names_read,
)
from strive_data.annotations.rows import (
    EXPECTED,
    Block,
    Item,
    Places,
    RowFile,
    read_rows,
)
from strive_data.annotations.videos import VideoFolder
from strive_data.common.files import near_path
from strive_data.common.storage import RemoteFolder, open_folder, place_of
from strive_data.common.text import plural, short_repr
from strive_data.errors import DamagedError, FailureKind, SampleError, UsageError
from strive_data.schema import FailedRow, Question

NO_COLUMNS: Mapping[str, str] = {}
MANY_OBJECTS = 100_000
SHOWN_COUNTS = 3


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How one file was read: the name of its recipe, the columns that this takes nothing from, and what the
    file did not say itself: columns found by common names, the separator, the encoding. `types` counts its
    questions by problem type, the most frequent first. `advice` is what the table may rather say."""

    recipe: str
    unread: tuple[str, ...]
    guesses: tuple[str, ...] = ()
    advice: tuple[str, ...] = ()
    types: Mapping[str, int] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, kw_only=True)
class Annotations:
    """What the annotation files hold.

    Rows are counted from 0 over all files in the order given, blank lines aside. `questions` are
    (row, question); every other row is in `failures`. `input_sha256` has the hash of each file by its path (a
    recipe file is among them), `readings` how it was read, `places` where each row lies.
    """

    questions: tuple[tuple[int, Question], ...]
    failures: tuple[FailedRow, ...]
    input_sha256: dict[str, str]
    readings: dict[str, Reading] = field(default_factory=dict)
    places: Places = field(default_factory=Places, compare=False)


class _Reader:
    """Reads the rows of one file into `questions` and `failures`; `seen` are their columns. `used`, the row
    of each id, and `places` hold those of earlier files."""

    def __init__(self, recipe: Recipe, videos: VideoFolder, used: dict[str, int], places: Places) -> None:
        self._videos, self._used, self._places = videos, used, places
        self._rows = RecipeReader(recipe)
        self._plain = PlainReader(self._rows, videos)
        self._first = len(places)
        self._turns, self._doubts = 0, dict[str, list[str]]()
        self.seen, self.types = self._plain.seen, Counter[str]()
        self.questions: list[tuple[int, Question]] = []
        self.failures: list[FailedRow] = []

    def read(self, first: int, block: Block) -> int:
        """Read the next rows, which count from `first`, and note their ids as used; the count behind them."""
        self._places.add(block)
        found = self._plain.questions(block)
        rows, before = [*range(first, first + len(found))], len(self.questions)
        made = [question for question in found if question]
        ids = [question.sample_id for question in made]
        if len(ids) == len(rows) and [*map(self._used.setdefault, ids, rows)] == rows:
            self.questions += zip(rows, made, strict=True)
        else:
            for row, plain in zip(rows, found, strict=True):
                item = block.item(row - first)
                try:
                    self.questions.append((row, self._question(row, item, plain)))
                    self._turns += bool(item.turn)
                except SampleError as error:
                    self.failures.append(self._failure(row, item, error))
        types = Counter([question.problem_type for _, question in self.questions[before:]])
        self.types += types
        for row, question in self.questions[before:] if {*types} - {"multiple choice"} else ():
            doubt = doubt_of(question.question, question.answer, question.problem_type)
            if doubt and self._rows.is_guess(block.item(row - first)):
                self._doubts.setdefault(doubt, []).append(question.answer)
        return first + len(rows)

    def guesses(self) -> set[str]:
        """How rows were read that do not say it themselves."""
        counts, found = self._rows.counts, self._rows.guesses | self._videos.guesses
        if counts:
            some = ", ".join([*counts][:SHOWN_COUNTS]) + " and others" * (len(counts) > SHOWN_COUNTS)
            found |= {f'{plural(counts.total(), "answer")} to "How many" read as numbers: {some}'}
        if lettered := self._rows.lettered:
            asked = plural(lettered, "question")
            found |= {f"{asked} with options in the text read as multiple choice"}
        if gaps := self._videos.gaps:
            some = "; ".join(f"{video}: {gap}" for video, gap in [*gaps.items()][:SHOWN_COUNTS])
            more = "; and others" * (len(gaps) > SHOWN_COUNTS)
            found |= {f"{plural(len(gaps), 'folder')} of pictures with gaps in their numbers ({some}{more})"}
        if self._turns:
            found |= {
                f"{plural(self._turns, 'question')} of conversations with several: each is a sample, without "
                "the messages before it"
            }
        return found

    def advice(self) -> tuple[str, ...]:
        """What the owner of the table may want to change."""
        said = []
        for doubt, (one, several, remedy) in DOUBTS.items():
            if answers := self._doubts.get(doubt):
                what = f"{len(answers)} {one if len(answers) == 1 else several}"
                shown = "" if doubt == "number" else f", as {short_repr(answers[0])}"
                said.append(f"{what}{shown}, {remedy.format(label=self._rows.labels['problem_type'])}")
        return tuple(said)

    def _question(self, row: int, item: Item, plain: Question | None) -> Question:
        """The item's question. Raises SampleError for a bad row."""
        if plain is not None:
            self._use(plain.sample_id, row)
            return plain
        item = item.exact()
        if isinstance(item.value, SampleError):
            raise item.value
        try:
            layout = self._rows.layout(item)
        except SampleError:
            self._use(sample_id_of(self._rows.identity(item)), row)
            raise
        self._use(sample_id_of(layout), row)
        return question_of(layout, self._videos, labels=self._rows.labels)

    def _failure(self, row: int, item: Item, error: SampleError) -> FailedRow:
        """The row of failures.parquet, with as much of the item as is known."""
        known = self._rows.identity(item.exact())
        return FailedRow(
            sample_id=sample_id_of(known),
            row=row,
            video=video_of(known),
            stage="annotation",
            kind=error.kind,
            message=f"{self._places.of(row)}: {error.message}",
        )

    def _use(self, sample_id: str, row: int) -> None:
        first = self._used.setdefault(sample_id, row)
        if first != row and sample_id:
            label, place = self._rows.labels["problem_id"], self._places.of(first)
            by_name = "{@file}" in self._rows.recipe.fields.id and first < self._first
            remedy = "; ids are made of the file's name: rename one file, or give its rows ids" * by_name
            what = f"{label} {sample_id} is used already, at {place}{remedy}"
            raise SampleError(FailureKind.DUPLICATE_ID, what)


def read_annotations(
    paths: Sequence[Path],
    data_root: Path | str,
    *,
    recipe: str | None = None,
    columns: Mapping[str, str] = NO_COLUMNS,
    check_files: bool = True,
) -> Annotations:
    """Read all rows of `paths`; videos are looked for below `data_root`, but not opened.

    `recipe` is a packaged recipe's name or a recipe file (*.toml), for all files; without it, each file's
    columns choose one. `columns` names the columns of a table of the user's own by field
    ({"video": "video_path"}). `check_files=False` reads annotations whose videos are elsewhere.

    Of rows with one id the first counts, usable or not; later ones fail as duplicate_id, across files too.
    Raises UsageError for a file that is absent, empty, or in no known layout as a whole.
    """
    files = [read_rows(path) for path in paths]
    return annotations_of(files, data_root, recipe=recipe, columns=columns, check_files=check_files)


def annotations_of(
    files: Sequence[RowFile],
    data_root: Path | str,
    *,
    recipe: str | None = None,
    columns: Mapping[str, str] = NO_COLUMNS,
    check_files: bool = True,
) -> Annotations:
    """`read_annotations` for files that are open already."""
    if not files:
        raise UsageError(f"no annotation given; {EXPECTED}")
    if recipe and columns:
        raise UsageError(f"--columns and --recipe {recipe} both name the columns: leave one of them out")
    chosen = [choose(file, recipe, columns) for file in files]
    questions: list[tuple[int, Question]] = []
    failures: list[FailedRow] = []
    readings: dict[str, Reading] = {}
    used: dict[str, int] = {}
    places = Places([file.path for file in files])
    videos = VideoFolder(data_root, check_files=check_files)
    row = 0
    for choice in chosen:
        file = choice.file
        reader = _Reader(choice.recipe, videos, used, places)
        with _collector_paused():
            for block in blocks_of(file, choice.recipe):
                row = reader.read(row, block)
        readings[file.path.as_posix()] = Reading(
            recipe=choice.name,
            unread=tuple(printable(reader.seen - names_read(choice.recipe) - {DURATION})),
            guesses=file.guesses + choice.guesses + tuple(sorted(reader.guesses())),
            advice=reader.advice(),
            types=dict(reader.types.most_common()),
        )
        questions += reader.questions
        failures += reader.failures
        videos.guesses.clear()
        videos.gaps.clear()
    return Annotations(
        questions=tuple(questions),
        failures=tuple(failures),
        input_sha256={file.path.as_posix(): file.sha256 for file in files} | _recipe_sha256(recipe),
        readings=readings,
        places=places,
    )


def rows_by_id(
    path: Path, *, recipe: str | None = None
) -> tuple[dict[str, tuple[Question, Mapping[str, object]]], int]:
    """The questions of one file and their rows as they are written, by the sample ids that a build gives
    them, and how many rows the file has, unusable ones among them.

    Raises UsageError as `read_annotations`.
    """
    file = read_rows(path)
    questions = dict(annotations_of([file], "", recipe=recipe, check_files=False).questions)
    choice = choose(file, recipe, NO_COLUMNS)
    found: dict[str, tuple[Question, Mapping[str, object]]] = {}
    row = -1
    for row, item in enumerate(rows_of(choice.file, choice.recipe)):
        if row in questions and isinstance(item.value, Mapping):
            found[questions[row].sample_id] = questions[row], item.value
    return found, row + 1


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Millions of lasting objects make each garbage collection longer, and none of them is garbage."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if gc.get_count()[0] > MANY_OBJECTS:
            gc.freeze()
        if enabled:
            gc.enable()


def _recipe_sha256(recipe: str | None) -> dict[str, str]:
    """Hash of a recipe file of the user's own; the package's version stands for those of the package."""
    if recipe is None or not recipe.endswith(".toml"):
        return {}
    return {recipe: sha256(Path(recipe).read_bytes()).hexdigest()}


# These cannot be listed, which shows that a folder exists; files of them can be read all the same.
UNLISTED = ("http://", "https://")


def video_root(data_root: Path | str) -> Path | str:
    """The root as a path or URL without a last slash. Raises UsageError where there is no such folder."""
    place = place_of(data_root)
    if isinstance(place, str) and place.lower().startswith("memory:"):
        raise UsageError(f"--data-root {place}: other processes read the videos, and cannot see this memory")
    known = isinstance(place, str) and place.lower().startswith(UNLISTED)
    if not known and not open_folder(place).exists():
        hint = near_path(place) if isinstance(place, Path) else ""
        raise UsageError(f"--data-root {data_root}: no such folder{hint}")
    return place.rstrip("/") if isinstance(place, str) else place


def read_inputs(
    annotations: Sequence[Path | str],
    root: Path | str,
    *,
    recipe: str | None = None,
    columns: Mapping[str, str] = NO_COLUMNS,
) -> Annotations:
    """`read_annotations` for paths and URLs.

    Videos behind a URL are not looked for before they are decoded; one that is absent fails then.
    """
    with TemporaryDirectory(prefix="strive-in-") as folder:
        places = [place_of(where) for where in annotations]
        copies = [_copy(place, Path(folder) / str(number)) for number, place in enumerate(places)]
        check_files = isinstance(root, Path)
        try:
            rows = read_annotations(copies, root, recipe=recipe, columns=columns, check_files=check_files)
        except UsageError as error:
            message = str(error)
            for copy, url in zip(copies, places, strict=True):
                message = message.replace(str(copy), str(url))
            raise UsageError(message) from error
    names = {copy.as_posix(): str(url) for copy, url in zip(copies, places, strict=True)}
    return replace(
        rows,
        input_sha256={names.get(name, name): digest for name, digest in rows.input_sha256.items()},
        readings={names.get(name, name): reading for name, reading in rows.readings.items()},
    )


def _copy(place: Path | str, folder: Path) -> Path:
    """A local file with the content, the name and the folder's name (recipes may use both) of a URL's."""
    if isinstance(place, Path):
        return place
    above, _, name = place.rpartition("/")
    remote = open_folder(above)
    if not isinstance(remote, RemoteFolder):
        raise TypeError(f"{above} was opened as {remote}")
    copy = folder / (above.rpartition("/")[2] or "root") / name
    copy.parent.mkdir(parents=True)
    try:
        remote.fetch(name, copy)
    except DamagedError as error:
        raise UsageError(f"annotation {place}: no such file") from error
    return copy
