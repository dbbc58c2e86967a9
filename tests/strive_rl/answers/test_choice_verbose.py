"""A verbose model's answers, composed: forms × remarks × options, against what they mean."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle, product

import pytest

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
    "The answer is {l}. {t}.\n\nOption ({m}) is not seen. Option ({m}), {u}, is incorrect.",
    "The shape at the top is ({l}).", "The missing one is **{l}**.",
    "Option {m} is partly right.\n\nAnswer: {l}",
    "Let us look at each option:\n({m}) {u}: no.\n\nAnswer: {l}",
    "{m}: incorrect\n{l}: correct", "{m} ❌\n{l} ✅: correct",
    "**Answer:** {l} ✅", "Answer 👉 {l}", "{l} ✔️", "My pick: {l}",
    "I'm going with {l}.",
    "<|begin_of_box|>{l}<|end_of_box|>", "<SUMMARY>A street.</SUMMARY><CONCLUSION>{l}</CONCLUSION>",
    "It appears to be {l}.", "It could be {m}, but {l} is more likely.", "{l} seems to be the best choice.",
    "{l} would be the most accurate answer.", "So it matches {l}.",
    "The most accurate description is {l}. {t}",
    "The correct answer is \"{t}.\" It is seen at the end.", "If one looks closely, it is {t}.",
    "We can say that option {l} is the one that fits.", "Conclusion: {l}", "Final choice → {l}",
    "[Answer] {l}",
    "因此选择{l}选项。", "选项{m}不正确，选项{l}正确。", "{l}项符合题意。", "答：{l}", "【答案】{l}",
    "選択肢{l}が正しいです。",
    "{l}가 정답입니다.", "La respuesta correcta es la {l}.", "La opción correcta es {l}.",
    "La réponse est {l}.",
    "La réponse correcte est la {l}.", "A alternativa correta é a {l}.", "La risposta corretta è {l}.",
    "Правильный вариант: {l}", "Đáp án đúng là {l}.", "الإجابة الصحيحة هي {l}", "\u200b{l}\u200e",
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
    "None of the options ({m}, {l}) is correct.", "The result is not among the options: {t}, {u}.",
    "There may be a mistake in the question. It shows {t}.",
    "It cannot be determined. The options mention {t}.",
    "One might think that the answer is {l}, yet it is dark.", "{l} would be right if it were dark.",
    "If it were dark, {l} would be right.", "{l} ❌", "❌ {l}",
    "The answer is {l}. {u}.", "Answer: {l}) {u}, I think.",
    "Z", "<answer>", "The sign says \"{t}\".", "Answer: {l}\nAnswer: {m}",
)  # fmt: skip


def composed(forms: tuple[str, ...], remarks: tuple[str, ...]) -> Iterator[tuple[str, tuple[str, ...], str]]:
    """(text, options, letter) of each form under the first and last option of each set, remarks in turn."""
    remark = cycle(remarks)
    for options, form in product(OPTION_SETS, forms):
        for place in (0, len(options) - 1):
            own, other = options[place], options[place - 1]
            text = form.format(l=own[0], t=own[3:], m=other[0], u=other[3:])
            yield next(remark).format(text), options, own[0]


def test_verbose_answers_are_read() -> None:
    rows = list(composed(ANSWERS, REMARKS))
    wrong = [row for row in rows if read_choice(row[0], row[1]) not in (row[2], None)]
    unread = [row for row in rows if read_choice(row[0], row[1]) is None]
    assert len(rows) > 1500
    assert wrong == []
    assert len(unread) <= 0.02 * len(rows), unread[:20]


def test_what_is_no_answer_is_never_read() -> None:
    rows = list(composed(NO_ANSWERS, ("{}",)))
    assert len(rows) > 500
    assert [row for row in rows if read_choice(row[0], row[1]) is not None] == []


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("If the seeds are gone, the number of mice decreases. This is because seeds increase it.", "B"),
        ("Although the crowd increases at first, it may be said that it is decreasing.", None),
        ("The crowd decreases. Without music the crowd might increase.", "B"),
        ("The crowd decreases. The crowd does not decrease.", None),
        ("It becomes larger than before, so it is increasing.", "A"),
        ("The number goes up rather than decreasing.", None),
        ("Based on the frames, it increases. Or it decreases.", None),
    ],
)
def test_the_words_of_an_option_in_the_clauses_of_a_sentence(text: str, letter: str | None) -> None:
    assert read_choice(text, ("A. increasing", "B. decreasing", "C. staying the same")) == letter


YES_AND_NO = {
    "A": (
        "Correct.", "That is true, it grows.", "Based on the video, yes, it grows.", "Absolutely.",
        "是的。", "はい、そうです。", "네.", "Sí.", "Ja, es wächst.", "Yep, it grows.", "Of course!",
    ),
    "B": (
        "Incorrect.", "This is wrong.", "Looking at the end, no.", "不是。", "いいえ", "아니요.", "Nein.",
        "Absolutely not.", "Nope.", "No, not at all.", "No. Definitely.", "Of course! No.", "No, false.",
    ),
    None: (
        "If he runs, yes.", "Some may say, no.", "In the video, no man runs.", "It is true that he runs.",
        "No. yes", "Yes. No.", "Certainly! He runs.", "Absolutely no idea.", "Nobody runs, certainly.",
        "Yes, not at all.", "Nope, yes.", "Not really, but yes",
    ),
}  # fmt: skip
RUNS = ("A. Running", "B. Jumping", "C. Swimming")
COUNTS = ("A. 2", "B. 3", "C. 4")
CHARGE = ("A. It increases", "B. It decreases", "C. It cannot be determined")


@pytest.mark.parametrize(
    ("text", "options", "letter"),
    [
        # a walk through the options: settled by its verdicts, nothing where it was cut short
        ("Option A: no. Option B: no. Option C: Swimming. This would need her", RUNS, None),
        (
            "A. Running - Incorrect, no.\nB. Jumping - Incorrect.\nC. Swimming - Correct, she swims.",
            RUNS,
            "C",
        ),
        ("A ✗, B ✓, C ✗", RUNS, "B"),
        ("A - correct", RUNS, "A"),
        ("Option A is true, but so is option B.", RUNS, None),
        ("A is correct, and B is just as likely.", RUNS, None),
        ("B is the answer, since A is wrong and so is C.", RUNS, "B"),
        ("A: Yes, it is.", ("A. No", "B. Yes"), None),
        ("A: Yes, it is.", ("A. Yes", "B. No"), "A"),
        ("A man jumps over the wall: right behind it stands a dog.", ("A. a wall", "B. a man"), None),
        ("Statement A is false. Statement B is true. Statement C is false.", RUNS, "B"),
        ("Choose the correct option:\nA. Running\nB. Jumping\nC. Swimming", RUNS, None),
        # its own next question, as base models go on
        ("The answer is A.\n\nQuestion: How many dogs?\nAnswer: C", RUNS, "A"),
        ("Question: What is she doing?\nAnswer: C", RUNS, "C"),
        # options that are numbers: by the one number of the text, in figures or words
        ("There are three people in total.", COUNTS, "B"),
        ("There are twenty two people.", COUNTS, None),
        ("AC = 2. Then AB = 2 · AC. Let me count: 1, 2 and", COUNTS, None),
        ("- Jump 1: 0:02\n- Jump 2: 0:05\n- Jump 3:", COUNTS, None),
        ('The question asks about "2".', COUNTS, None),
        ("P = 1 - \\frac{1}{3}", ("A. $\\frac{1}{2}$", "B. $\\frac{1}{3}$", "C. $1$"), None),
        ("The length is \\sqrt{3} - 1.", ("A. 1", "B. √{3}"), None),
        # what cannot be known is an answer where an option says so, or where a letter follows
        ("It cannot be determined from the video.", CHARGE, "C"),
        ("We cannot determine it. Therefore the correct option letter is (B).", RUNS, "B"),
        ("I cannot see the video, but people at the beach are often swimming.", RUNS, None),
        # letters
        ("C, not A.", RUNS, "C"),
        ("C seems right: she is in the pool.", RUNS, "C"),
        ("Ruling out A and B, we're left with C.", RUNS, "C"),
        ("Not A. She is clearly jumping.", RUNS, "B"),
        ("What she does is in the water (C).", RUNS, "C"),
        ("The first is compared (A) with the second (C).", RUNS, None),
        ("The clock shows (C) running.", RUNS, None),
        ("\\boxed{\\textbf{(A)}\\ 2-\\frac{\\sqrt{3}}{3}}", ("A. $2-\\frac{\\sqrt{3}}{3}$", "B. √{3}"), "A"),
        ("The pool makes it C.", RUNS, "C"),
        ("I'd lean towards C.", RUNS, "C"),
        ("C is what the last part shows.", RUNS, "C"),
        ("C is partially correct.", RUNS, None),
        ("C is less likely.", RUNS, None),
        ("C is only mentioned in passing.", RUNS, None),
        ("C looks like the best option.", RUNS, "C"),
        *(
            (text, RUNS, "C")
            for text in ("C is my final answer.", "I'd assume the answer is C.", "C is the only one of them.")
        ),
        *(
            (text, RUNS, None)
            for text in ('You said: "C"', "The user wrote: C", "Assume C.", "C is an option")
        ),
        *(
            (text, RUNS, None)
            for text in (
                '"C. Swimming" is one of the options.',
                "C is the final option.",
                "A or C is the answer.",
            )
        ),
        *((text, RUNS, None) for text in ("He claims the answer is C.", "C?!")),
        *((text, ("A. two", "B. three"), "B") for text in ("3", "I count 3", "The answer is 3.")),
        *((text, ("A. two", "B. three"), None) for text in ("2 or 3", "A. 3", "not 3", "33")),
        ("A. three", COUNTS, None),
        ("If it were dark, it would be C.", RUNS, None),
        ('"C. Swimming" is incorrect.', RUNS, None),
        ("Option C mentions swimming.", RUNS, None),
        ("The worst match is C.", RUNS, None),
        ('Option C ("Swimming") is not correct.', RUNS, None),
        ('Option C ("Swimming") would require a pool.', RUNS, None),
        ("Let me think about C.", RUNS, None),
        ("Let's consider option C: Swimming. In the video she", RUNS, None),
        ("C is wrong, and so is B.", RUNS, None),
        ("The answer is C, though A is equally plausible.", RUNS, None),
        ("C instead of A.", RUNS, "C"),
        ("C — she is in the pool.", RUNS, "C"),
        ("the answer is a.", RUNS, "A"),
        ("It is N/A.", RUNS, None),
        ("It is not possible to predict whether she is running.", RUNS, None),
        ("(A) Running: No.\n(B) Jumping: Yes, she is.\n(C) Swimming: No.", RUNS, "B"),
        ("She isn't running. Instead, she is swimming.", RUNS, "C"),
        ("It goes left and then right.", ("A. left", "B. right"), None),
        ("Person C", ("A. Person A", "B. Person B"), None),
        ("The door is opened by person A.", ("A. Person A", "B. Person B"), "A"),
        ("不是A，而是B。", RUNS, "B"),
        ("よって、Bを選びます。", RUNS, "B"),
        ("Aではなく、Bです。", RUNS, "B"),
        ("B选项", RUNS, "B"),
        ("B选项错误", RUNS, None),
        # praise without a noun, a guess, an option that is called an option
        ("It's hard to say, but B seems most likely.", RUNS, "B"),
        ("A is likely wrong.", RUNS, None),
        ("A and B look alike, but B is better because of the pace.", RUNS, "B"),
        ("A is better lit than B.", RUNS, None),
        ("B makes the most sense.", RUNS, "B"),
        ("B would be my guess.", RUNS, "B"),
        ("B seems right but is not.", RUNS, None),
        ("My choice is option B because she jumps.", RUNS, "B"),
        ("Final answer: (B) with high confidence.", RUNS, "B"),
        ("我认为是B。", RUNS, "B"),
        ("我不认为是B。", RUNS, None),
        # what is not so: unreal, denied, doubted, quoted, refused, or said of two
        ("If she moved faster, the answer would be A.", RUNS, None),
        ("If I had to choose, the answer would be A.", RUNS, "A"),
        ("The answer is anything but A.", RUNS, None),
        ("It's anything but running.", RUNS, None),
        ("The least likely option is A.", RUNS, None),
        ("Hardly running.", RUNS, None),
        ("Running would be wrong.", RUNS, None),
        ("I doubt that it is B.", RUNS, None),
        ("It is unlikely to be B.", RUNS, None),
        ('The sign reads "A".', RUNS, None),
        ("I cannot watch videos. A", RUNS, None),
        ("Team B is running while team A is jumping.", RUNS, None),
        # no doubt, not the least, and what follows what is unreal
        ("Without a doubt, the answer is B.", RUNS, "B"),
        ("There is no doubt that the answer is B.", RUNS, "B"),
        ("I don't doubt that the answer is B.", RUNS, "B"),
        ("At least the answer is B.", RUNS, "B"),
        ("She is at least running.", RUNS, "A"),
        ("To avoid the dog, he is running.", RUNS, "A"),
        ("If it was A, he would be outside, so the answer is B.", RUNS, "B"),
        ("If he had run, we would see a track, but the answer is B.", RUNS, "B"),
        ("Looking at the end to see if she would jump, the answer is B.", RUNS, "B"),
        # praise of a thing with that name, of one of two, of others' choice, and what is taken back
        ("Player A is better than player B.", RUNS, None),
        ("Vitamin C makes sense.", RUNS, None),
        ("A or B is likely.", RUNS, None),
        ("Some say A is better.", RUNS, None),
        ("他们认为是A。", RUNS, None),
        ("很多人觉得A。", RUNS, None),
        ("A is my pick for the worst.", RUNS, None),
        ("A would be my guess, or B.", RUNS, None),
        ("B makes sense only if it is dark.", RUNS, None),
        ("A is likely, but B is more likely.", RUNS, "B"),
        ("A makes sense, but B is more accurate.", RUNS, "B"),
        ("The most incorrect statement is A.", RUNS, None),
        ("The most unlikely sequence is A.", RUNS, None),
        ("The answer is A with B.", RUNS, None),
        # words for numbers beside other words
        ("In the second half of the video there are three people.", COUNTS, "B"),
        ("There are three and they are red.", COUNTS, "B"),
        ("There are three over there.", COUNTS, "B"),
        ("- Three people are walking.", COUNTS, "B"),
        ("One point three", COUNTS, None),
        ("One of the four people runs.", COUNTS, None),
        # an answer to "Why …?"
        ("Because he forgot his keys.", ("A. He was late.", "B. He forgot his keys."), "B"),
        # a letter with its own words is that letter, wherever it is said
        ("She isn't jumping, what she does is: C. Swimming", RUNS, "C"),
        ("C. Swimming. A dog is running beside her.", RUNS, "C"),
        ("A. Running. B. Jumping. C. Swimming.", RUNS, None),
        ("(A). Jumping", RUNS, None),
        ("B. Jumping is wrong.", RUNS, None),
        ("选B. Jumping因为她在跳", RUNS, "B"),
        ("A. an apple pie", ("A. an apple", "B. an apple pie"), None),
        ("A. running (No)\nB. jumping (Yes)\nC. swimming (No)", RUNS, "B"),
        ("- A: no run is seen.\n- B: she leaves the ground. ✓", RUNS, "B"),
        ("B. Jumping\n\nC. Swimming is a correct option, but of the pool.", RUNS, None),
        # what sets options against each other
        ("Option B is the best. Options A and C are about the pool.", RUNS, "B"),
        ("Option B captures it better than option A.", RUNS, "B"),
        ("A is tempting, but C is what the video shows.", RUNS, "C"),
        ("By elimination, C.", RUNS, "C"),
        ("It is better than A.", RUNS, None),
        ("The answer is a letter such as A.", RUNS, None),
        ("Answer: A\n\nCorrection: the answer is B.", RUNS, "B"),
        ("Nicht A, sondern B.", RUNS, "B"),
        ("No es la A, sino la B.", RUNS, "B"),
        ("A가 아니라 B입니다.", RUNS, "B"),
        ("A不对。正确的是B。", RUNS, "B"),
        ("Daher ist Option C richtig.", RUNS, "C"),
        # the words of an option, up to what all options share and what links them
        ("Passing.", ("A. passing a ball", "B. dunking a ball"), "A"),
        ("Passing?", ("A. passing a ball", "B. dunking a ball"), None),
        ("A ball.", ("A. passing a ball", "B. dunking a ball"), None),
        (
            "First he runs and then he jumps.",
            ("A. He runs, then he jumps.", "B. He jumps, then he runs."),
            "A",
        ),
        ("This is a report on snow.", ("A. It is a report on snow.", "B. It is a tale."), "A"),
        ("It starts at 00:05.", ("A. 0:05", "B. 0:12"), "A"),
        ("To the right", ("A. left", "B. right"), "B"),
        ("Right, it goes left.", ("A. left", "B. right"), None),
        # yes and no
        ("It grows.\nAnswer: no, as it fades.\nIs it dead?\nAnswer: Yes", ("A. yes", "B. no"), None),
        *((text, ("A. yes", "B. no"), letter) for letter, texts in YES_AND_NO.items() for text in texts),
        ("This statement is false.", ("A. True", "B. False"), "B"),
        ("Yes, but also no.", ("A. yes", "B. no"), None),
        ("No. Whether he is a man cannot be determined.", ("A. yes", "B. no"), "B"),
        ("No answer.", ("A. yes", "B. no"), None),
        ("Yes, it grows? No, it shrinks? I cannot tell.", ("A. yes", "B. no"), None),
        ("He isn't running; he's walking slowly.", ("A. He is running.", "B. He is walking slowly."), "B"),
    ],
)
def test_kinds_of_real_answers(text: str, options: tuple[str, ...], letter: str | None) -> None:
    assert read_choice(text, options) == letter
