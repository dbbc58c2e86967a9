from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strive_data.common.files import write_json
from strive_data.engines.results import failure_of as failure_of_question
from strive_data.errors import DamagedError, FailureKind, SampleError
from strive_data.shards.manifest import (
    Entry,
    FailedRow,
    Manifest,
    PartFile,
    TrailingFailures,
    as_body,
    failed_row_of,
    failure_of,
    question_hash,
    read_manifest,
    read_trailing_failures,
)
from tests.strive_data.samples import a_question

LOST = FailedRow(sample_id="b", question="1", stage="decode", kind=FailureKind.OOM, message="é")
MANIFEST = Manifest(
    schema_version=1,
    shard="shard-000000.tar",
    settings="s",
    size_bytes=10,
    sha256="0",
    attempt=2,
    unfinished=("a", "b"),
    parts={"shard-000000.samples.parquet": PartFile(size_bytes=3, sha256="1")},
    failures=(LOST,),
    samples=(Entry(sample_id="a", offset=0, length=512, sha256="2", question="3"),),
)


def test_manifests_and_tails_are_read_as_written(tmp_path: Path) -> None:
    write_json(tmp_path / "m.json", as_body(MANIFEST))
    assert read_manifest(tmp_path / "m.json") == MANIFEST
    tail = TrailingFailures(shards=3, attempt=1, failures=(LOST,))
    write_json(tmp_path / "tail.json", as_body(tail))
    assert read_trailing_failures(tmp_path / "tail.json") == tail
    assert read_trailing_failures(tmp_path / "none.json") == TrailingFailures()


@given(
    text=st.one_of(st.text(max_size=20), st.sampled_from(["{}", "[1]", '{"schema_version": 1}', "[" * 9999]))
)
def test_anything_else_is_damage(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("m") / "m.json"
    path.write_text(text, encoding="utf-8", errors="surrogateescape" if text.isascii() else "ignore")
    with pytest.raises(DamagedError):
        read_manifest(path)
    with pytest.raises(DamagedError):
        read_trailing_failures(path)


@pytest.mark.parametrize(
    "change",
    [{"question": "?"}, {"answer": "A"}, {"video": "b"}, {"options": ("A. X",)}, {"evidence_spans": ()}],
)
def test_another_question_has_another_hash(change: dict[str, object]) -> None:
    question = a_question()
    assert question_hash(question) == question_hash(a_question())
    assert question_hash(replace(question, **change)) != question_hash(question)  # type: ignore[arg-type]


def test_a_failure_gets_its_row_back_from_the_annotation_of_the_day() -> None:
    question = a_question("7")
    failure = failure_of_question((3, question), "score", SampleError(FailureKind.SCORE_FAILED, "no"))
    assert failure_of(failed_row_of(failure, question), 9, question) == replace(failure, row=9)
