"""The option whose words a sentence says: "The man is dunking the basketball." names "dunking a basketball".

Only what is asserted counts: not an option that is denied, doubted, asked about, quoted or set beside
another one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from strive_rl.answers.similarity import CJK
from strive_rl.answers.statements import BEFORE

WORD = re.compile(rf"[{CJK}]|(?:(?![{CJK}])[^\W_])+(?:[.'’-](?:(?![{CJK}])\w)+)*")
# Words without which two phrases say the same.
EMPTY = frozenset({
    "a", "an", "the", "is", "are", "was", "were", "be", "been", "being", "am", "his", "her", "their", "its",
    "my", "your", "our", "this", "that", "these", "those", "some",
})  # fmt: skip
# Before an option's words in its sentence, these deny it or leave it open.
DOUBT = re.compile(
    r"\b(?:not|no|never|neither|nor|without|cannot|unable|unclear|unsure|uncertain|impossible|difficult|whether"
    r"|if|unless|instead|rather|except|than|or|could|might|may|maybe|perhaps|possibly|unlike|either|both"
    r"|although|though|while|wrong|incorrect|false|eliminat\w+|exclud\w+|rule\w*|options?\s+(?:are|include)"
    r"|choices?\s+(?:are|include)|asks?|asked|says?|question|suggests?)\b"
    r"|n['’]t\b|不|没|沒|或|吗|嗎|无法|無法|是否",
    re.IGNORECASE,
)
# A subordinate clause ends at its comma, and "but" opens another one.
RESET = re.compile(r"\bbut\b|;|\b(?:if|although|though|while|when|since|as)\b[^,]{0,150},", re.IGNORECASE)
DENIED_BEHIND = re.compile(
    r"\W*(?:(?:not\s+(?:what|shown|seen|visible|present|supported|correct|right|true)|incorrect|wrong|no)\b|(?:is|was|are|were|does|do|did|can|could|seems?|has|have)(?:n['’]t\b|not\b"
    r"|\s+(?:not|never|wrong|incorrect|false|unlikely|impossible|absent))"
    r"|or\b|cannot\b|can['’]t\b|/|或)",
    re.IGNORECASE,
)
SENTENCE = re.compile(
    r"[^.!?。！？；;\n]*(?:(?:[.!?。！？；;](?![\s'\"”’)」]|\Z))[^.!?。！？；;\n]*)*[.!?。！？；;\n]?['\"”’)」]*"
)
CONCLUDES = re.compile(
    r"\s*(?:so|thus|therefore|hence|overall|in\s+conclusion|finally|因此|所以|故)\b", re.IGNORECASE
)
QUOTES = re.compile(r"\"[^\"\n]*\"|“[^”\n]*”|「[^」\n]*」|『[^』\n]*』|(?<!\w)'[^'\n]*'(?!\w)")
# Words that are no answer within a sentence, but only where they open it: "No, the man ...".
OPENERS = frozenset({"yes", "no", "true", "false", "right", "none", "both", "neither", "是", "否"})

Tokens = tuple[str, ...]


def mentioned_option(text: str, options: Mapping[str, str]) -> str | None:
    """Letter of the one option (words by letter) that the sentences of `text` assert.

    Sentences that name different options contradict each other, unless the last one of them concludes.
    """
    words = {letter: content_words(option) for letter, option in options.items()}
    words = {letter: own for letter, own in words.items() if own and list(words.values()).count(own) == 1}
    asserted: dict[str, bool] = {}
    kept = last = ""
    for sentence in SENTENCE.findall(text):
        spans, kept_here = _asserted(sentence, words)
        if spans and sentence.lstrip().casefold().startswith("or "):
            return None
        if spans:
            asserted |= {letter: letter == kept_here for letter in spans}
            kept, last = kept_here, sentence
    named = [letter for letter, said in asserted.items() if said]
    if len(named) == 1:
        return named[0]
    return (kept or None) if CONCLUDES.match(last) else None


def content_words(text: str) -> Tokens:
    """The words of a text that carry its meaning, folded; a Chinese or Japanese character is a word."""
    return tuple(word for word, _, _ in _words(text))


def _words(text: str) -> Iterator[tuple[str, int, int]]:
    for match in WORD.finditer(text):
        word = match[0].casefold().replace("’", "'")
        if word not in EMPTY:
            yield word, match.start(), match.end()


def _asserted(sentence: str, options: Mapping[str, Tokens]) -> tuple[set[str], str]:
    """The options that a sentence names, and the one of them that it asserts, "" for none or several."""
    spoken = QUOTES.sub(lambda quote: " " * len(quote[0]), sentence)
    said = list(_words(spoken))
    spans = list(_maximal(list(_spans([word for word, _, _ in said], options))))
    asks = sentence.rstrip().endswith(("?", "？"))
    return {letter for letter, _, _ in spans}, "" if asks else _kept(spoken, said, spans)


def _kept(spoken: str, said: Sequence[tuple[str, int, int]], spans: Sequence[tuple[str, int, int]]) -> str:
    """The one option that is not denied or doubted ("running, not walking"), "" for none or several."""
    kept = set()
    for letter, start, end in spans:
        first, last = said[start][1], said[end - 1][2]
        before = RESET.split(spoken[max(first - BEFORE, 0) : first])[-1]
        behind = spoken[last:][:BEFORE]
        opener = start == 0
        if (DOUBT.search(before) and not opener) or DENIED_BEHIND.match(behind):
            continue
        kept.add(letter)
    return kept.pop() if len(kept) == 1 else ""


def _spans(said: Sequence[str], options: Mapping[str, Tokens]) -> Iterator[tuple[str, int, int]]:
    """Where the options' words are: (letter, first word, word behind the last)."""
    places: dict[str, list[int]] = {}
    for place, word in enumerate(said):
        places.setdefault(word, []).append(place)
    for letter, own in options.items():
        for start in places.get(own[0], ()):
            end = start + len(own)
            if tuple(said[start:end]) == own and _may_be_meant(own, said, start):
                yield letter, start, end


def _may_be_meant(own: Tokens, said: Sequence[str], start: int) -> bool:
    """Whether a short option is an answer: "yes" opens its sentence, a figure is the only one in it."""
    if own[0] in OPENERS and len(own) == 1:
        return start == 0
    if len(own) == 1 and own[0].isascii() and len(own[0]) == 1 and own[0].isalpha():
        return False
    return not own[0].isdigit() or len(own) > 1 or sum(word[:1].isdigit() for word in said) == 1


def _maximal(spans: Sequence[tuple[str, int, int]]) -> Iterator[tuple[str, int, int]]:
    """The spans that do not lie within a longer one."""
    for span in spans:
        _, start, end = span
        if not any(a <= start and end <= b and b - a > end - start for _, a, b in spans):
            yield span
