from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

import pytest

from strive_data.errors import FailureKind, SampleError
from tools.fuzz.__main__ import corpus, fuzz, is_wrong, label, print_table
from tools.fuzz.examine import Findings


def findings(errors: int = 0, wrong: tuple[float, ...] = (), changed: tuple[float, ...] = ()) -> Findings:
    return Findings(reader="pyav", frames=3, decode_errors=errors, wrong=wrong, changed=changed)


def test_what_a_person_should_look_at() -> None:
    outcomes = {
        "decoded": findings(),
        "decoded, errors counted": findings(1, (2.0,)),
        "decoded, changed unnoticed": findings(changed=(1.0,)),
        "WRONG": findings(wrong=(2.0,)),
        "no_moov": SampleError(FailureKind.NO_MOOV, "x"),
        "crash": SampleError(FailureKind.CRASH, "x"),
    }
    assert [label(outcome) for outcome in outcomes.values()] == list(outcomes)
    assert [name for name, outcome in outcomes.items() if is_wrong(outcome)] == ["WRONG", "crash"]


def test_the_table_has_a_row_a_way_and_a_sum(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(defaultdict(Counter, cut=Counter(decoded=2, empty=1), zero=Counter(decoded=3)))
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[1:] == [["cut", "2", "1"], ["zero", "3"], ["all", "5", "1"]]


@pytest.mark.slow
def test_eighty_broken_files_give_frames_or_a_reason(shared_data: Path, tmp_path: Path) -> None:
    """No crash, no hang, no wrong frame without an error, of real clips and of bar-coded ones."""
    real = sorted((shared_data / "videos").iterdir())
    seen: Counter[str] = Counter()
    for broken, outcome in fuzz([*real, *corpus(tmp_path)], tmp_path, numbers=range(80), seed=0):
        assert not is_wrong(outcome), f"{broken}: {outcome}"
        seen[label(outcome)] += 1
    assert seen.total() == 80
    assert seen["decoded"] > 5
    assert seen["decoded, errors counted"] > 5
    assert len(seen) >= 6
