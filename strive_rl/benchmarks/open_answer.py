"""Open answers by rule: what is surely right by rule, what is surely wrong, and what only a judge can tell.

Right is equality of the whole answer after normalising, never of a part: an empty answer is a part of every
truth, and a list of guesses holds every truth.
"""

from __future__ import annotations

import re
import unicodedata

from strive_data.annotations.numbers import parse_number
from strive_rl.algorithm.plain import WRAPPERS
from strive_rl.algorithm.statements import statements
from strive_rl.benchmarks.item import Item, Verdict
from strive_rl.benchmarks.parsing import choice, final_text, one_number

# The rule of all questions with options: the letter that the output settles on is that of the truth.


def choice_verdict(output: str, item: Item) -> Verdict:
    """1 for the right letter, 0 for another one and for none that can be read."""
    letter = choice(output, item.question.options)
    return Verdict(value=float(letter == item.question.answer), extracted=letter)


OPEN_FORM = "The final answer is a number with its unit, or a few words, and nothing else."
ARTICLES = re.compile(r"\b(?:a|an|the)\b")
PARENTHESES = re.compile(r"\s*\(([^()]*)\)\s*$")
SIGNS = re.compile(r"[^\w\s.%°µ$€£+\-*/^=()<>]")


def letter_or_open(output: str, item: Item) -> Verdict:
    """Verdict on the letter of a multiple-choice question, or on the open answer."""
    if item.question.problem_type == "multiple choice":
        return choice_verdict(output, item)
    return open_verdict(output, item)


def open_verdict(output: str, item: Item) -> Verdict:
    """1 for the truth itself; 0 for no answer, and for another number where the truth is one; else None."""
    answer = stated(final_text(output))
    truth = item.question.answer
    if not normalised(answer):
        return Verdict(value=0.0, extracted=None)
    if normalised(answer) in accepted(truth):
        return Verdict(value=1.0, extracted=answer)
    wanted = parse_number(truth)
    if wanted is not None:
        value = one_number(answer)
        if value is not None:
            return Verdict(value=float(round(value, 2) == round(wanted, 2)), extracted=answer)
    return Verdict(value=None, extracted=answer)


def stated(text: str) -> str:
    """What follows the last "answer is" or "Answer:" on its line; the whole text without one."""
    said = [one.rest for one in statements(text, frozenset()) if not one.weak]
    if not said:
        return text.strip()
    return said[-1].strip().partition("\n")[0].strip(WRAPPERS)


def normalised(text: str) -> str:
    """Case, accents of form (², full width), articles, quotes, spacing and a final stop aside."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    bare = ARTICLES.sub(" ", SIGNS.sub(" ", folded))
    return " ".join(bare.split()).strip(" .")


def accepted(truth: str) -> set[str]:
    """Forms of a truth: itself; of "Depth-First Search (DFS)" also what stands before and in the brackets."""
    forms = {normalised(truth)}
    if bracket := PARENTHESES.search(truth):
        forms.add(normalised(truth[: bracket.start()]))
        if bracket[1].isupper():
            forms.add(normalised(bracket[1]))
    return forms - {""}
