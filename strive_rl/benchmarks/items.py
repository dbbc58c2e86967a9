"""Annotation files of a benchmark → its items, with what results are broken down by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from strive_data.annotations.nested_rows import rows_of
from strive_data.annotations.read import NO_COLUMNS, Annotations, Reading, annotations_of
from strive_data.annotations.recipes import FIRST, find_recipe
from strive_data.annotations.rows import ROWS_FOR_COLUMNS, RowFile, columns_of, read_rows
from strive_data.common.files import near_path
from strive_data.errors import UsageError
from strive_rl.benchmarks.item import PRODUCT, Benchmark, Item, Row, Unusable

# Where a benchmark's annotation lies below its data root, under the names it was published by.


def find_annotations(benchmark: Benchmark, data_root: Path) -> tuple[Path, ...]:
    """The benchmark's files: of each the first pattern that some file fits, in alphabetical order.

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
    tags = [
        tags_of(benchmark, _with_fields(row, columns), path) for path, row in _raw_rows(files, annotations)
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


def _raw_rows(files: Sequence[RowFile], annotations: Annotations) -> Iterator[tuple[Path, Row | object]]:
    """(file, row) of all rows, counted as `read_annotations` counts them."""
    for file in files:
        path = file.path
        recipe = find_recipe(annotations.readings[path.as_posix()].recipe)
        for item in rows_of(file, recipe):
            yield path, item.value
