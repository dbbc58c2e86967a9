from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strive_data.common.files import write_json
from strive_data.errors import DamagedError, FailureKind
from strive_data.schema import question_hash
from strive_data.shards.manifest import (
    Entry,
    Manifest,
    PartFile,
    TrailingFailures,
    as_body,
    read_manifest,
    read_trailing_failures,
    shard_of,
)
from tests.strive_data.made.samples import a_failure, a_question

FAILURE = a_failure("b", FailureKind.OOM, row=-1, video="", message="é", question_hash="1", attempt=2)
MANIFEST = Manifest(
    schema_version=1,
    shard="shard-000000.tar",
    settings="s",
    size_bytes=10,
    sha256="0",
    attempt=2,
    unfinished=("a", "b"),
    parts={"shard-000000.samples.parquet": PartFile(size_bytes=3, sha256="1")},
    failures=(FAILURE,),
    samples=(Entry(sample_id="a", offset=0, length=512, sha256="2", question="3"),),
)


def test_manifests_and_trailing_failures_are_read_as_written(tmp_path: Path) -> None:
    write_json(tmp_path / "m.json", as_body(MANIFEST))
    assert read_manifest(tmp_path / "m.json") == MANIFEST
    trailing = TrailingFailures(shards=3, attempt=2, failures=(FAILURE,))
    write_json(tmp_path / "tail.json", as_body(trailing))
    assert read_trailing_failures(tmp_path / "tail.json") == trailing
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


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("size_bytes",), -1),
        (("size_bytes",), True),
        (("sha256",), 7),
        (("shard",), None),
        (("settings",), 3),
        (("attempt",), "1"),
        (("unfinished",), [1]),
        (("samples", 0, "offset"), "0"),
        (("samples", 0, "length"), -5),
        (("samples", 0, "sample_id"), 5),
        (("samples", 0, "question"), None),
        (("parts", "shard-000000.samples.parquet", "size_bytes"), 1.5),
        (("failures", 0, "kind"), "tired"),
    ],
)
def test_a_value_of_another_type_is_damage(
    tmp_path: Path, place: tuple[str | int, ...], value: object
) -> None:
    body = inner = json.loads(json.dumps(as_body(MANIFEST)))
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    write_json(tmp_path / "m.json", body)
    with pytest.raises(DamagedError):
        read_manifest(tmp_path / "m.json")


def test_files_of_shards_are_known_by_name() -> None:
    for name in ("shard-000000.tar", "shard-000000.json", "shard-000000.frames.parquet"):
        assert shard_of(name) == "shard-000000.tar"
    assert shard_of("shard-1234567.tar") == "shard-1234567.tar"
    for name in ("shard-00000.tar", "shard-000000.tar.tmp", "frames.parquet", "x-shard-000000.tar"):
        assert shard_of(name) is None
