"""What a build writes: samples as numbered shards, each committed as soon as it is full; tables; run.json.

Commit protocol: write a temporary tar, fsync, rename the tar, write its table rows, then its manifest by
rename. The manifest is the commit marker; counts, offsets and checksums come from it. Where a shard ends
depends on the samples only, not on interruptions. Each shard has its part of the tables; `finalize` joins the
parts to one file a table, and writes `run.json` last.
"""

from __future__ import annotations

import io
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from hashlib import sha256
from io import BufferedWriter
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from strive_data import SCHEMA_VERSION
from strive_data.common.files import (
    add_checksum,
    replacing,
    sync_folder,
    temporary_of,
    write_bytes,
    write_json,
)
from strive_data.common.settings import as_dict, fingerprint
from strive_data.config import BuildSettings, SamplerSettings, ShardSettings
from strive_data.sampling.comb import inclusion_of, z_scores
from strive_data.sampling.samplers import ORDERED
from strive_data.schema import (
    FAILURES_TABLE,
    FRAMES_TABLE,
    SAMPLES_TABLE,
    FailedRow,
    Sample,
    Table,
    question_hash,
)
from strive_data.shards.build_state import BuildState
from strive_data.shards.format import END_OF_ARCHIVE, encode_sample
from strive_data.shards.manifest import (
    FAILURES_FILE,
    INDEX_FILE,
    PARTS,
    SAMPLES_FILE,
    TABLE_FILES,
    TRAILING_FILE,
    Entry,
    Manifest,
    PartFile,
    as_body,
    file_hashes,
    index_of,
    manifest_name,
    package_versions,
    part_name,
    shard_name,
)
from strive_data.shards.run_file import BUILD_FILE, FILES, RUN_FILE


class OpenShard:
    """A shard under construction: `add` samples, then `commit`."""

    def __init__(self, folder: Path, number: int, settings_fingerprint: str) -> None:
        self.name = shard_name(number)
        self._path = folder / self.name
        self._settings = settings_fingerprint
        self._temporary = temporary_of(self._path)
        self._file: BufferedWriter = self._temporary.open("wb")
        self._hash = sha256()
        self._entries: list[Entry] = []
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, sample: Sample) -> None:
        """Append one sample."""
        block, question = encode_sample(sample), sample.meta.question
        self._entries.append(
            Entry(
                sample_id=question.sample_id,
                offset=self.size_bytes,
                length=len(block),
                sha256=sha256(block).hexdigest(),
                question=question_hash(question),
            )
        )
        self._append(block)

    def commit(self, **about: Any) -> Manifest:
        """Make the shard visible: the tar first, the manifest last; `about` are other fields of it."""
        self._append(END_OF_ARCHIVE)
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        manifest = Manifest(
            schema_version=SCHEMA_VERSION,
            shard=self.name,
            settings=self._settings,
            size_bytes=self.size_bytes,
            sha256=self._hash.hexdigest(),
            samples=tuple(self._entries),
            **about,
        )
        self._temporary.replace(self._path)
        # The names of tar and parts must be on the disk before the manifest that describes them.
        sync_folder(self._path.parent)
        write_json(self._path.with_name(manifest_name(self.name)), as_body(manifest))
        sync_folder(self._path.parent)
        return manifest

    def abandon(self) -> None:
        """Remove the temporary tar, if the shard was not committed."""
        # Closing flushes, which fails again on a full disk.
        with suppress(OSError):
            self._file.close()
        self._temporary.unlink(missing_ok=True)

    def _append(self, block: bytes) -> None:
        self._file.write(block)
        self._hash.update(block)
        self.size_bytes += len(block)

    def is_full(self, settings: ShardSettings) -> bool:
        """Whether the shard has reached its limit of samples or bytes."""
        return len(self) >= settings.max_samples or self.size_bytes >= settings.max_bytes


class ShardStream:
    """Writes shards after the existing ones. A context manager: at its end an uncommitted shard is removed.

    `manifests` are those of all committed shards, `trailing` the failures since the last of them,
    `written_bytes` the bytes of the shards that were there, and of the samples written since. `committed` is
    called after each shard.
    """

    def __init__(
        self,
        out: Path,
        settings: BuildSettings,
        *,
        manifests: Sequence[Manifest] = (),
        attempt: int = 0,
        committed: Callable[[], None] = lambda: None,
    ) -> None:
        self._committed = committed
        self._out, self._settings, self._attempt = out, settings, attempt
        self._shard: OpenShard | None = None
        self._samples: list[Sample] = []
        self.manifests = list(manifests)
        self.trailing: list[FailedRow] = []
        self.written_bytes = sum(manifest.size_bytes for manifest in manifests)

    def __enter__(self) -> ShardStream:
        return self

    def __exit__(self, *error: object) -> None:
        if self._shard is not None:
            self._shard.abandon()

    def write(self, results: Sequence[Sample | FailedRow], unfinished: Sequence[str]) -> None:
        """Append the results of one video; `unfinished` are the ids of all rows of its job."""
        for place, result in enumerate(results):
            if isinstance(result, FailedRow):
                # Row and video are those of the annotation of the day: a manifest does not store them.
                self.trailing.append(replace(result, row=-1, video="", attempt=self._attempt))
                continue
            if self._shard is None:
                self._shard = OpenShard(self._out, len(self.manifests), fingerprint(self._settings))
            before = self._shard.size_bytes
            self._shard.add(result)
            self.written_bytes += self._shard.size_bytes - before
            self._samples.append(result)
            if self._shard.is_full(self._settings.shard):
                self._commit(self._shard, () if place == len(results) - 1 else unfinished)

    def finish(self) -> None:
        """Commit the last shard."""
        if self._shard is not None:
            self._commit(self._shard, ())

    def _commit(self, shard: OpenShard, unfinished: Sequence[str]) -> None:
        manifest = shard.commit(
            attempt=self._attempt,
            unfinished=tuple(unfinished),
            parts=write_parts(self._out, shard.name, self._samples),
            failures=tuple(self.trailing),
        )
        self.manifests.append(manifest)
        self._shard, self._samples, self.trailing = None, [], []
        self._committed()


SCHEMAS: dict[str, Table] = {"samples": SAMPLES_TABLE, "frames": FRAMES_TABLE}
"""Tables of which each shard has a part."""


def samples_table(samples: Iterable[Sample], shard: str) -> pl.DataFrame:
    """One row a sample."""
    return pl.DataFrame([_sample_row(sample, shard) for sample in samples], schema=SAMPLES_TABLE)


def frames_table(samples: Sequence[Sample]) -> pl.DataFrame:
    """One row a candidate frame of each sample."""
    if not samples:
        return pl.DataFrame(schema=FRAMES_TABLE)
    return pl.concat([_frame_rows(sample) for sample in samples])


def failures_table(failures: Iterable[FailedRow]) -> pl.DataFrame:
    """One row a failed row, in the order of the annotation."""
    ordered = sorted(failures, key=lambda failure: (failure.row, failure.stage))
    rows = [[getattr(failure, name) for name in FAILURES_TABLE] for failure in ordered]
    return pl.DataFrame(rows, schema=FAILURES_TABLE, orient="row")


def write_table(path: Path, rows: pl.DataFrame) -> None:
    """Write a parquet file, whole or not at all."""
    write_bytes(path, _parquet(rows))


def write_parts(folder: Path, shard: str, samples: Sequence[Sample]) -> dict[str, PartFile]:
    """Write the table rows of one shard beside it; size and hash of each file."""
    parts: dict[str, PartFile] = {}
    for table, rows in {"samples": samples_table(samples, shard), "frames": frames_table(samples)}.items():
        name, content = part_name(shard, table), _parquet(rows)
        write_bytes(folder / name, content)
        parts[name] = PartFile(size_bytes=len(content), sha256=sha256(content).hexdigest())
    return parts


def join_parts(folder: Path, shards: Sequence[str]) -> None:
    """Join the parts to tables, in the order of the shards; streamed, so memory does not grow."""
    for table, schema in SCHEMAS.items():
        files = [folder / part_name(shard, table) for shard in shards]
        rows = pl.scan_parquet(files) if files else pl.LazyFrame(schema=schema)
        with replacing(folder / f"{table}.parquet") as temporary:
            rows.sink_parquet(temporary, maintain_order=True)


def _parquet(rows: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    rows.write_parquet(buffer)
    return buffer.getvalue()


def _sample_row(sample: Sample, shard: str) -> dict[str, object]:
    question, info = sample.meta.question, sample.meta.info
    row = asdict(question) | asdict(info)
    row["options"], row["evidence_spans"] = list(question.options), [list(s) for s in question.evidence_spans]
    row |= {"candidates": len(sample.times), "frames": len(sample.uniform)}
    row |= {"variants": len(sample.variants), "stored": len(sample.stored)}
    row |= {"query_windows": sample.meta.query_windows, "shard": shard}
    return {name: row[name] for name in SAMPLES_TABLE}


def _frame_rows(sample: Sample) -> pl.DataFrame:
    count = len(sample.times)
    names = SamplerSettings.__dataclass_fields__
    settings = SamplerSettings(**{k: v for k, v in sample.meta.sampler.items() if k in names})
    ordered = settings.name in ORDERED  # others take a candidate by no inclusion π
    chosen_MN = np.zeros((len(sample.variants), count), dtype=bool)
    np.put_along_axis(chosen_MN, sample.variants.astype(np.int64), True, axis=1)
    columns = {
        "sample_id": [sample.meta.question.sample_id] * count,
        "video_id": [sample.meta.info.video_id] * count,
        "candidate": np.arange(count),
        "time": sample.times,
        "score": sample.scores,
        "z": z_scores(sample.scores),
        "inclusion": inclusion_of(sample.scores, settings) if ordered else [None] * count,
        "cluster": [None] * count if sample.clusters is None else sample.clusters,
        "variants": [np.flatnonzero(column).tolist() for column in chosen_MN.T],
        "uniform": np.isin(np.arange(count), sample.uniform),
    }
    return pl.DataFrame(columns, schema_overrides=FRAMES_TABLE)


def finalize(
    out: Path,
    settings: BuildSettings,
    state: BuildState,
    failures: pl.DataFrame,
    *,
    inputs: Mapping[str, str],
    seconds: float,
    recipes: Mapping[str, str] | None = None,
    stage_seconds: Mapping[Any, float] | None = None,
) -> dict[str, int]:
    """Write tail.json, tables and `run.json`, each file whole; returns the counts of `run.json`.

    It can be repeated at any time. `failures` is their table; `inputs` are sha256 and `recipes` names of
    recipes, by path of the annotation file. `seconds` (wall clock) and `stage_seconds` (by stage, summed over
    processes) are those of the last start. They and the checksum are all that differs between builds of
    equal input. `run.json` lists the sha256 of all files but itself and the tars, which manifests protect.
    """
    manifests, files = state.manifests, [*TABLE_FILES, BUILD_FILE]
    if state.trailing.failures:
        write_json(out / TRAILING_FILE, as_body(state.trailing))
        files.append(TRAILING_FILE)
    else:
        (out / TRAILING_FILE).unlink(missing_ok=True)
    join_parts(out, [manifest.shard for manifest in manifests])
    write_table(out / FAILURES_FILE, failures)
    write_table(out / INDEX_FILE, index_of(manifests))
    counts = counts_of(
        out,
        samples=sum(len(manifest.samples) for manifest in manifests),
        shards=len(manifests),
        size_bytes=sum(manifest.size_bytes for manifest in manifests),
    )
    files += [name for manifest in manifests for name in (manifest_name(manifest.shard), *manifest.parts)]
    body = {
        "schema_version": SCHEMA_VERSION,
        "settings": as_dict(settings),
        "settings_fingerprint": fingerprint(settings),
        "inputs_sha256": dict(inputs),
        "recipes": dict(recipes or {}),
        "versions": dict(state.versions or package_versions()),
        "counts": counts,
        "failures_by_kind": dict(sorted(Counter(failures["kind"]).items())),
        FILES: file_hashes(out, files),
        "seconds": round(seconds, 3),
        "stage_seconds": {stage: round(spent, 3) for stage, spent in (stage_seconds or {}).items()},
    }
    sync_folder(out)
    write_json(out / RUN_FILE, add_checksum(body | ({PARTS: list(state.parts)} if state.parts else {})))
    sync_folder(out)
    return counts


def counts_of(out: Path, *, samples: int, shards: int, size_bytes: int) -> dict[str, int]:
    """What the build holds, by its shards and tables. Interruptions do not change it.

    `videos` gave samples; `tried_videos` are these and the videos of failed rows that were tried, also if
    their files are missing by now; `candidates` are rows of the frames table (frames scored), `frames` are
    stored as JPEG.
    """
    rows, failures = pl.scan_parquet(out / SAMPLES_FILE), pl.scan_parquet(out / FAILURES_FILE)
    candidates, frames = rows.select(pl.col("candidates", "stored").cast(pl.Int64).sum()).collect().row(0)
    tried = failures.filter(pl.col("stage") != "annotation").select("video")
    return {
        "samples": samples,
        "videos": _distinct(rows.select("video")),
        "tried_videos": _distinct(pl.concat([rows.select("video"), tried])),
        "shards": shards,
        "failures": failures.select(pl.len()).collect().item(),
        "candidates": candidates,
        "frames": frames,
        "bytes": size_bytes,
    }


def _distinct(rows: pl.LazyFrame) -> int:
    count: int = rows.unique().select(pl.len()).collect().item()
    return count
