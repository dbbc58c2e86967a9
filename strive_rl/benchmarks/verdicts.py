"""What an output answers, and whether that is surely right, surely wrong, or only for a judge to tell.

Outputs need not follow any form. Total functions: any text gives an answer, or None where it is absent,
empty or ambiguous. An open answer is surely right where all of it equals the truth once only its form is
normalised. No sign is lost (n! is not n, C# is not C), and no part of an answer counts: an empty answer is a
part of every truth, and a list of guesses holds every truth.

At the end what official rules share. The authors' code knows no answer form: it expects an answer and nothing
else. An output in the form that this project trains (`<think>…</think><answer>…</answer>`) is therefore read
from its `<answer>`; any other output is read as it is, end tokens aside.

Video-R1 on its evaluation files: the first `<answer>`, else the whole output, equal to the truth after
stripping; numbers by `float` once commas are gone, MRA with a strict < in single precision; no rule for other
types. The mean is over questions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from strive_data.annotations.numbers import fold_number_text, parse_number
from strive_rl.answers.accuracy import outside_thoughts
from strive_rl.answers.choice import read_choice
from strive_rl.answers.statements import conclusion, plain_text, read_number, statements
from strive_rl.benchmarks.items import OFFICIAL, ROBUST, Convention, Item, Tags, Verdict

END_TOKENS = ("</s>", "<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<eos>")
OPEN_FORM = "The final answer is a number with its unit, or a few words, and nothing else."

ARTICLE = re.compile(r"\A(?:an?|the)\s+(?=[^\W\d_]{2})", re.IGNORECASE)
# "Depth-First Search (DFS)", "triboelectric (static electricity)"; not "f(x)" or "sin (x)".
EXPLAINED = re.compile(
    r"(?P<name>[^\W\d_][^\W\d_ '-]*(?:[ '-]+[^\W\d_]+)*)\s+\((?P<gloss>[^\W\d_]{2,}(?:[ -][^\W\d_]{2,})*)\)"
)
SHORTEST_NAME = 4
QUOTES = str.maketrans("‘’“”", "''\"\"")
SPOKEN_QUOTE = re.compile(r"(?<!\d)\"")
PLAIN_POWER = re.compile(r"\^\(([+-]?\d+)\)")
# Words whose case says nothing: not WHO, NaCl or mW.
WORD = re.compile(r"(?<![^\W_])[^\W\d_](?=[^\W\d_]{2})[a-zß-ÿ]+(?![^\W_])")
CURRENCY = re.compile("[$€£¥¢]")


def without_end_tokens(output: str) -> str:
    """The output as the model wrote it, not stripped."""
    for token in END_TOKENS:
        output = output.replace(token, "")
    return output


def final_text(output: str) -> str:
    """The part of an output in which its final answer is, stripped; "" where it never got that far.

    The last `<answer>` outside of a thought, closed or at the very end (a stop string eats the closing tag);
    else all that is outside of a thought.
    """
    text = outside_thoughts(without_end_tokens(output))
    _, opened, rest = text.rpartition("<answer>")
    return rest.partition("</answer>")[0].strip() if opened else text.strip()


def choice(output: str, options: Sequence[str]) -> str | None:
    """Letter of the one option ("A. text") that an output settles on."""
    return read_choice(final_text(output), options)


def one_number(output: str) -> Fraction | None:
    """The one number that an output settles on, units aside."""
    return read_number(final_text(output))


def letter_verdict(letter: str | None, item: Item) -> Verdict:
    """1 for the right letter, 0 for another one and for none ("" is none)."""
    return Verdict(value=float(letter == item.question.answer), extracted=letter or None)


def choice_verdict(output: str, item: Item) -> Verdict:
    """1 for the right letter, 0 for another one and for none that can be read."""
    return letter_verdict(choice(output, item.question.options), item)


def letter_or_open(output: str, item: Item) -> Verdict:
    """Verdict on the letter of a multiple-choice question, or on the open answer."""
    if item.question.problem_type == "multiple choice":
        return choice_verdict(output, item)
    return open_verdict(output, item)


def open_verdict(output: str, item: Item) -> Verdict:
    """1 for the truth itself; 0 for no answer, and for another number where the truth is one; else None."""
    text = final_text(output)
    truth, wanted = item.question.answer, parse_number(item.question.answer)
    answers = [stated(text), conclusion(plain_text(fold_number_text(text)))]
    extracted = answers[0]
    if not re.search(r"\w", extracted) and normalised(extracted) != normalised(truth):
        return Verdict(value=0.0, extracted=None)
    if any(normalised(answer) in accepted(truth) for answer in answers):
        return Verdict(value=1.0, extracted=extracted)
    value = None if wanted is None else one_number(text)
    if wanted is None or value is None or not set(CURRENCY.findall(normalised(truth))) <= set(text):
        return Verdict(value=None, extracted=extracted)
    return Verdict(value=_number_verdict(value, wanted), extracted=extracted)


def _number_verdict(value: Fraction, wanted: Fraction) -> float | None:
    """1 where both are equal to 2 decimals and to 1 %, else 0; None where they may differ in scale alone
    (percent, thousands)."""
    if round(value, 2) == round(wanted, 2) and 100 * abs(value - wanted) <= abs(wanted):
        return 1.0
    ratio = value / wanted if wanted else Fraction(0)
    scaled = ratio in {Fraction(10) ** power for power in (-9, -6, -3, -2, 2, 3, 6, 9)}
    return None if scaled else 0.0


def stated(text: str) -> str:
    """What follows the last "answer is" or "Answer:" on its line, else the whole text; without markup."""
    plain = plain_text(fold_number_text(text))
    said = [one.rest for one in statements(plain, frozenset()) if not one.weak and one.rest.strip()]
    return said[-1].strip().partition("\n")[0].strip() if said else plain


def normalised(text: str) -> str:
    """A text up to its form: spacing, quotes and markup, a first article, a final stop, the case of words.

    Case counts in words of one or two letters (mW, MW).
    """
    plain = plain_text(fold_number_text(text)).translate(QUOTES).removeprefix("answer: ")
    plain = PLAIN_POWER.sub(r"^\1", SPOKEN_QUOTE.sub(" ", plain))
    plain = " ".join(plain.split()).rstrip("。").removesuffix(".").strip()
    while len(plain) > 1 and plain[0] == plain[-1] == "$":
        plain = plain[1:-1].strip()
    return WORD.sub(lambda word: word[0].casefold(), ARTICLE.sub("", plain))


def open_form(text: str) -> str:
    """The normal form of the answer that a text states: open answers with equal forms are the same."""
    return normalised(stated(text))


def accepted(truth: str) -> set[str]:
    """Forms of a truth: itself; of "Depth-First Search (DFS)" also the name and a short form in capitals."""
    forms = {normalised(truth)}
    explained = EXPLAINED.fullmatch(truth.strip())
    if explained and len(explained["name"]) >= SHORTEST_NAME:
        forms.add(normalised(explained["name"]))
        if explained["gloss"].isupper():
            forms.add(normalised(explained["gloss"]))
    return forms - {""}


UNCHECKED = (
    "The official rule follows the authors' code. It was not checked against published outputs and totals."
)
FORM_TAGS = ("<answer>", "<think>", "</think>")
ANSWER = re.compile(r"<answer>\s*(.*?)\s*</answer>", re.DOTALL)
STEP, FIRST, COUNT = 0.05, 0.5, 10
EPSILON = np.float32(1e-8)


def bare_output(output: str) -> str:
    """The output without end tokens, not stripped; the content of `<answer>` where it has the answer form."""
    has_form = any(tag in output for tag in FORM_TAGS)
    return final_text(output) if has_form else without_end_tokens(output)


def video_r1_score(output: str, item: Item) -> Verdict | None:
    """Verdict on one output; None for types that Video-R1's evaluation files do not hold."""
    found = ANSWER.search(output)
    answer = (found[1].strip() if found else "") or output.strip()
    truth, kind = item.question.answer, item.question.problem_type
    if kind not in ("multiple choice", "numerical", "regression"):
        return None
    if not answer:
        value = 0.0
    elif kind == "multiple choice":
        value = float(answer == truth.strip())
    elif kind == "numerical":
        value = _equal_numbers(answer, truth)
    else:
        value = strict_mra(_float(answer), _float(truth))
    return Verdict(value=value, extracted=answer or None)


def strict_mra(value: float | None, truth: float | None) -> float:
    """Share of θ ∈ {.50, …, .95} with |value − truth|/(|truth| + 1e-8) < 1 − θ, in float32 as they do it."""
    if value is None or truth is None:
        return 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        error = np.abs(np.float32(value) - np.float32(truth)) / (np.abs(np.float32(truth)) + EPSILON)
        thresholds: npt.NDArray[np.float32] = (FIRST + STEP * np.arange(COUNT)).astype(np.float32)
        return float((error < np.float32(1) - thresholds).mean())


def _equal_numbers(answer: str, truth: str) -> float:
    """Both with a decimal sign or both without, and equal once rounded to 2 decimals."""
    signs = [("." in text) or ("," in text) for text in (answer, truth)]
    ours, theirs = _float(answer), _float(truth)
    if signs[0] != signs[1] or ours is None or theirs is None:
        return 0.0
    return float(round(ours, 2) == round(theirs, 2))


def _float(text: str) -> float | None:
    try:
        return float(text.replace(",", ""))
    except ValueError:
        return None


VIDEO_R1 = Convention(
    name="video_r1",
    score=video_r1_score,
    note="Video-R1's evaluation: exact answer in the first <answer>, strict < in MRA, mean over questions",
)


def letter_conventions(
    official: Callable[[str, Item], Verdict],
    note: str,
    strata: Callable[[Tags], tuple[str, str]] | None = None,
) -> tuple[Convention, ...]:
    """The three conventions of a benchmark of options: the authors' rule, this project's, Video-R1's."""
    robust = "the option that the answer names; unreadable is wrong" + ("; mean over tasks" if strata else "")
    return (
        Convention(name=OFFICIAL, score=official, strata=strata, note=note),
        Convention(name=ROBUST, score=choice_verdict, strata=strata, note=robust),
        VIDEO_R1,
    )
