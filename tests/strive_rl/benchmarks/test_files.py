from __future__ import annotations

from pathlib import Path

import pytest

from strive_data.errors import UsageError
from strive_rl.benchmarks.files import find_annotations
from strive_rl.benchmarks.own import OWN
from strive_rl.benchmarks.registry import BENCHMARKS
from strive_rl.benchmarks.tempcompass import TEMPCOMPASS
from strive_rl.benchmarks.videomme import VIDEOMME
from strive_rl.benchmarks.videommmu import VIDEOMMMU


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
    with pytest.raises(UsageError, match="no annotation of own annotation; name its files by --annotations"):
        find_annotations(OWN, tmp_path)
    with pytest.raises(UsageError, match="absent: no such folder"):
        find_annotations(VIDEOMME, tmp_path / "absent")
    assert all(benchmark.files for name, benchmark in BENCHMARKS.items() if name != "own")
