"""Reading an answer: where it stands in a response, and which option it names.

Each function is total and gives None where the answer is absent, empty or ambiguous; nothing is guessed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

TAGS = ("<think>", "</think>", "<answer>", "</answer>")

# "B", "B.", "(B)", "B) text", "B. text"; a lone letter before a word ("A man ...") is an article instead.
LETTER_FORM = re.compile(r"(?:\(([A-Z])\)|([A-Z])(?=[.):]|$))[.):]?(?:\s+(.+))?", re.DOTALL)
LONE_CAPITAL = re.compile(r"\b[A-Z]\b")


def final_answer(text: str) -> str | None:
    """Content of the last `<answer>`, stripped; None where there is none, or the last one is never closed."""
    _, opened, rest = text.rpartition("<answer>")
    answer, closed, _ = rest.partition("</answer>")
    return answer.strip() if opened and closed else None


def has_form(text: str) -> bool:
    """Whether the whole text is `<think>…</think>` then `<answer>…</answer>`, each once and neither blank."""
    if any(text.count(tag) != 1 for tag in TAGS):
        return False
    head, _, tail = text.strip().partition("</think>")
    tail = tail.strip()
    if not (head.startswith("<think>") and tail.startswith("<answer>") and tail.endswith("</answer>")):
        return False
    return bool(head.removeprefix("<think>").strip() and final_answer(text))


def option_letter(answer: str, options: Sequence[str]) -> str | None:
    """Letter of the one option that `answer` names; `options` in the form "A. text".

    Taken: the capital letter alone ("B", "B.", "(B)"), the exact text of one option with or without its
    letter (case, spacing and a final full stop aside), and the letter with other words after "." or ")"
    unless those words hold another option's text or letter. A letter alone wins over an option whose text is
    that letter.
    """
    texts = {option[0]: _plain(option[2:]) for option in options}
    form = LETTER_FORM.fullmatch(answer.strip())
    letter = (form[1] or form[2]) if form else None
    words = _plain(form[3] or "") if form else ""
    if letter in texts and words in ("", texts[letter]):
        return letter
    spelled = [name for name, text in texts.items() if text and text == _plain(answer)]
    if spelled:
        return spelled[0] if len(spelled) == 1 else None
    if form is None or letter not in texts:
        return None
    others = {name: text for name, text in texts.items() if name != letter}
    named = others.keys() & set(LONE_CAPITAL.findall(form[3]))
    held = any(text and re.search(rf"(?<!\w){re.escape(text)}(?!\w)", words) for text in others.values())
    return None if named or held else letter


def _plain(text: str) -> str:
    return " ".join(text.casefold().split()).removesuffix(".").rstrip()
