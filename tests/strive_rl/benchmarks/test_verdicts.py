"""Where the answer of an output is, the one number that it gives, and what is surely right."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from strive_data.errors import SettingsError
from strive_rl.benchmarks.items import Item, Verdict
from strive_rl.benchmarks.rules import BENCHMARKS, find_benchmark
from strive_rl.benchmarks.verdicts import (
    VIDEO_R1,
    accepted,
    choice,
    choice_verdict,
    final_text,
    normalised,
    one_number,
    open_verdict,
    stated,
    strict_mra,
    video_r1_score,
)
from tests.strive_rl.benchmarks.made_items import choice_item, item

FRUIT = ("A. apples", "B. candles", "C. berries", "D. A man walking")


@pytest.mark.parametrize(
    ("output", "text"),
    [
        ("<think>A?</think><answer> B </answer>", "B"),
        ("<answer>A</answer> no, <answer>C</answer>", "C"),
        ("<think>x</think><answer>B", "B"),
        ("<think>so A</think>\nB", "B"),
        ("<think>the answer is A", ""),
        ("B</s>", "B"),
        (" B<|im_end|>\n", "B"),
        ("<answer></answer>", ""),
        ("<answer>A</answer><answer></answer>", ""),
    ],
)
def test_where_the_final_answer_stands(output: str, text: str) -> None:
    assert final_text(output) == text


@given(st.text(alphabet=" \n\t\"'`*_$()[]{}<>.,:;!?“”【】\\/|-", max_size=40))
def test_signs_alone_are_no_answer(output: str) -> None:
    assert choice(output, FRUIT) is None
    assert one_number(output) is None


NUMBERS = [
    ("3.5 meters", "3.5"), ("4", "4"), ("about 4", "4"), ("The answer is 4.", "4"), ("1,200", "1200"),
    ("3.2m", "3.2"), ("-2", "-2"), ("$\\boxed{4}$", "4"), ("12.5%", "0.125"),
    ("4 chairs (I count 4)", "4"), ("There are 3 chairs and 2 tables. The answer is 5", "5"),
    ("2 here and 3 there, for a total of 5.", "5"), ("Chair 1: left\nChair 2: right\nTotal: 2", "2"),
    ("two", "2"), ("There are twenty-five chairs.", "25"), ("One.", "1"), ("There are four chairs", "4"),
    ("I can see four chairs", "4"), ("So there are about four chairs", "4"),
    ("In total, four chairs", "4"), ("Total distance: 5 m. Speed = 5/2 = 2.5 m/s", "2.5"),
    ("The total time is 4 s.\nv = 20/4 = 5", "5"), ("<think>2 or 3</think><answer>3</answer>", "3"),
    ("−5 m/s", "-5"), ("minus 5", "-5"), ("-$5", "-5"), ("- 5", "-5"), ("- **5**", "5"), ("10³", "1000"),
    ("10**3", "1000"), ("10<sup>3</sup>", "1000"), ("12\\%", "0.12"), ("5k", "5000"),
    ("3.5 meters (11 feet)", "3.5"), ("4 (2 at the table and 2 outside)", "4"), ("5 million", "5000000"),
    ("V = 3 + 5.4 = 8.4", "8.4"), ("180^\\circ", "180"), ("5 months", "5"),
    ("V1 = 3. V2 = 5. Therefore, the final value is 8.4 V.", "8.4"),
]  # fmt: skip
# Among them words that would make another number, or say a number of something else.
NO_NUMBER = [
    "2m50", "a dozen", "two or three chairs", "more than two chairs", "two hundred chairs",
    "not two chairs", "No one is here.", "minus two", "half a dozen", "two-thirds", "one point five",
    "one or two", "one in five", "The answer is one of the two.", "point five", "five per cent",
    "six millionths", "the twenty first", "fourty two", "quarter to six", "ten to the fourth",
    "four by four", "thirty something", "two nine", "non zero", "I cannot tell from the two frames.",
    "The two people above are faster.", "if there were four", "The ten year old boy plays.",
    "They do a high five.", "Are there four chairs?", "number two", "There is one chair and two tables.",
    "I do not know. Four.", "four, but it may be five", "two times two", "four is wrong",
    "There are 4 frames. The answer is four or five.", "Answer - 5", "the answer is -(5)", "<5",
    "2 thirds", "5!", "2 to the power of 2", "13 013", "2 lakh", "5 mn", "—5", "minus -5", "√{2}",
    "So x = 3 or x = 4", "The answer is 4 or 5. So 3 ran.", "4 or 5", "3-4", "", "1 2", "10,5", "v1.2.3",
    "the square root of 2", "minus (5)",
]  # fmt: skip


@pytest.mark.parametrize(("output", "value"), NUMBERS)
def test_the_one_number_of_an_output(output: str, value: str) -> None:
    assert one_number(output) == Fraction(value)


@pytest.mark.parametrize("output", NO_NUMBER)
def test_no_number_or_several_are_not_read(output: str) -> None:
    assert one_number(output) is None


LOOK_ALIKE = [
    ("n!", "n"), ("A ∪ B", "A ∩ B"), ("C#", "C"), ("C++", "C"), ("√x", "x"), ("±a", "a"), ("n^2", "n2"),
    ("f(x)", "f"), ("mW", "MW"), ("A*", "A"), ("f'", "f"), ("[0, 1]", "0, 1"), ("x_1", "x1"), ("a<b", "a b"),
    ("WHO", "who"), ("NaCl", "NACL"), ("SAT", "sat"), ("$5", "€5"), ("£5", "¥5"), ("≥ 5 m", "5 m"),
    ("an x", "x"), ("¬p", "p"), ("sin (x)", "sin"),
]  # fmt: skip


def test_the_right_letter_another_one_and_none() -> None:
    item = choice_item("B")
    assert choice_verdict("The answer is B", item) == Verdict(value=1.0, extracted="B")
    assert choice_verdict("C", item) == Verdict(value=0.0, extracted="C")
    assert choice_verdict("A or B", item) == Verdict(value=0.0, extracted=None)


@pytest.mark.parametrize(
    ("output", "truth"),
    [
        ("Dolly zoom", "Dolly Zoom"),
        ("The answer is: the dolly zoom.", "Dolly Zoom"),
        ("Therefore, the final answer is: Answer: depth-first search", "Depth-First Search (DFS)"),
        ("DFS", "Depth-First Search (DFS)"),
        ("A", "A"),
        ("The answer is A.", "A"),
        ("**hepatitis**", "Hepatitis"),
        (r"\boxed{\text{hepatitis}}", "hepatitis"),
        (r"The answer is $\boxed{\text{hepatitis}}$.", "hepatitis"),
        ("O(n²)", "O(n^2)"),
        ("C#", "C#"),
        ("n!", "n!"),
        ("12.97", "12.97"),
        ("12.974 g", "12.97"),
        ("V1 = 3.1. V2 = 5.3. Therefore, the final value is 8.4 V.", "8.4"),
        ("V = 3 + 5.4 = 8.4", "8.4"),
        ("First 3 is added to 2.\nSo we get 5.", "5"),
        ("The light bends.\nThus, the effect is refraction.", "refraction"),
        ("−5 m/s", "-5"),
        ("$$x^{2}$$", "x^2"),
        ("答案是肝炎。", "肝炎"),
    ],
)
def test_the_truth_itself_is_surely_right(output: str, truth: str) -> None:
    assert open_verdict(output, item(truth)).value == 1


@pytest.mark.parametrize(
    ("output", "truth"),
    [
        ("", "Dolly Zoom"),
        ("...", "Dolly Zoom"),
        ("<answer></answer>", "salt"),
        ("about 13", "12.97"),
        ("0.004", "0.001"),
        ("-5", "5"),
        ("- 5", "5"),
        ("10³", "103"),
    ],
)
def test_no_answer_and_another_number_are_surely_wrong(output: str, truth: str) -> None:
    assert open_verdict(output, item(truth)).value == 0


@pytest.mark.parametrize(
    ("output", "truth"),
    [
        ("a vertigo shot", "Dolly Zoom"),
        ("al", "salt"),
        ("salt, sugar, sand, silver", "salt"),
        ("the", "salt"),
        ("12 or 13", "12.97"),
        ("4 dogs", "two"),
        ("50%", "50"),
        ("5 million", "5"),
        ("√2", "2"),
        ("±5", "5"),
        ("n^2", "2"),
        ("<5", "5"),
        ("≠5", "5"),
        ("-(5)", "5"),
        ("B♭", "B"),
        ("5", "£5"),
        ("yes 👎", "yes"),
        *LOOK_ALIKE,
        *[(truth, output) for output, truth in LOOK_ALIKE],
    ],
)
def test_what_differs_in_a_sign_or_a_word_is_never_surely_right(output: str, truth: str) -> None:
    assert open_verdict(output, item(truth)).value is None


def test_stated_answers_end_with_their_line() -> None:
    assert stated("I see it.\nThe answer is: **salt**\nBye") == "salt"
    assert stated("just salt") == "just salt"


def test_normalising() -> None:
    assert normalised("  The “Faraday’s” Cage. ") == normalised("faraday's cage") == "faraday's cage"
    explained = "triboelectric (static electricity)"
    assert accepted(explained) == {explained, "triboelectric"}


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
    ("output", "item", "value"),
    [
        *((right, choice_item("B"), 1) for right in ("<answer>B</answer>", "B")),
        *((wrong, choice_item("B"), 0) for wrong in ("B.", "<answer> </answer>B", "")),
        ("<answer>A</answer><answer>B</answer>", choice_item("B"), 0),
        *((right, item(truth, "numerical"), 1) for right, truth in (("5", "5"), ("3.141", "3.14"))),
        *((wrong, item("5", "numerical"), 0) for wrong in ("5.0", "five")),
        ("1,200", item("1200", "numerical"), 0),
    ],
)
def test_a_choice_is_the_letter_alone_and_numbers_agree_in_their_decimal_sign(
    output: str, item: Item, value: float
) -> None:
    assert video_r1_score(output, item).value == value


def test_free_answers_have_no_rule() -> None:
    assert video_r1_score("a dog", item("a dog")) is None
    assert video_r1_score("", item("a dog")) is None


def test_every_benchmark_leads_with_its_own_convention_and_has_video_r1s_beside_it() -> None:
    of_seconds = {"charades-sta", "activitynet-captions", "next-gqa-grounded"}
    assert set(BENCHMARKS) == of_seconds | {
        "videomme", "tempcompass", "videommmu", "mmvu", "vsibench", "perceptiontest", "mvbench",
        "longvideobench", "mlvu", "lvbench", "video-holmes", "next-gqa", "own",
    }  # fmt: skip
    for name, benchmark in BENCHMARKS.items():
        if name in of_seconds:
            continue  # which Video-R1's rules do not read
        leading = ["accuracy"] if name == "own" else ["official", "robust"]
        assert [convention.name for convention in benchmark.conventions] == [*leading, "video_r1"]
        assert benchmark.conventions[-1] is VIDEO_R1


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(SettingsError, match="did you mean 'videomme'"):
        find_benchmark("video-mme")
