from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from strive_data.errors import UsageError
from strive_rl import distributed, journal
from strive_rl.benchmark_eval import ledger


def line(sample_id: str, sampler: str = "uniform", **more: object) -> dict[str, object]:
    return {"sample_id": sample_id, "sampler": sampler, **more}


@pytest.fixture
def as_rank(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Makes this process one of two, as torchrun would."""

    def be(rank: int) -> None:
        monkeypatch.setattr(distributed, "rank", lambda: rank)
        monkeypatch.setattr(distributed, "world_size", lambda: 2)

    return be


def test_lines_of_all_processes_are_settled_and_a_failure_is_so_for_every_sampler(
    tmp_path: Path, as_rank: Callable[[int], None]
) -> None:
    ledger.write(tmp_path, ledger.FAILURES, [line("c", ""), line("d", "peaks")])
    as_rank(0)
    ledger.write(tmp_path, ledger.PREDICTIONS, [line("a")])
    as_rank(1)
    ledger.write(tmp_path, ledger.PREDICTIONS, [line("b", "peaks")])
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "failures.jsonl",
        "predictions.rank000.jsonl",
        "predictions.rank001.jsonl",
    ]
    assert ledger.read_ledger(tmp_path).settled(("uniform", "peaks")) == {
        ("a", "uniform"): True,
        ("b", "peaks"): True,
        ("c", "uniform"): False,
        ("c", "peaks"): False,
        ("d", "peaks"): False,
    }


def test_a_line_that_was_cut_short_is_cut_off_before_others_follow(tmp_path: Path) -> None:
    file = tmp_path / "predictions.jsonl"
    ledger.write(tmp_path, ledger.PREDICTIONS, [line("a"), line("b")])
    file.write_bytes(file.read_bytes()[:-9])
    assert list(ledger.read_ledger(tmp_path).answers) == [("a", "uniform")]
    ledger.mend(tmp_path)
    ledger.write(tmp_path, ledger.PREDICTIONS, [line("b")])
    assert list(ledger.read_ledger(tmp_path).answers) == [("b", "uniform"), ("a", "uniform")]


def test_one_file_takes_the_place_of_all_in_the_order_given(
    tmp_path: Path, as_rank: Callable[[int], None]
) -> None:
    ledger.write(tmp_path, ledger.PREDICTIONS, [line("a", n=2)])
    for rank, some in enumerate((["c", "a"], ["b", "x"])):
        as_rank(rank)
        ledger.write(tmp_path, ledger.PREDICTIONS, [line(i, n=1) for i in some])
    order = {("a", "uniform"): 0, ("b", "uniform"): 1, ("c", "uniform"): 2}
    lines = ledger.merge(tmp_path, ledger.PREDICTIONS, order)
    assert [one["sample_id"] for one in lines] == ["a", "b", "c", "x"]
    assert lines[0]["n"] == 2  # what stands first is kept: the file before those of the processes
    assert [path.name for path in tmp_path.iterdir()] == ["predictions.jsonl"]
    before = (tmp_path / "predictions.jsonl").read_bytes()
    assert ledger.merge(tmp_path, ledger.PREDICTIONS, order) == lines
    assert (tmp_path / "predictions.jsonl").read_bytes() == before


def test_a_folder_that_was_begun_otherwise_is_refused_with_the_difference(tmp_path: Path) -> None:
    out = tmp_path / "out"
    ledger.open_folder(out, {"model": "a", "settings": {"seed": 0}})
    ledger.write(out, ledger.PREDICTIONS, [line("q0", "uniform")])
    ledger.open_folder(out, {"model": "a", "settings": {"seed": 0}})
    with pytest.raises(UsageError, match=r"begun otherwise \(settings.seed: 0, now 1\)"):
        ledger.open_folder(out, {"model": "a", "settings": {"seed": 1}})
    other = tmp_path / "other"
    other.mkdir()
    (other / "predictions.jsonl").write_text("")
    with pytest.raises(UsageError, match="the files of something else"):
        ledger.open_folder(other, {})


def test_a_folder_without_an_answer_begins_anew(tmp_path: Path) -> None:
    ledger.open_folder(tmp_path, {"model": "no such model"})
    ledger.write(tmp_path, ledger.FAILURES, [line("q0", ledger.EVERY)])
    ledger.open_folder(tmp_path, {"model": "b"})
    assert journal.read_json(tmp_path / ledger.SETTINGS_FILE) == {"model": "b"}
    assert ledger.read_ledger(tmp_path).settled(["uniform"]) == {}
