"""The letter that a text settles on: by hand, mistakes of public scorers, and properties of any text."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from strive_rl.answers.choice import read_choice
from strive_rl.answers.statements import named_letter, statements

WORDS = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=20).map(
    lambda text: " ".join(text.split())
)
PHRASES = st.lists(
    st.sampled_from(["A", "B.", "man", "the", "$x$", "not", "C)", "2", "runs", "红", "or", *'"()*']),
    min_size=1,
    max_size=5,
).map(" ".join)
OPTIONS = st.lists(WORDS | PHRASES, min_size=2, max_size=6).map(
    lambda texts: tuple(f"{letter}. {text}" for letter, text in zip("ABCDEF", texts, strict=False))
)
FRUIT = ("A. apples", "B. candles", "C. berries", "D. A man walking")
TEN = tuple(f"{letter}. thing {i}" for i, letter in enumerate("ABCDEFGHIJ"))
ABCD = frozenset("ABCD")

IS_B = (
    "B", "b", "(B)", "[B]", "**B**", "B.", "B:", "B)", "`B`", '"B"', "“B”", "【B】", "Ｂ", "<b>B</b>", "$B$",
    "\\boxed{B}", "$\\boxed{\\text{B}}$", "B. candles", "B) Candles.", "(B) candles", "B - candles",
    "'B'.", "B candles", "candles", "Candles.", "Answer: B", "answer=B", "Answer: b", "The answer is B.",
    "The answer is (B)", "The answer is **B**.", "**Answer:** B", "### Answer\nB",
    "Therefore, the final answer is: $B$", "The correct option is B: candles", "Best option:(B)",
    "My choice is B", "The answer is probably B", "Option B", "B is correct.", "B is the right answer",
    "the answer is candles", '{"answer": "B"}',
    "答案是B", "答案：B。", "正解はB", "La respuesta correcta es B.",
    "La réponse est B", "Die Antwort ist B.", "Ответ: B", "الجواب: B", "정답: B", "回答：B", "正确选项是 B",
    "Answer - B", "Đáp án: B", "B\n\nThe man lit candles.", "Let me see.\nApples?\nB",
    "First the answer is A. So the final answer is B.", "Wrong answer: A. Right answer: B",
    "Option A shows x. Option C shows y. The answer is B.", "The answer is B, because A and C are wrong.",
    "The answer is B, C is wrong", "B!", "**B!**", "(B)!", "candles!", "- B", "• B", "- B. candles",
    "* B", "I would guess B", "I'd say B.", "I would guess (B) candles", "I’ll go with B",
    "I pick option B.", "My guess is B", "If I had to guess, I'd say B",
    "I guess it's B because of the light", "The answer is B (candles)", "The answer is B (lit candles)",
    "The answer is B: candles", "I would guess A. No: the answer is B", "**B.** candles",
    "**(B)** candles", "B (candles)", "b. candles", "(b) candles", "The answer is (b).",
    "\\[\\boxed{B}\\]", "\\(\\boxed{B}\\)", "so we get \\boxed{B}.", "It is B.", "I think it's B.",
    "Probably B.", "B, I think.", "Thus, B.",
    "ASSISTANT: B", "B.candles", "The decoration is B. candles",
    "选 B", "我选择 B", "故选B。", "B。", "B、candles", "正確答案為 B",
    "答案是B，因为蜡烛最多。", "A: no apples. C: none. So B.",
    "A. apples are not seen.\nC. berries neither.\nD. no man.\nB",
    "Option A: apples, not shown.\nOption B: candles, shown.\n\nB", "The answer is B. candles",
    "The correct option is **B**: candles", "I believe the answer is B", "It must be B.",
    "So the answer is b", "**Answer: B. candles**", "The video shows candles.",
    "The tree is decorated with the candles.", "the candles", "Most likely B",
    "Therefore, the answer is option B.", "选B", "选择B项", "本题选B", "B是正确的", "应该选B",
    "The answer: **B) candles**", "Based on the video, the correct answer is:\n\n**B. candles**",
    "Final Answer: \\boxed{\\text{B}}", "Final Answer: \\boxed{\\text{(B) candles}}",
    "B - because of the light", "I'd go with (B).", "Looking at the frames, option B fits best.",
    "B: candles", "(B): candles", "Choice B", "Option (B)", "[B] candles", "Answer (B)",
    "The answer would be B", "Answer is B", "Ans: B", "correct option: b", "It's candles.",
    "B is the correct answer since A and C are not shown.", "Candles are the most common.",
    "My answer is B", "The best answer is B.", "Not A, so B.",
    "The answer B", "The letter of the answer is B", "Correct: B", "Sure! B.",
    "The option that describes it is B.",
    "A is wrong. C is wrong. D is wrong. The answer is B.", "It's not apples, it's candles.",
    "They use candles, not apples.", "It's either A or B. I choose B.",
    "###Assistant: B", "As I said, B.", "I said B.", "I'm 100% sure B", "90% sure: B", "Answer 1: B",
    "That being said, B.", "Having said that, B.", "She said hello, so B.",
)  # fmt: skip
IS_NO_ANSWER = (
    "", " ", "\n", "None", "I don't know", "E", "The answer is E", "ABC", "BB", "?", "()", '""', "****",
    "<answer>", "A or B", "A, B", "A/B", "A and B", "The answer is A or B", "The answer is B or (C)",
    "Answer: A, B", "The answer is: A) apples or B) candles", "Both A and B are correct",
    "The answer is both A and B", "The answer is not B.", "It is not B", "Incorrect answer: B",
    "B is not the answer", "If B is correct, then", "The answer is A and the answer is B",
    "The answer is A\nor B", "The answer is A; alternatively B",
    "The answer is A, but it could also be B", "Answer: A. Or maybe (B).", "Answer - A or B",
    "The answer is A. No wait, the answer is C.", "Answer: A\nAnswer: B", "A\nB", "B. apples",
    "A. apples\nB. candles\nC. berries", "Options: A B C D", "The answer is A-frame",
    "The answer is D.C.", "It is definitely not apples", "apples and candles", "not candles",
    "The answer is A man.", "The answer is A (candles)", "The answer is A (the candles).",
    "Answer: A. Candles", "Answer: A, candles", "The answer is (A) candles", "Option A: candles",
    "I would guess A (candles)", "- B\n- C", "I would not guess B", "I wouldn't guess B",
    "I would guess A man", "I would guess A or B", "- apples or B", "B?", "I guess",
    "I would say a few words about B", "It could be A or B", "I cannot tell whether it is candles.",
    "The options are apples, candles, berries.", '"B" or "C"', 'The sign says "candles".',
    "Is it candles?", "Is it B?", "It is not B.", "No candles are seen.", "There are no candles.",
    "I don't know if the answer is B.", "Neither A nor B.", "The question asks about candles.",
    "A man sits there", "A. candles", "The answer is B. The answer is C.", "candles and apples",
    "candles. apples.", "The video does not show candles.", "If it is B, then",
    "I am unable to determine the answer.", "A. apples\nB. candles\nC. berries\nD. A man walking",
    "The options are:\nA. apples\nB. candles", "I can't answer B", "The answer is not A", "B is wrong",
    "B. is incorrect", "(B) is not correct", 'The answer "B" is wrong.', "I would not choose B.",
    "The candles or the apples", "It might be candles or apples", "apples, candles",
    "The answer is either B or C", "B/C", "B, C", "B & C", "A man.", "What is shown? candles?",
    "All of the above", "None of A, B, C", "Rather than B", "instead of candles",
    "The options are B. candles and others",
    "One by one:\nB. candles - not what is shown.\nNothing fits.",
    "She said A.", "The man said B", 'He replied, "B".', "it was 50% C", "It was 50 C.", "It was 20°C",
)  # fmt: skip


@pytest.mark.parametrize("text", IS_B)
def test_the_letter_that_a_text_settles_on(text: str) -> None:
    assert read_choice(text, FRUIT) == "B"


@pytest.mark.parametrize("text", IS_NO_ANSWER)
def test_what_is_absent_denied_or_ambiguous_is_no_answer(text: str) -> None:
    assert read_choice(text, FRUIT) is None


@pytest.mark.parametrize(
    ("text", "options", "letter"),
    [
        ("The answer is B because Alice did C first", FRUIT, "B"),
        ("B because Alice did C first", FRUIT, "B"),
        ("A man walks by ... the answer is D", FRUIT, "D"),
        ("The answer is A man walking.", FRUIT, "D"),
        ("A dog runs. I see candles being lit. B", FRUIT, "B"),
        ("I am sure of it", TEN, None),
        ("The answer is I.", TEN, "I"),
        ("The answer is 2", ("A. 1", "B. 2", "C. 3"), "B"),
        ("The answer is 2 or 3", ("A. 1", "B. 2", "C. 3"), None),
        ("The answer is a", FRUIT, None),
        ("B. running. A man is seen.", ("A. walking", "B. running"), "B"),
        ("B. A man is running.", ("A. walking", "B. running"), "B"),
        ("B. catalogue", ("A. cat", "B. a book"), "B"),
        ("B", ("A. B", "B. A"), "B"),
        ("B.", ("A.", "B."), "B"),
        ("yes", ("A. yes", "B. Yes", "C. no"), "A"),
        ("YES", ("A. yes", "B. Yes", "C. no"), None),
        ("No, nobody does.", ("A. yes", "B. no"), "B"),
        ("There is no man.", ("A. yes", "B. no"), None),
        ("There are 3 people.", ("A. 2", "B. 3"), "B"),
        ("There are 3 people and 4 dogs.", ("A. 2", "B. 3"), None),
        ("Β", FRUIT, None),  # Greek capital beta
    ],
)
def test_letters_articles_and_words(text: str, options: tuple[str, ...], letter: str | None) -> None:
    assert read_choice(text, options) == letter


def test_statements_in_their_order() -> None:
    for text, letters in (
        ("The answer is B. The correct option is C.", ["B", "C"]),
        ("B is the most likely answer", ["B"]),
        ("answer: A or C", ["?"]),
        *((none, []) for none in ("the answer is not B", "This is not the answer: B", "nothing")),
        ("Whether B is correct is open", []),
    ):
        assert [said.letter for said in statements(text, ABCD) if said.letter] == letters, text


def test_how_a_statement_is_made() -> None:
    first, last = statements("Option A looks fine, and the final answer: B", ABCD)
    assert (first.weak, first.listed, first.final) == (True, True, False)
    assert (last.weak, last.listed, last.final, last.letter) == (False, False, True, "B")


@pytest.mark.parametrize(
    ("letter", "rests"),
    [
        ("B", ("B", "(B) since", "B, and C is wrong", "B because A or C")),
        ("?", ("B and C",)),
        ("", ("B and C are wrong", "A man", "B isn't", "B is wrong", "E", "Because", "B's hat")),
    ],
)
def test_the_letter_after_a_statement(letter: str, rests: tuple[str, ...]) -> None:
    for rest in rests:
        assert named_letter(rest, ABCD) == letter, rest


LETTERS = st.sampled_from("ABCD")
WRAPPED = st.sampled_from(
    [
        *(
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
        )
    ]
)
STATED = st.sampled_from(
    [
        *("{}", "The answer is {}", "Answer: {}", "答案：{}", "La respuesta es {}", "Ответ: {}"),
        "So, after some thought, the correct option is {}",
        "I looked at all frames.\nFinal answer: {}",
    ]
)


@given(letter=LETTERS, wrapped=WRAPPED, stated=STATED)
def test_a_letter_survives_any_wrapping(letter: str, wrapped: str, stated: str) -> None:
    assert read_choice(stated.format(wrapped.format(letter)), FRUIT) == letter


@given(
    pair=st.permutations("ABCD"),
    joint=st.sampled_from(
        ["{} or {}", "{} and {}", "{}/{}", "{}, {}", "({}) or ({})", "either {} or {}", "{} & {}"]
    ),
    stated=STATED,
)
def test_two_letters_are_never_an_answer(pair: list[str], joint: str, stated: str) -> None:
    assert read_choice(stated.format(joint.format(*pair[:2])), FRUIT) is None


@given(OPTIONS, st.data())
def test_an_option_in_full_is_always_read(options: tuple[str, ...], data: Any) -> None:
    option = data.draw(st.sampled_from(options))
    texts = [other[3:] for other in options]
    assume(option[3:] and texts.count(option[3:]) == 1 and option not in texts)
    assert read_choice(option, options) == option[0]
    assert read_choice(option[0], options) == option[0]


@given(OPTIONS, st.data())
def test_the_words_of_an_option_are_always_read(options: tuple[str, ...], data: Any) -> None:
    option = data.draw(st.sampled_from(options))
    texts = [other[3:] for other in options]
    # A letter alone, or another option in full, is read as such.
    assume(option[3:] and texts.count(option[3:]) == 1 and option[3:] not in (*"ABCDEF", *options))
    assert read_choice(option[3:], options) == option[0]


@given(
    pair=st.permutations(FRUIT[:3]),
    form=st.sampled_from(
        ["{}. {}", "The answer is {} ({})", "The answer is {}. {}", "({}) {}", "**{}.** {}"]
    ),
    around=st.sampled_from(["{}", "I looked at all frames.\n{}", "{}\nThis is clear."]),
)
def test_a_letter_with_the_words_of_another_option_is_never_read(pair: Any, form: str, around: str) -> None:
    text = around.format(form.format(pair[0][0], pair[1][3:]))
    assert read_choice(text, FRUIT) is None


@given(pair=st.permutations("ABC"), joint=st.sampled_from([". ", "\n", " or ", ", or maybe ", " and "]))
def test_two_statements_that_disagree_are_never_read(pair: list[str], joint: str) -> None:
    assert read_choice(f"The answer is {pair[0]}{joint}the answer is {pair[1]}", FRUIT) is None


@given(
    st.text(max_size=300)
    | st.lists(st.sampled_from([*FRUIT, *"ABCDE", "answer", "is", ":", "\n", "not", "or", "?"])).map(" ".join)
)
def test_any_text_gives_a_letter_or_none(text: str) -> None:
    assert read_choice(text, FRUIT) in (None, *"ABCD")


@pytest.mark.parametrize(
    "option", ["J. L sin $theta $", "B. $A^7$", 'B. Red letter "A".', "A. *", "A. (", "C. C#", "D. _x_"]
)
def test_signs_of_an_option_are_read_as_they_are(option: str) -> None:
    others = tuple(f"{letter}. {letter}{letter}" for letter in "ABCDEFGHIJ" if letter != option[0])
    assert read_choice(option, (*others, option)) == read_choice(option[3:], (*others, option)) == option[0]


HOSTILE = (
    "answer is ",
    "answer : ",
    "option ",
    "A ",
    "(",
    "\\boxed{",
    "not ",
    "I guess ",
    "is A (",
    "apples ",
)
HOSTILE += (". ", "A. ", "A: ", "B) ", "apples, ", "选", "letter ", "if ", "$", "\ufdfa")


@pytest.mark.parametrize("part", HOSTILE)
def test_long_and_hostile_texts_come_to_an_end(part: str) -> None:
    """A policy that loops writes such a text in every completion: it took 16 seconds each."""
    started = time.process_time()
    assert read_choice(part * 10_000, FRUIT) in (None, "A", "B")
    assert time.process_time() - started < 4


NO_CONTENT = ("...", "The", "It is.", "it is the", "And then", "、", "!!!")
NESTED = (("A. red", "B. red car"), ("A. The man", "B. The man sits", "C. The man runs"))


@pytest.mark.parametrize("options", NESTED)
def test_a_text_without_content_names_no_option(options: tuple[str, ...]) -> None:
    """Nor the one whose words are all in the others, of which nothing is left to say."""
    assert [text for text in NO_CONTENT if read_choice(text, options)] == []
