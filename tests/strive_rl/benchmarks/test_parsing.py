"""The letter and the number of an output: by hand, scorers' known mistakes, outputs made to mislead."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strive_rl.benchmarks.parsing import choice, final_text, named_letter, one_number, statements

ABCD = frozenset("ABCD")


def named(text: str) -> list[str]:
    return [said.letter for said in statements(text, ABCD) if said.letter]


@pytest.mark.parametrize(
    ("text", "letters"),
    [
        ("The answer is B. The correct option is C.", ["B", "C"]),
        ("the answer is not B", []),
        ("This is not the answer: B", []),
        ("Whether B is correct is open", []),
        ("B is the most likely answer", ["B"]),
        ("nothing", []),
        ("answer: A or C", ["?"]),
    ],
)
def test_statements_in_their_order(text: str, letters: list[str]) -> None:
    assert named(text) == letters


def test_how_a_statement_is_made() -> None:
    first, last = statements("Option A looks fine. So the final answer: B", ABCD)
    assert (first.weak, first.final, first.spelled) == (True, False, False)
    assert (last.weak, last.final, last.spelled, last.letter) == (False, True, True, "B")


@pytest.mark.parametrize(
    ("rest", "letter"),
    [
        ("B", "B"),
        ("(B) since", "B"),
        ("B and C", "?"),
        ("B, and C is wrong", "B"),
        ("B and C are wrong", ""),
        ("B because A or C", "B"),
        ("A man", ""),
        ("B isn't", ""),
        ("B is wrong", ""),
        ("E", ""),
        ("Because", ""),
        ("B's hat", ""),
    ],
)
def test_the_letter_after_a_statement(rest: str, letter: str) -> None:
    assert named_letter(rest, ABCD) == letter


FRUIT = ("A. apples", "B. candles", "C. berries", "D. A man walking")
TEN = tuple(f"{letter}. thing {i}" for i, letter in enumerate("ABCDEFGHIJ"))


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


@pytest.mark.parametrize(
    "output",
    [
        *(
            "B",
            "b",
            "(B)",
            "[B]",
            "**B**",
            "B.",
            "B:",
            "B)",
            "`B`",
            '"B"',
            "“B”",
            "【B】",
            "Ｂ",
            "<b>B</b>",
            "$B$",
        ),
        *(
            "\\boxed{B}",
            "$\\boxed{\\text{B}}$",
            "B. candles",
            "B) Candles.",
            "(B) candles",
            "B - candles",
            "'B'.",
            "B candles",
        ),
        *(
            "candles",
            "Candles.",
            "Answer: B",
            "answer=B",
            "Answer: b",
            "The answer is B.",
            "The answer is (B)",
        ),
        *("The answer is **B**.", "**Answer:** B", "### Answer\nB", "Therefore, the final answer is: $B$"),
        *(
            "The correct option is B: candles",
            "Best option:(B)",
            "My choice is B",
            "The answer is probably B",
        ),
        *("Option B", "B is correct.", "B is the right answer", "the answer is candles", '{"answer": "B"}'),
        *(
            "答案是B",
            "答案：B。",
            "正解はB",
            "La respuesta correcta es B.",
            "La réponse est B",
            "Die Antwort ist B.",
        ),
        *(
            "Ответ: B",
            "الجواب: B",
            "정답: B",
            "回答：B",
            "正确选项是 B",
            "Answer - B",
            "Đáp án: B",
            "B\n\nThe man lit candles.",
            "Let me see.\nApples?\nB",
        ),
        "First the answer is A. So the final answer is B.",
        "Wrong answer: A. Right answer: B",
        "Option A shows x. Option C shows y. The answer is B.",
        "The answer is B, because A and C are wrong.",
        "The answer is B, C is wrong",
        "<think>The answer is A.</think> B",
    ],
)
def test_the_letter_that_an_output_settles_on(output: str) -> None:
    assert choice(output, FRUIT) == "B"


def test_the_mistakes_of_public_scorers_are_not_made() -> None:
    assert choice("The answer is B because Alice did C first", FRUIT) == "B"
    assert choice("B because Alice did C first", FRUIT) == "B"
    assert choice("A man walks by ... the answer is D", FRUIT) == "D"
    assert choice("The answer is A man walking.", FRUIT) == "D"
    assert choice("A man walks by.", FRUIT) is None
    assert choice("", FRUIT) is None
    assert choice("A dog runs. I see candles being lit. B", FRUIT) is None
    assert choice("I am sure of it", TEN) is None
    assert choice("The answer is I.", TEN) == "I"


@pytest.mark.parametrize(
    "output",
    [
        *(
            "",
            " ",
            "\n",
            "None",
            "I don't know",
            "E",
            "The answer is E",
            "ABC",
            "BB",
            "?",
            "()",
            '""',
            "****",
            "<answer>",
        ),
        *(
            "A or B",
            "A, B",
            "A/B",
            "A and B",
            "The answer is A or B",
            "The answer is B or (C)",
            "Answer: A, B",
        ),
        *("The answer is: A) apples or B) candles", "Both A and B are correct", "The answer is both A and B"),
        *(
            "The answer is not B.",
            "It is not B",
            "Incorrect answer: B",
            "B is not the answer",
            "If B is correct, then",
        ),
        *("The answer is A and the answer is B", "The answer is A\nor B", "The answer is A; alternatively B"),
        *("The answer is A, but it could also be B", "Answer: A. Or maybe (B).", "Answer - A or B"),
        *("The answer is A. No wait, the answer is C.", "Answer: A\nAnswer: B", "A\nB", "B. apples"),
        *(
            "A. apples\nB. candles\nC. berries",
            "Options: A B C D",
            "The answer is A-frame",
            "The answer is D.C.",
        ),
        *(
            "It is definitely not apples",
            "apples and candles",
            "not candles",
            "The answer is A man.",
            "<think>B",
        ),
    ],
)
def test_what_is_absent_denied_or_ambiguous_is_no_answer(output: str) -> None:
    assert choice(output, FRUIT) is None


LETTERS = st.sampled_from("ABCD")
WRAPPED = st.sampled_from(
    [
        "{}",
        "({})",
        "[{}]",
        "**{}**",
        "{}.",
        "{})",
        '"{}"',
        "“{}”",
        "`{}`",
        "\\boxed{{{}}}",
        "【{}】",
        " {}\n",
        "{}</s>",
    ]
)
STATED = st.sampled_from(
    [
        "{}",
        "The answer is {}",
        "Answer: {}",
        "答案：{}",
        "La respuesta es {}",
        "Ответ: {}",
        "So, after some thought, the correct option is {}",
        "<think>Perhaps A, B, C or D?</think><answer>{}</answer>",
        "<think>the answer is A</think>\n{}",
        "I looked at all frames.\nFinal answer: {}",
    ]
)


@given(letter=LETTERS, wrapped=WRAPPED, stated=STATED)
def test_a_letter_survives_any_wrapping(letter: str, wrapped: str, stated: str) -> None:
    assert choice(stated.format(wrapped.format(letter)), FRUIT) == letter


@given(
    pair=st.permutations("ABCD"),
    joint=st.sampled_from(
        ["{} or {}", "{} and {}", "{}/{}", "{}, {}", "({}) or ({})", "either {} or {}", "{} & {}"]
    ),
    stated=STATED,
)
def test_two_letters_are_never_an_answer(pair: list[str], joint: str, stated: str) -> None:
    assert choice(stated.format(joint.format(*pair[:2])), FRUIT) is None


@given(st.text(alphabet=" \n\t\"'`*_$()[]{}<>.,:;!?“”【】\\/|-", max_size=40))
def test_signs_alone_are_no_answer(output: str) -> None:
    assert choice(output, FRUIT) is None
    assert one_number(output) is None


@given(
    st.text(max_size=300)
    | st.lists(
        st.sampled_from(
            [
                *"ABCDE",
                "answer",
                "is",
                "option",
                ":",
                "\n",
                "not",
                "or",
                "apples",
                "<answer>",
                "</answer>",
                "<think>",
                "</think>",
                "(",
                ")",
                ".",
            ]
        ),
        max_size=30,
    ).map(" ".join)
)
def test_any_text_gives_a_letter_that_it_holds_or_none(output: str) -> None:
    letter = choice(output, FRUIT)
    assert letter in (None, "A", "B", "C", "D")
    if letter is not None:
        text = dict(zip("ABCD", ("apples", "candles", "berries", "a man walking"), strict=True))[letter]
        assert letter.casefold() in output.casefold() or text in output.casefold()


@pytest.mark.parametrize(
    ("output", "value"),
    [
        *(("3.5 meters", "3.5"), ("4", "4"), ("about 4", "4"), ("The answer is 4.", "4"), ("1,200", "1200")),
        *(
            ("3.2m", "3.2"),
            ("-2", "-2"),
            ("$\\boxed{4}$", "4"),
            ("12.5%", "0.125"),
            ("4 chairs (I count 4)", "4"),
        ),
        ("There are 3 chairs and 2 tables. The answer is 5", "5"),
        ("<think>2 or 3</think><answer>3</answer>", "3"),
        *(
            ("4 or 5", None),
            ("3-4", None),
            ("two", None),
            ("", None),
            ("1 2", None),
            ("10,5", None),
            ("v1.2.3", None),
        ),
    ],
)
def test_the_one_number_of_an_output(output: str, value: str | None) -> None:
    assert one_number(output) == (None if value is None else Fraction(value))


def test_an_option_that_is_a_figure_may_follow_a_statement_and_an_article_may_not() -> None:
    figures = ("A. 1", "B. 2", "C. 3")
    assert choice("The answer is 2", figures) == "B"
    assert choice("The answer is 2 or 3", figures) is None
    assert choice("The answer is a", FRUIT) is None


@pytest.mark.parametrize(
    "part",
    ["answer is ", "answer : ", "option ", "A ", "(", "<answer>", "\\boxed{", "not ", "I guess ", "is A ("],
)
def test_long_and_hostile_outputs_come_to_an_end(part: str) -> None:
    assert choice(part * 10_000, FRUIT) is None
    assert choice(part * 10_000 + "</think>B", FRUIT) in ("B", None)
    assert one_number(part * 10_000) is None


@pytest.mark.parametrize(
    "output",
    [
        *("B!", "**B!**", "(B)!", "candles!", "- B", "• B", "- B. candles", "* B"),
        *("I would guess B", "I'd say B.", "I would guess (B) candles", "I’ll go with B", "I pick option B."),
        *("My guess is B", "If I had to guess, I'd say B", "I guess it's B because of the light"),
        *("The answer is B (candles)", "The answer is B (lit candles)", "The answer is B: candles"),
        "I would guess A. No: the answer is B",
    ],
)
def test_lists_calls_and_guesses_are_answers(output: str) -> None:
    assert choice(output, FRUIT) == "B"


@pytest.mark.parametrize(
    "output",
    [
        *("The answer is A (candles)", "The answer is A (the candles).", "Answer: A. Candles"),
        "Answer: A, candles",
        *("The answer is (A) candles", "Option A: candles", "I would guess A (candles)", "- B\n- C"),
        *(
            "I would not guess B",
            "I wouldn't guess B",
            "I would guess A man",
            "I would guess A or B",
            "- apples or B",
        ),
        *("B?", "I guess", "I would say a few words about B"),
    ],
)
def test_a_letter_with_the_words_of_another_option_is_no_answer(output: str) -> None:
    assert choice(output, FRUIT) is None
