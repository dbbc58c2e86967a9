"""What `strive-data inspect` prints: the tables of a build, read with polars.

The condition of `--where` is SQL over the columns of one table, admitted by an allow-list: only columns,
literals, comparisons, arithmetic and the functions named here pass. A query, a table function or a function
that builds large texts is refused before polars sees it, so that a condition reads nothing but its table.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from textwrap import wrap

import polars as pl
from rich.cells import cell_len

from strive_data.common.files import TABLE_FORMATS, disk_full_named, file_sha256, replacing, require_suffix
from strive_data.common.settings import choose
from strive_data.common.storage import Folder, LocalFolder, open_folder
from strive_data.common.text import escape_controls, listed, plural, table_text
from strive_data.errors import DamagedError, UsageError
from strive_data.shards.manifest import FAILURES_FILE, SAMPLES_FILE, TABLE_FILES
from strive_data.shards.run_file import FILES as HASHES
from strive_data.shards.run_file import RUN_FILE, SEE_VERIFY, read_run

FORMULA = r"^[=@+\-\t\r]"  # spreadsheets run a cell that begins so


def check_out(path: Path) -> None:
    """Refuse a name that says no known format, and any parquet beside a build's own tables."""
    require_suffix(path, TABLE_FORMATS)
    if path.suffix.lower() == ".parquet" and (path.parent / RUN_FILE).exists():
        raise UsageError(f"--out {path}: the folder is a build, whose tables are parquet; write elsewhere")


def write_rows(rows: pl.LazyFrame, path: Path) -> list[str]:
    """Write the rows by the name's ending; returns the columns that a CSV holds as JSON text (the lists).

    Texts of a CSV that a spreadsheet would run as a formula begin with an apostrophe. The file is written
    beside and renamed, so that it is whole or not there. Raises UsageError where it cannot be written,
    DiskFullError where there is no room.
    """
    check_out(path)
    lists = [name for name, kind in rows.collect_schema().items() if isinstance(kind, pl.List)]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with disk_full_named(path), replacing(path, durable=False) as part:
            if path.suffix.lower() == ".csv":
                text = pl.selectors.string()
                formula = pl.when(text.str.contains(FORMULA)).then(pl.lit("'") + text).otherwise(text)
                cells = rows.with_columns(as_json(name) for name in lists)
                cells.with_columns(formula.name.keep()).sink_csv(part)
            else:
                rows.sink_parquet(part)
    except OSError as error:
        raise UsageError(f"--out {path}: cannot write: {error.strerror or error}") from error
    return lists if path.suffix.lower() == ".csv" else []


def as_json(column: str) -> pl.Expr:
    """A list column as JSON text; null stays null."""
    text = pl.struct(pl.col(column).alias("v")).struct.json_encode()
    inner = text.str.strip_prefix('{"v":').str.strip_suffix("}")
    return pl.when(pl.col(column).is_not_null()).then(inner).alias(column)


FILES = {file.removesuffix(".parquet"): file for file in TABLE_FILES}


def scan(build: Path | Folder, table: str) -> pl.LazyFrame:
    """A table of a finished build. Raises UsageError for no such build or table, DamagedError for a changed.

    Its bytes are compared with their checksum first: a damaged table can end the reader, not only fail. A
    local table is scanned, one at a URL is read whole.
    """
    name, folder = FILES[choose(table, FILES, "table")], open_folder(build)
    path = folder.path / name if isinstance(folder, LocalFolder) else None
    content = b"" if path else folder.read(name)
    digest = read_run(folder).get(HASHES, {}).get(name)
    try:
        found = digest and (file_sha256(path) if path else sha256(content).hexdigest())
    except OSError as error:
        raise DamagedError(f"cannot read {path}: {error.strerror}; {SEE_VERIFY}") from error
    if found != digest:
        raise DamagedError(f"{folder}/{name} does not have the checksum of {RUN_FILE}: {SEE_VERIFY}")
    return pl.scan_parquet(path) if path else pl.read_parquet(BytesIO(content)).lazy()


def damaged_videos(build: Path) -> list[tuple[str, int]]:
    """Videos of the samples that were decoded with errors, and how many; the worst first."""
    rows = scan(build, "samples").filter(pl.col("decode_errors") > 0).group_by("video")
    worst = rows.agg(pl.col("decode_errors").max()).sort("decode_errors", "video", descending=[True, False])
    return worst.collect().rows()


ROUNDED_SECONDS = 1.0
"""By so much evidence may end after its video: annotations round up."""


def evidence_beyond(build: Path) -> list[str]:
    """Ids of the samples with evidence that ends after their video, or begins there, in the order of the
    build."""
    start, stop = (pl.col("evidence_spans").list.get(place) for place in (0, 1))
    end = pl.col("duration_seconds")
    late = scan(build, "samples").filter(pl.col("evidence_spans").list.len() > 0).explode("evidence_spans")
    late = late.filter((start > end) | (stop > end + ROUNDED_SECONDS))
    ids: list[str] = (
        late.select(pl.col("sample_id").unique(maintain_order=True)).collect()["sample_id"].to_list()
    )
    return ids


def equal_variants(build: Path) -> int:
    """How many samples have variants that are all the same: as many frames each as there are candidates."""
    rows = scan(build, "samples").filter(pl.col("variants") > 1, pl.col("frames") == pl.col("candidates"))
    count: int = rows.select(pl.len()).collect().item()
    return count


def select_rows(
    build: Path,
    table: str,
    *,
    where: str | None = None,
    columns: Sequence[str] = (),
    sample: str | None = None,
) -> pl.LazyFrame:
    """Rows of `table` for which `where` holds, of one sample where it is named, and some of their columns.

    Raises UsageError for a sample or column that the build does not have, and for an invalid condition.
    """
    rows = scan(build, table)
    known = rows.collect_schema().names()
    if sample is not None:
        choose(sample, sample_ids(build), "sample")
        rows = rows.filter(pl.col("sample_id") == sample)
    if where is not None:
        rows = _filter(rows, where)
    if columns:
        rows = rows.select([choose(column, known, f"column of {table}") for column in columns])
    return rows


def sample_ids(build: Path, where: str | None = None) -> list[str]:
    """Ids of the samples, in the order of the build, for which `where` over the samples table holds."""
    rows = select_rows(build, "samples", where=where, columns=["sample_id"])
    ids: list[str] = rows.collect()["sample_id"].to_list()
    return ids


def _filter(rows: pl.LazyFrame, where: str) -> pl.LazyFrame:
    """The rows for which the condition holds. It is evaluated at once, so that a wrong one fails here.

    Raises UsageError: the first word that is not admitted, or what polars says, and what is expected.
    """
    columns = rows.collect_schema().names()
    try:
        _check(where, columns)
        kept = rows.filter(pl.sql_expr(where))
        kept.select(pl.len()).collect()
    except (ValueError, pl.exceptions.PolarsError) as error:
        first = str(error).strip().split("\n")[0].partition("; valid columns")[0]
        shown = where if len(where) <= 200 else f"{where[:200]}…"
        raise UsageError(
            f"--where {shown!r}: {first}; expected an SQL condition on {', '.join(columns)}, with "
            f"comparisons and the functions {', '.join(FUNCTIONS)}"
        ) from error
    return kept


FIRST_ROWS = 10
# Columns of a wide table that fit a screen.
SCREEN_COLUMNS = {"frames": ("sample_id", "candidate", "time", "score", "z", "variants", "uniform")}
SHOWN_ROWS = 50


def fitting_text(table: pl.DataFrame) -> str:
    """The table in the width of the terminal, 80 columns where it is unknown; else one record a block."""
    width = shutil.get_terminal_size().columns
    text = pl.selectors.string().map_elements(escape_controls, return_dtype=pl.String)
    shown = table.with_columns(text.name.keep())
    empty = [column.name for column in shown if 0 < len(column) == column.null_count()]
    narrow = shown.drop({"video_id", *empty} & set(shown.columns))
    for letters in (60, 40):
        text_table = table_text(narrow, width=None, letters=letters, decimals=3)
        if cell_len(text_table.partition("\n")[0]) <= width:
            return text_table
    indent = max(map(len, table.columns)) + 2
    records = (
        "\n".join(
            _wrapped(f"{name:{indent}}{value}", indent)
            for name, value in row.items()
            if value not in (None, [])
        )
        for row in shown.iter_rows(named=True)
    )
    return "\n\n".join(records)


def _wrapped(line: str, indent: int = 2) -> str:
    width = shutil.get_terminal_size().columns
    return "\n".join(
        wrap(escape_controls(line), width, subsequent_indent=" " * indent, break_on_hyphens=False)
    )


def build_overview(build: Path) -> str:
    """Counts, questions by type, the first samples, and the failures by kind."""
    run = read_run(build)
    samples = scan(build, "samples")
    columns = samples.collect_schema().names()  # builds before 2026-11-28 have no `discontinuities`
    by_type = samples.group_by("problem_type").agg(
        questions=pl.len(),
        videos=pl.col("video_id").n_unique(),
        median_seconds=pl.col("duration_seconds").median().round(2),
        **{name: pl.col(name).sum() for name in ("decode_errors", "discontinuities") if name in columns},
    )
    first = samples.select("sample_id", "question", "answer", seconds=pl.col("duration_seconds").round(1))
    parts = [_wrapped(f"{build}: {listed(run['counts'])}, {run['seconds']} s")]
    parts += ["questions by type", fitting_text(by_type.sort("problem_type").collect())]
    parts += [f"{SAMPLES_FILE}, first rows", fitting_text(first.head(FIRST_ROWS).collect())]
    kinds = failures_by_kind(build)
    if kinds.height:
        parts += [f"{FAILURES_FILE}, by kind; each row with --failures", fitting_text(kinds)]
    return "\n".join(parts)


def failures_by_kind(build: Path) -> pl.DataFrame:
    """Columns stage, kind, rows, first: how many rows failed in this way, and the message of the first."""
    kinds = scan(build, "failures").group_by("stage", "kind", maintain_order=True)
    counts = kinds.agg(rows=pl.len(), first=pl.col("message").first())
    return counts.sort("rows", "kind", descending=[True, False]).collect()


def sample_overview(build: Path, sample_id: str) -> str:
    """One question: its text, and all its candidate frames with times, scores and variants."""
    sample = select_rows(build, "samples", sample=sample_id).collect().row(0, named=True)
    frames = select_rows(build, "frames", sample=sample_id).drop("sample_id", "video_id").collect()
    facts = [_wrapped(f"{name}: {value}") for name, value in sample.items() if value not in (None, [])]
    return "\n".join([*facts, fitting_text(frames)])


def table_rows(
    build: Path,
    table: str,
    *,
    where: str | None = None,
    columns: Sequence[str] = (),
    sample: str | None = None,
    limit: int | None = None,
    out: Path | None = None,
) -> str:
    """Rows of one table as text, at most `limit` (on a screen `SHOWN_ROWS`), or what was written to `out`.

    Raises UsageError as `select_rows` and `write_rows` do.
    """
    if out is None and not columns:
        columns = SCREEN_COLUMNS.get(table, ())
    rows = select_rows(build, table, where=where, columns=columns, sample=sample)
    found = int(rows.select(pl.len()).collect().item())
    most = limit if limit is not None else found if out else SHOWN_ROWS
    count = f"{min(most, found)} of {plural(found, 'row')} of {table}"
    if out is not None:
        lists = write_rows(rows.head(most), out)
        return f"{out}: {count}" + (f"; lists as JSON text: {', '.join(lists)}" if lists else "")
    shown = rows.head(most).collect()
    if {"video", "message"} <= set(shown.columns):  # the message repeats the path of another column
        pairs = zip(shown["video"], shown["message"], strict=True)
        texts = [text.split(f"{video}: ", maxsplit=1)[-1] if video else text for video, text in pairs]
        shown = shown.with_columns(message=pl.Series(texts, dtype=pl.String))
    more = "; more with --limit, all with --out FILE" if most < found else ""
    return f"{fitting_text(shown)}\n{count}{more}"


WORDS = ("and", "or", "not", "in", "between", "like", "ilike", "is", "null", "true", "false")
FUNCTIONS = (
    *("abs", "array_contains", "array_length", "ceil", "coalesce", "ends_with", "floor"),
    *("length", "lower", "round", "starts_with", "strpos", "upper"),
)
MOST_CHARACTERS = 2000
TOKEN = re.compile(
    r"""\s+
    | (?P<text>'(?:[^']|'')*')
    | "(?P<quoted>[^"]+)"
    | (?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(?![\w.])
    | (?P<name>[A-Za-z_]\w*)(?P<call>\s*\()?
    | <> | <= | >= | != | [-+*/%=<>(),]""",
    re.VERBOSE | re.ASCII,
)


def _check(where: str, columns: Sequence[str]) -> None:
    """Raise ValueError for the first part of the condition that is not on the allow-list."""
    if len(where) > MOST_CHARACTERS:
        raise ValueError(f"{len(where)} characters, at most {MOST_CHARACTERS} are read")
    if "--" in re.sub(r"'[^']*'", "''", where):
        raise ValueError("comments are not read")
    place = 0
    while place < len(where):
        token = TOKEN.match(where, place)
        if token is None:
            raise ValueError(f"cannot read {where[place : place + 20]!r}")
        place = token.end()
        name = token["quoted"] or token["name"]
        if name is None or name in columns:
            continue
        known = FUNCTIONS if token["call"] and name.lower() not in WORDS else WORDS
        if token["quoted"] or name.lower() not in known:
            raise ValueError(
                f"{name!r} is no column" + (" and no function that is read" if token["call"] else "")
            )
