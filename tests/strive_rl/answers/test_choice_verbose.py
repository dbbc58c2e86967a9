"""A verbose model's answers, composed: forms × remarks × options, against what they mean."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from strive_rl.answers.choice import read_choice

OPTION_SETS = (
    ("A. dunking a basketball", "B. passing a basketball", "C. dribbling a basketball"),
    ("A. A man is walking.", "B. A dog runs after a ball.", "C. Two people talk.", "D. The street is empty."),
    ("A. from left to right", "B. from right to left", "C. towards the camera", "D. away from the camera"),
    ("A. 2", "B. 3", "C. 4", "D. 12"),
    ("A. $x^2$", "B. $x$", "C. Vitamin C", 'D. the letter "A"'),
    ("A. sitting down and then standing up", "B. standing up and then sitting down", "C. at the same time"),
    ("A. increasing", "B. decreasing", "C. staying the same"),
    ("A. 红色的汽车", "B. 一只猫", "C. 两个人", "D. 蓝色的汽车"),
)

# {l} is the letter of the answer, {t} its words, {m} and {u} those of another option.
ANSWERS = (
    "{l}", "{l}.", "({l})", "**{l}**", "**{l}. {t}**", "{l}. {t}", "({l}) {t}", "{l}) {t}", "{l}: {t}", "{t}",
    "**{l}.** {t}", "**({l})** {t}", "{l} ({t})", "The answer is {l}.", "The correct answer is ({l}).",
    "The correct answer is:\n\n**{l}. {t}**",
    "The best option is {l}. {t}",
    "Answer: {l}",
    "**Answer:** {l}) {t}",
    "Therefore, the answer is **{l}**.",
    "So the answer is $\\boxed{{{l}}}$.", "\\[\\boxed{{\\text{{{l}}}}}\\]",
    "It is {l}.", "I think it's {l}.", "I believe the answer is {l}.",
    "Probably {l}.", "{l}, I think.", "Thus, {l}.",
    "ASSISTANT: {l}", "I would choose option {l}.", "My best guess is {l}.", "The right choice would be {l}.",
    "Based on the video, the answer is ({l}) {t}",
    "Option {l} is correct.", "{l} is the correct answer.",
    "The answer is \"{t}\".", "The correct option is {t}.",
    "答案是{l}。", "答案：{l}", "故选{l}。", "我选择 {l}",
    "正确答案为 {l}", "正解は{l}です。", "Not {m}, so {l}.", "{m} is wrong. The answer is {l}.",
    "Option {m}: not seen.\nOption {l}: seen.\n\n{l}", "The answer is {l}, not {m}.", "Let us see.\n\n{l}",
    "First I thought of {u}.\nFinal answer: {l}", "<b>{l}</b>", "{l} because of the first frames",
    "Answer {l}", "ans {l}", "The right choice here is {l}.", "It should be {l}.", "Yes, {l}.",
    "→ {l}", "=> {l}", "∴ {l}", "Prediction: {l}", "Letter: {l}", "Result: **{l}**", "Solution: ({l})",
    "The option that best matches is {l}.", "Option {l} is the most accurate.",
    "The answer is {l} rather than {m}.",
    "It is not {m}. It is {l}.", "{m} is wrong, {l} is right.", "Not {m} but {l}.",
    "I am confident that it is {l}.",
    "Between {m} and {l}, {l} is the better choice.", "Eliminating {m} leaves {l}.", "{l}选项正确",
    "답은 {l}입니다", "정답: {l}",
)  # fmt: skip
REMARKS = (
    "{}",
    "Looking at all the frames, I can see it well.\n\n{}",
    "{}\n\nThis can be seen in the last frames.",
)
NO_ANSWERS = (
    "", "...", "{l} or {m}", "Either {l} or {m}.", "Both {l} and {m} are correct.",
    "The answer is {l} or {m}.",
    "The answer is {l}. The answer is {m}.", "It is not {l}.",
    "The answer is not {l}.", "{l} is incorrect.",
    "I cannot tell whether it is {l}.",
    "If {l} is correct, then the video is short.", "Is it {l}?",
    "The options are {t}, {u}.", "The options are:\n{l}. {t}\n{m}. {u}",
    "I am sorry, I cannot answer this question.",
    "The question asks about \"{t}\".", "{l}. {u}", "{m}. {t}", "Neither {l} nor {m}.", "{l}/{m}", "{l}, {m}",
    "{t} or {u}", "It is impossible to say whether it is {t} or {u}.", "The video does not show {t}.",
    "答案不是{l}", "{l}还是{m}？", "Wrong answer: {l}", "I wouldn't choose {l}.", "The answer is {l} ({u}).",
    "If it is dark, the answer is {l}; otherwise {m}.", "Response: {l} or {m}", "Yes, {l} or {m}.",
    "Not {m} but {l} or Z.",
    "Result: {l}. Actually {m}.", "It is not {m}. It is not {l}.", "The option that fits is not {l}.",
    "{m} is wrong, {l} is wrong.", "Solution: {l} is wrong.", "답은 {l}가 아닙니다",
    "Z", "<answer>", "The sign says \"{t}\".", "Answer: {l}\nAnswer: {m}",
)  # fmt: skip


def composed(forms: tuple[str, ...], remarks: tuple[str, ...]) -> Iterator[tuple[str, tuple[str, ...], str]]:
    """(text, options, letter) of each form and remark under each option of each set."""
    for options, form, remark in product(OPTION_SETS, forms, remarks):
        for place in (0, len(options) - 1):
            own, other = options[place], options[place - 1]
            text = form.format(l=own[0], t=own[3:], m=other[0], u=other[3:])
            yield remark.format(text), options, own[0]


def test_verbose_answers_are_read() -> None:
    rows = list(composed(ANSWERS, REMARKS))
    wrong = [row for row in rows if read_choice(row[0], row[1]) not in (row[2], None)]
    unread = [row for row in rows if read_choice(row[0], row[1]) is None]
    assert len(rows) > 2000
    assert wrong == []
    assert len(unread) <= 0.02 * len(rows), unread[:20]


def test_what_is_no_answer_is_never_read() -> None:
    rows = list(composed(NO_ANSWERS, ("{}",)))
    assert len(rows) > 500
    assert [row for row in rows if read_choice(row[0], row[1]) is not None] == []
