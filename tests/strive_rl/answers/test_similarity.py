"""Word error rate and ROUGE by hand, against their definitions, and on long texts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strive_data.schema import Question, Span
from strive_rl.algorithm.reward import reward_of
from strive_rl.answers.accuracy import accuracy_of
from strive_rl.answers.similarity import (
    _common_length,
    recalls,
    rouge_mean,
    split_words,
    temporal_iou,
    word_error_rate,
)

WORDS = st.lists(st.sampled_from("abcd"), max_size=9)


@pytest.mark.parametrize(
    ("words", "truth", "rate"),
    [
        ("energy is", "energy is", 0),
        ("energy was", "energy is", 1 / 2),
        ("energy", "energy is", 1 / 2),
        ("the energy is", "energy is", 1 / 2),
        ("is energy", "energy is", 1),
        ("", "energy is", 1),
        ("a b c d e f", "energy is", 2),
    ],
)
def test_word_error_rate_by_hand(words, truth, rate):
    assert word_error_rate(words.split(), truth.split()) == rate


def edits(ours, theirs):
    if not ours or not theirs:
        return len(ours) + len(theirs)
    replaced = edits(ours[1:], theirs[1:]) + (ours[0] != theirs[0])
    return min(replaced, edits(ours[1:], theirs) + 1, edits(ours, theirs[1:]) + 1)


def common(ours, theirs):
    if not ours or not theirs:
        return 0
    if ours[0] == theirs[0]:
        return 1 + common(ours[1:], theirs[1:])
    return max(common(ours[1:], theirs), common(ours, theirs[1:]))


@given(st.lists(st.sampled_from("ab"), max_size=5), st.lists(st.sampled_from("abc"), min_size=1, max_size=5))
def test_word_error_rate_against_the_recursion(words, truth):
    expected = edits(words, truth) / len(truth)
    ours = word_error_rate(words, truth)
    # From the bound of the lengths on only "at least 1" is promised.
    assert ours == expected or 1 <= ours <= expected


@given(WORDS, WORDS)
def test_common_length_against_the_recursion(words, truth):
    assert _common_length(words, truth) == common(words, truth)


def test_rouge_by_hand():
    # 3 common words of 4 and 3: 6/7; pairs (the cat)(cat sat)(sat down) and (the cat)(cat sat): 4/5; L as 1.
    ours = rouge_mean("The cat sat down.", "the cat sat")
    assert ours == pytest.approx((6 / 7 + 4 / 5 + 6 / 7) / 3)
    # Turned round: all words, no pair, L 1 of 2 and 2.
    assert rouge_mean("cat the", "the cat") == pytest.approx((1 + 0 + 1 / 2) / 3)
    # Repeats count as often as the truth has them: 2·1/(3 + 1).
    assert rouge_mean("cat cat cat", "cat") == pytest.approx(1 / 2)


@pytest.mark.parametrize("text", ["cat", "The cat!", "кошка спит", "猫", "a b c a b c"])
def test_a_right_answer_is_worth_one(text):
    assert rouge_mean(text, text.upper()) == 1


@pytest.mark.parametrize(("text", "truth"), [("", "cat"), ("...", "cat"), ("dog", "cat"), ("cat", "?!")])
def test_nothing_in_common(text, truth):
    assert rouge_mean(text, truth) == 0


@given(st.text(), st.text())
def test_rouge_stays_in_range(text, truth):
    assert 0 <= rouge_mean(text, truth) <= 1


def test_long_texts_are_quick():
    # 20,000 × 2,000 words: seconds of work if every pair of words were compared.
    assert word_error_rate(["a"] * 20_000, ["b"] * 2_000) == 9
    assert rouge_mean("a " * 20_000, "a b " * 1_000) < 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Stop  now!", ["Stop", "now!"]),
        ("出口 Exit在左", ["出", "口", "Exit", "在", "左"]),
        ("東京タワー3F", ["東", "京", "タ", "ワ", "ー", "3F"]),
        ("안녕 하세요", ["안녕", "하세요"]),
        ('**"Stop now"**', ["Stop", "now"]),
        ('"', ['"']),
    ],
)
def test_chinese_and_japanese_are_read_by_character(text: str, words: list[str]) -> None:
    assert split_words(text) == words


def test_a_wrong_character_costs_its_share() -> None:
    assert word_error_rate(split_words("小心地骨"), split_words("小心地滑")) == 1 / 4
    # 4 of 5 characters in common, 3 of 4 pairs.
    assert rouge_mean("一只白猫。", "一只白猫呢") == pytest.approx((8 / 9 + 8 / 9 + 6 / 7) / 3)


ASKED = Question(
    sample_id="1", video="v.mp4", question="When?", answer="10 to 20", problem_type="temporal grounding"
)


@pytest.mark.parametrize(
    ("given_spans", "true", "iou"),
    [
        ([(10, 20)], [(10, 20)], 1.0),
        ([(15, 25)], [(10, 20)], 5 / 15),
        ([(0, 100)], [(10, 20)], 0.1),
        ([(20, 30)], [(10, 20)], 0.0),
        ([(10, 12), (11, 15), (15, 20)], [(10, 20)], 1.0),
        ([(10, 20), (30, 40)], [(10, 20)], 0.5),
        ([(0, 4)], [(0, 2), (3, 5)], 3 / 5),
        ([(12, 12)], [(10, 20)], 0.0),
        ([], [(10, 20)], 0.0),
    ],
)
def test_temporal_iou_by_hand(given_spans: list[Span], true: list[Span], iou: float) -> None:
    assert temporal_iou(given_spans, true) == pytest.approx(iou)
    assert temporal_iou(true, given_spans) == pytest.approx(iou)


@pytest.mark.parametrize("true", [(1.8, 21.9), (0.8, 6.2), (7.1, 18.6), (4.5, 18.3), (3.9, 26.2)])
@pytest.mark.parametrize("given", [(1.8, 11.85), (0.8, 3.5), (7.1, 15.15), (4.5, 11.4), (3.9, 10.59)])
def test_one_span_has_the_iou_of_published_code_to_the_bit(given: Span, true: Span) -> None:
    shared = min(given[1], true[1]) - max(given[0], true[0])
    published = max(shared / (max(given[1], true[1]) - min(given[0], true[0])), 0.0)
    assert temporal_iou([given], [true]) == published


spans = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 60)).map(lambda p: (min(p), max(p))), max_size=5
)


@given(spans, spans)
def test_it_is_the_share_of_whole_seconds(one: list[tuple[int, int]], other: list[tuple[int, int]]) -> None:
    """An oracle that counts seconds one by one."""
    ours, theirs = ({second for a, b in each for second in range(a, b)} for each in (one, other))
    expected = len(ours & theirs) / len(ours | theirs) if ours & theirs else 0.0
    assert temporal_iou(one, other) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("answer", "accuracy"),
    [
        ("10 to 20", 1.0),
        ("<10.0> - <20.0>", 1.0),
        ("**00:10 - 00:20**", 1.0),
        ("The event happens from 10s to 20s.", 1.0),
        ("15 to 25", 1 / 3),
        ("10 to 20; 30 to 40", 0.5),
        ("20 to 10", 0.0),
        ("at 15", 0.0),
        ("I do not know", 0.0),
        ("10 to 20 minutes", 0.0),
    ],
)
def test_the_reward_of_an_answer(answer: str, accuracy: float) -> None:
    assert accuracy_of(answer, ASKED) == pytest.approx(accuracy)
    text = f"<think>x</think><answer>{answer}</answer>"
    assert reward_of(text, ASKED).accuracy == pytest.approx(accuracy)


@given(st.text(max_size=300))
def test_any_answer_has_a_reward(answer: str) -> None:
    assert 0 <= accuracy_of(answer, ASKED) <= 1


def test_recall_counts_the_threshold_itself() -> None:
    assert recalls([0.3, 0.5, 0.69, 1.0]) == {"R@0.3": 1.0, "R@0.5": 0.75, "R@0.7": 0.25}
    assert np.isclose(recalls([0.1])["R@0.3"], 0)
