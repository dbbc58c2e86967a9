from __future__ import annotations

import json
from pathlib import Path

import pytest

from strive_data.errors import UsageError
from strive_rl.benchmarks.items import find_annotations, read_items, tags_of, text_of
from strive_rl.benchmarks.rules import BENCHMARKS
from strive_rl.benchmarks.rules.choices import VIDEOMME
from strive_rl.benchmarks.rules.open_answers import CUSTOM, VIDEOMMMU
from strive_rl.benchmarks.rules.tempcompass import TEMPCOMPASS


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_files_by_their_published_names(tmp_path: Path) -> None:
    tasks = ["yes_no", "multi-choice"]
    touch(tmp_path, *(f"questions/{task}.json" for task in tasks), "video-llava.yes_no.rated.json")
    assert [path.name for path in find_annotations(TEMPCOMPASS, tmp_path)] == [
        "multi-choice.json",
        "yes_no.json",
    ]
    tracks = ["Adaptation", "Comprehension", "Perception"]
    touch(tmp_path, *(f"{track}/test-00000-of-00001.parquet" for track in tracks))
    assert sorted(path.parent.name for path in find_annotations(VIDEOMMMU, tmp_path)) == tracks


def test_the_first_name_counts_and_all_its_parts(tmp_path: Path) -> None:
    touch(tmp_path, "videomme.json", "videomme/test-00001-of-2.parquet", "videomme/test-00000-of-2.parquet")
    found = find_annotations(VIDEOMME, tmp_path)
    assert [path.name for path in found] == ["test-00000-of-2.parquet", "test-00001-of-2.parquet"]


def test_where_there_is_none_it_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no annotation of VideoMME: none of videomme/test-\*.parquet or "):
        find_annotations(VIDEOMME, tmp_path)
    with pytest.raises(UsageError, match="--benchmark own: give --annotations, your table"):
        find_annotations(CUSTOM, tmp_path)
    with pytest.raises(UsageError, match="absent: no such folder"):
        find_annotations(VIDEOMME, tmp_path / "absent")
    assert all(benchmark.files for name, benchmark in BENCHMARKS.items() if name != "own")


def test_tags_go_with_their_rows_and_bad_rows_are_kept_apart(tmp_path: Path) -> None:
    rows = [
        {"problem_id": i, "problem": "Q?", "problem_type": "free-form", "solution": answer, "path": "v.mp4"}
        | {"data_source": source}
        for i, (answer, source) in enumerate([("x", "one"), ("", "two"), ("y", "three")])
    ]
    file = tmp_path / "own.json"
    file.write_text(json.dumps(rows))
    items = read_items([file], CUSTOM)
    assert [(one.question.sample_id, one.tags["source"]) for one in items.items] == [
        ("0", "one"),
        ("2", "three"),
    ]
    assert [(row.sample_id, row.video, row.tags["source"]) for row in items.unusable] == [
        ("1#row1", "v.mp4", "two")
    ]
    assert items.rows == 3


def test_columns_of_an_own_table_are_named_as_for_a_build(tmp_path: Path) -> None:
    table = tmp_path / "own.csv"
    table.write_text("clip,ask,say,kind,site\na.mp4,Is it red?,yes,free-form,here\n")
    named = {"video": "clip", "question": "ask", "answer": "say", "problem_type": "kind", "source": "site"}
    with pytest.raises(UsageError, match="name it with --columns answer=COLUMN"):
        read_items([table], CUSTOM)
    (item,) = read_items([table], CUSTOM, columns=named).items
    assert (item.question.video, item.question.question, item.question.answer) == (
        "a.mp4",
        "Is it red?",
        "yes",
    )
    assert dict(item.tags) == {"source": "here", "question type": "free-form"}
    with pytest.raises(UsageError, match="for --benchmark own, not videomme"):
        read_items([table], VIDEOMME, columns=named)


def test_a_breakdown_by_two_tags_is_their_product() -> None:
    tags = tags_of(TEMPCOMPASS, {"dimension": "speed"}, Path("yes_no.json"))
    assert tags == {"task": "yes_no", "dimension": "speed", "task × dimension": "yes_no × speed"}
    assert tags_of(TEMPCOMPASS, "no row", Path("yes_no.json")) == {}


def test_the_first_text_or_whole_number_of_the_named_fields() -> None:
    row = {"a": None, "b": {"c": "deep"}, "n": 7, "flag": True, "empty": ""}
    assert text_of(row, "a", "b.c") == "deep"
    assert text_of(row, "empty", "n") == "7"
    assert text_of(row, "flag", "missing", "b") == ""


def test_absolute_paths_lie_below_the_data_root(tmp_path: Path) -> None:
    table = tmp_path / "own.csv"
    table.write_text(
        f"video,question,answer\n{tmp_path}/a.mp4,Is it red?,yes\n/elsewhere/b.mp4,Is it red?,no\n"
    )
    items = read_items([table], CUSTOM, None, tmp_path)
    assert [item.question.video for item in items.items] == ["a.mp4"]
    assert f"leaves the data root {tmp_path}" in items.unusable[0].message
