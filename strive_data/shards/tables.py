"""The tables of a build: rows from samples, one part a shard, and one file joined from the parts."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path

import numpy as np
import polars as pl

from strive_data.common.files import replacing, write_bytes
from strive_data.config import SamplerSettings
from strive_data.sampling.comb import inclusion_of
from strive_data.sampling.density import z_scores
from strive_data.sampling.registry import ORDERED
from strive_data.schema import FAILURES_TABLE, FRAMES_TABLE, SAMPLES_TABLE, FailedRow, Sample, Table
from strive_data.shards.manifest import PartFile, part_name

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
    chosen_MN = np.zeros((len(sample.variants), count), dtype=bool)
    np.put_along_axis(chosen_MN, sample.variants.astype(np.int64), True, axis=1)
    columns = {
        "sample_id": [sample.meta.question.sample_id] * count,
        "video_id": [sample.meta.info.video_id] * count,
        "candidate": np.arange(count),
        "time": sample.times,
        "score": sample.scores,
        "z": z_scores(sample.scores),
        "inclusion": _inclusion(sample),
        "cluster": [None] * count if sample.clusters is None else sample.clusters,
        "variants": [np.flatnonzero(column).tolist() for column in chosen_MN.T],
        "uniform": np.isin(np.arange(count), sample.uniform),
    }
    return pl.DataFrame(columns, schema_overrides=FRAMES_TABLE)


def _inclusion(sample: Sample) -> np.ndarray | list[None]:
    """Inclusion π of each candidate, for samplers that have one; otherwise null."""
    names = SamplerSettings.__dataclass_fields__
    settings = SamplerSettings(**{k: v for k, v in sample.meta.sampler.items() if k in names})
    if settings.name not in ORDERED:
        return [None] * len(sample.times)
    return inclusion_of(sample.scores, settings)
