"""Annotations and videos at paths or URLs → annotations read, and the root that videos are below."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

from strive_data.annotations.apply_recipe import identity_of, labels_of, layout_of
from strive_data.annotations.question import question_of, sample_id_of, video_of
from strive_data.annotations.recipes import (
    Recipe,
    find_recipe,
    names_read,
    packaged_recipes,
    recipe_that_fits,
)
from strive_data.annotations.rows import EXPECTED, Item, RowFile, columns_of, nested_items, read_rows
from strive_data.annotations.videos import VideoFolder
from strive_data.common.storage import RemoteFolder, open_folder, place_of
from strive_data.errors import DamagedError, FailureKind, SampleError, UsageError
from strive_data.schema import Failure, Question

# Annotation files → questions and bad rows.
#
# `annotation_rows` parses a file, a recipe (`recipes`, `recipe_row`) says which field is what,
# `question_row`
# checks each row. One wrong row costs no other.


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How one file was read: the name of its recipe, and the columns that this takes nothing from."""

    recipe: str
    unread: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Annotations:
    """What the annotation files hold.

    Rows are counted from 0 over all files in the order given, blank lines aside. `questions` are
    (row, question); every other row is in `failures`. `input_sha256` has the hash of each file by its path,
    `readings` how it was read; a recipe file is among the hashes.
    """

    questions: tuple[tuple[int, Question], ...]
    failures: tuple[Failure, ...]
    input_sha256: dict[str, str]
    readings: dict[str, Reading] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class _Reader:
    """Reads the rows of one file. `first` has the place of the first row of each id, over all files."""

    recipe: Recipe
    labels: Mapping[str, str]
    videos: VideoFolder
    first: dict[str, str]

    def question(self, item: Item) -> Question:
        """The item's question; notes its id as read. Raises SampleError for a bad row."""
        if isinstance(item.value, SampleError):
            raise item.value
        sample_id = sample_id_of(identity_of(item, self.recipe))
        if sample_id in self.first:
            message = f"{self.labels['problem_id']} {sample_id} stands at {self.first[sample_id]} already"
            raise SampleError(FailureKind.DUPLICATE_ID, message)
        if sample_id:
            self.first[sample_id] = item.place
        layout = layout_of(item, self.recipe, self.labels)
        return question_of(layout, self.videos, labels=self.labels)

    def failure(self, row: int, item: Item, error: SampleError) -> Failure:
        """The row of failures.parquet, with as much of the item as can be told."""
        known = identity_of(item, self.recipe)
        return Failure(
            sample_id=sample_id_of(known),
            row=row,
            video=video_of(known),
            stage="annotation",
            kind=error.kind,
            message=f"{item.place}: {error.message}",
        )


def read_annotations(
    paths: Sequence[Path], data_root: Path | str, *, recipe: str | None = None, check_files: bool = True
) -> Annotations:
    """Read all rows of `paths`; videos are looked for below `data_root`, but not opened.

    `recipe` is a packaged recipe's name or a recipe file (*.toml), for all files; without it, each file's
    columns choose one. `check_files=False` reads annotations whose videos are elsewhere.

    Of rows with one id the first counts, usable or not; later ones fail as duplicate_id, across files too.
    Raises UsageError for a file that is absent, empty, or in no known layout as a whole.
    """
    return annotations_of(
        [read_rows(path) for path in paths], data_root, recipe=recipe, check_files=check_files
    )


def annotations_of(
    files: Sequence[RowFile], data_root: Path | str, *, recipe: str | None = None, check_files: bool = True
) -> Annotations:
    """The same of files that are read already."""
    if not files:
        raise UsageError(f"no annotation given; {EXPECTED}")
    names = [recipe or _fitting(file) for file in files]
    questions: list[tuple[int, Question]] = []
    failures: list[Failure] = []
    readings: dict[str, Reading] = {}
    first: dict[str, str] = {}
    videos = VideoFolder(data_root, check_files=check_files)
    row = 0
    for file, name in zip(files, names, strict=True):
        chosen = find_recipe(name)
        reader = _Reader(
            recipe=chosen,
            labels=labels_of(chosen),
            videos=videos,
            first=first,
        )
        items = _items(file, chosen)
        unread = tuple(_printable(columns_of(items) - names_read(chosen)))
        readings[file.path.as_posix()] = Reading(recipe=name, unread=unread)
        for item in items:
            try:
                questions.append((row, reader.question(item)))
            except SampleError as error:
                failures.append(reader.failure(row, item, error))
            row += 1
    return Annotations(
        questions=tuple(questions),
        failures=tuple(failures),
        input_sha256={file.path.as_posix(): file.sha256 for file in files} | _recipe_sha256(names),
        readings=readings,
    )


def _recipe_sha256(names: Sequence[str]) -> dict[str, str]:
    """Hash of each recipe file of the user's own; those of the package are told by its version."""
    return {name: sha256(Path(name).read_bytes()).hexdigest() for name in names if name.endswith(".toml")}


def _fitting(file: RowFile) -> str:
    """Name of the recipe that the file's columns tell. Raises UsageError where none does."""
    known = packaged_recipes()
    columns = columns_of(file.items)
    if name := recipe_that_fits(columns, [name for name, recipe in known.items() if not recipe.rows]):
        return name
    if file.tree is not None:
        # Each recipe leads to other rows of the tree, so each is asked about its own.
        fits = [name for name, recipe in known.items() if recipe.rows and _fits_tree(file, name, recipe)]
        if name := recipe_that_fits({column for name in fits for column in known[name].columns}, fits):
            return name
        raise UsageError(f"annotation {file.path}: one JSON object that is no question; {EXPECTED}")
    names = _printable(columns)
    listed = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
    raise UsageError(
        f"annotation {file.path}: no recipe fits its columns {listed}; {EXPECTED}. Rename the columns to "
        f"video, question and answer, or write a recipe (--recipe FILE.toml); known: {', '.join(known)}"
    )


def _printable(names: Iterable[str]) -> list[str]:
    """Names in order, fit for one line of a terminal: JSON allows anything for a key."""
    return [name if name.isprintable() else ascii(name) for name in sorted(names)]


def _fits_tree(file: RowFile, name: str, recipe: Recipe) -> bool:
    columns = columns_of(nested_items(file.path, file.tree or {}, recipe.rows))
    return recipe_that_fits(columns, [name]) == name


def _items(file: RowFile, recipe: Recipe) -> Sequence[Item]:
    if not recipe.rows:
        return file.items
    if file.tree is None:
        raise UsageError(
            f"annotation {file.path}: got a list or a table; the recipe of {recipe.title} wants one JSON "
            f"object that leads to the rows by {recipe.rows}"
        )
    return list(nested_items(file.path, file.tree, recipe.rows))


# A listing is what tells that a folder is there; of these a file can be read without one.
UNLISTED = ("http://", "https://")


def video_root(data_root: Path | str) -> Path | str:
    """The root as a path or URL without a last slash. Raises UsageError where there is no such folder."""
    place = place_of(data_root)
    if isinstance(place, str) and place.lower().startswith("memory:"):
        raise UsageError(f"--data-root {place}: other processes read the videos, and cannot see this memory")
    known = isinstance(place, str) and place.lower().startswith(UNLISTED)
    if not known and not open_folder(place).exists():
        raise UsageError(f"--data-root {data_root}: no such folder")
    return place.rstrip("/") if isinstance(place, str) else place


def read_inputs(
    annotations: Sequence[Path | str], root: Path | str, *, recipe: str | None = None
) -> Annotations:
    """`read_annotations` for paths and URLs. Videos behind a URL are not looked for before they are decoded:
    one that is absent is a failure then."""
    with TemporaryDirectory(prefix="strive-in-") as folder:
        places = [place_of(where) for where in annotations]
        copies = [_copy(place, Path(folder) / str(number)) for number, place in enumerate(places)]
        check_files = isinstance(root, Path)
        try:
            rows = read_annotations(copies, root, recipe=recipe, check_files=check_files)
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
