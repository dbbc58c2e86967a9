from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from strive_data.errors import SettingsError
from strive_rl.benchmarks.rules import BENCHMARKS, find_benchmark
from strive_rl.benchmarks.verdicts import VIDEO_R1, strict_mra, video_r1_score
from tests.strive_rl.benchmarks.made_items import choice_item, item


def theirs(value: float, truth: float) -> float:
    """The formula in torch's single precision, as their evaluation computes it."""
    error = (torch.tensor(value) - torch.tensor(truth)).abs() / (torch.tensor(truth).abs() + 1e-8)
    return float((error < 1 - torch.arange(0.5, 0.975, 0.05)).float().mean())


@given(value=st.integers(0, 400), truth=st.integers(1, 200), tenth=st.booleans())
def test_mra_is_what_torch_computes(value: int, truth: int, tenth: bool) -> None:
    scale = 10 if tenth else 1
    ours = strict_mra(value / scale, truth / scale)
    assert ours == pytest.approx(theirs(value / scale, truth / scale))


def test_an_error_at_a_threshold_is_not_below_it() -> None:
    assert strict_mra(3.0, 4.0) == pytest.approx(0.5)  # .25 is not < .25
    assert strict_mra(4.0, 4.0) == 1
    assert strict_mra(None, 4.0) == 0


@pytest.mark.parametrize(
    ("output", "value"),
    [
        ("<answer>B</answer>", 1),
        ("B", 1),
        ("B.", 0),
        ("<answer>A</answer><answer>B</answer>", 0),
        ("<answer> </answer>B", 0),
        ("", 0),
    ],
)
def test_a_choice_is_the_letter_alone_in_the_first_answer(output: str, value: float) -> None:
    verdict = video_r1_score(output, choice_item("B"))
    assert verdict is not None
    assert verdict.value == value


@pytest.mark.parametrize(
    ("output", "truth", "value"),
    [("5", "5", 1), ("5.0", "5", 0), ("1,200", "1200", 0), ("3.141", "3.14", 1), ("five", "5", 0)],
)
def test_numbers_agree_in_their_decimal_sign_too(output: str, truth: str, value: float) -> None:
    verdict = video_r1_score(output, item(truth, "numerical"))
    assert verdict is not None
    assert verdict.value == value


def test_free_answers_have_no_rule() -> None:
    assert video_r1_score("a dog", item("a dog")) is None
    assert video_r1_score("", item("a dog")) is None


def test_every_benchmark_leads_with_its_own_convention_and_has_video_r1s_beside_it() -> None:
    assert set(BENCHMARKS) == {
        "videomme",
        "tempcompass",
        "videommmu",
        "mmvu",
        "vsibench",
        "perceptiontest",
        "mvbench",
        "longvideobench",
        "mlvu",
        "lvbench",
        "video-holmes",
        "next-gqa",
        "next-gqa-grounded",
        "charades-sta",
        "activitynet-captions",
        "own",
    }
    for name, benchmark in BENCHMARKS.items():
        if name in ("charades-sta", "activitynet-captions", "next-gqa-grounded"):
            continue  # answers are seconds, which Video-R1's rules do not read
        leading = ["accuracy"] if name == "own" else ["official", "robust"]
        assert [convention.name for convention in benchmark.conventions] == [*leading, "video_r1"]
        assert benchmark.conventions[-1] is VIDEO_R1


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(SettingsError, match="did you mean 'videomme'"):
        find_benchmark("video-mme")
