"""Statements of an answer in running text: "the answer is B", "Answer: B", "B is correct", "I guess B". Pure.

A statement that is denied ("not the answer", "incorrect answer: B", "if B is correct") is none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Set
from dataclasses import dataclass

# What may stand around a letter: spaces, quotes, emphasis, brackets of any script, dollar signs.
WRAP = r"[\s\"'`*_$“”‘’«»「」『』【】〔〕\[\]{}<>]*"
WRAPPERS = " \n\t\"'`*_$“”‘’«»「」『』【】〔〕[]{}<>"
WORDS = (
    r"\b(?:answer|option|choice|respuesta(?:\s+correcta)?|réponse|antwort|resposta|risposta|antwoord|cevap|jawaban"
    r"|ответ|정답|답|उत्तर)\b|答案|答え|回答|正解|选项|đáp\s+án|الجواب|الإجابة"
)
VERBS = r"(?:is|would\s+be|should\s+be|must\s+be|es|est|ist|lautet|é|è)"
LINKS = rf"\s*[\"'”*_]*\s*[:=]|\s+[-–—]\s+|\s+{VERBS}\b\s*:?|\s*[是为は]\s*:?"
HEDGE = (
    r"(?:(?:most\s+likely|probably|likely|clearly|definitely|therefore|thus|the|option|choice|letter)\s+)*"
)
STRONG = re.compile(rf"(?:{WORDS})(?P<link>{LINKS})\s*{HEDGE}", re.IGNORECASE)
WEAK = re.compile(r"\b(?:option|choice)\s+", re.IGNORECASE)
GUESSED = re.compile(
    r"\b(?:I(?:['’](?:d|ll)|\s+(?:would|will|must))?\s+(?:guess|say|choose|pick|select|go\s+(?:with|for))"
    r"|my\s+(?:best\s+)?guess\s+(?:is|would\s+be))\b\s*:?\s*(?:that\s+)?(?:it\s+is\s+|it['’]s\s+)?"
    rf"{HEDGE}",
    re.IGNORECASE,
)
PRAISED = re.compile(
    r"(?<![\w'’])\(?(?P<letter>[A-Z])\)?[*_\"']*\s+is\s+(?:(?:definitely|clearly|most\s+likely|probably)\s+)?"
    r"(?:the\s+)?(?:(?:most\s+)?(?:likely|correct|right|best|only)\s+)*(?:answer|option|choice|correct|right)\b"
)
LETTER = re.compile(WRAP + r"\(?([A-Z])(?![^\W_]|['’]\w)")
# "A" and "I" are words, any letter may begin a name: a letter is followed by an end, a sign or a reason.
ENDED = re.compile(
    rf"{WRAP}\)?{WRAP}(?:$|[.,;:!?。，)—–-](?!\w)|\n|\b(?:because|since|as|for|based|due|given)\b|\(|是|です"
    r"|\band\s+(?:the|my|so|this|that|it)\b)",
    re.IGNORECASE,
)
# An alternative that is added after the letter's own clause: "A; alternatively B", "A, but maybe B".
ADDED = re.compile(
    rf"[\s.,;:?!)]*(?:(?:but|and)\s+)?(?:it\s+)?"
    rf"(?:(?:alternatively|perhaps|maybe|possibly|or|also|(?:could|might|may|can)\s+(?:also\s+)?be)\b[\s,:]*)+"
    rf"(?:the\s+|answer\s+|option\s+)*{WRAP}\(?([A-Z])(?![^\W_]|['’]\w)",
    re.IGNORECASE,
)
# Up to here a second letter is an alternative; what is beyond gives reasons.
REASON = re.compile(r"\n|\b(?:because|since|as|while|whereas|not|but|instead|rather)\b", re.IGNORECASE)
ALTERNATIVE = re.compile(
    rf"(?:/|,|&|\bor\b|\band\b|或|和|または)\s*(?:perhaps\s+|maybe\s+|possibly\s+|option\s+)*{WRAP}\(?"
    r"([A-Z])(?![^\W_]|['’]\w)(?!\)?\s+(?:is|was|are|were|would|seems|looks|can|does|did)\b)"
)
REFUSED = re.compile(
    rf"{WRAP}\)?{WRAP}(?:is|was|are|seems)(?:n't|n’t|\s+(?:not|wrong|incorrect|false|unlikely))",
    re.IGNORECASE,
)
DENIED = re.compile(
    r"\b(?:not|never|isn['’]t|wasn['’]t|cannot|can['’]t|neither|nor|wrong|incorrect|false|if|whether|unless|except|eliminate\w*)"
    r"\b(?:\W+\w+){0,2}\W*$",
    re.IGNORECASE,
)
FINAL = re.compile(r"\b(?:final|finally|therefore|thus|hence|conclusion|so)\b", re.IGNORECASE)
SENTENCE_END = re.compile(r"[.!?。]\s|\n")

# Characters around a statement that are looked at: enough for a sentence, and time stays linear.
BEFORE, AFTER = 200, 500


@dataclass(frozen=True, kw_only=True)
class Statement:
    """One statement: the letter it names, "" if none, "?" if several; what follows it; how it is made."""

    letter: str
    rest: str
    final: bool
    weak: bool
    spelled: bool


def statements(text: str, letters: Set[str]) -> Iterator[Statement]:
    """All statements of a text in their order; `letters` are those of the options."""
    found = [(match, False) for match in STRONG.finditer(text)]
    covered = {match.end() for match, _ in found}
    found += [(match, True) for match in GUESSED.finditer(text) if match.end() not in covered]
    covered |= {match.end() for match, _ in found}
    found += [(match, True) for match in WEAK.finditer(text) if match.end() not in covered]
    found += [(match, False) for match in PRAISED.finditer(text) if match["letter"] in letters]
    for match, weak in sorted(found, key=lambda pair: pair[0].start()):
        before = SENTENCE_END.split(text[max(match.start() - BEFORE, 0) : match.start()])[-1]
        if DENIED.search(before):
            continue
        if match.re is PRAISED:
            letter, rest = match["letter"], ""
        else:
            rest = text[match.end() : match.end() + AFTER]
            letter = named_letter(rest, letters)
        link = match["link"] if match.re is STRONG else ""
        final = bool(FINAL.search(before + match[0]))
        yield Statement(letter=letter, rest=rest, final=final, weak=weak, spelled=":" in link or "=" in link)


def named_letter(rest: str, letters: Set[str]) -> str:
    """The letter at the begin of `rest`; "?" where it is one of several, "" where there is none."""
    match = LETTER.match(rest)
    if match is None or match[1] not in letters:
        return ""
    tail = rest[match.end() :]
    if REFUSED.match(tail):
        return ""
    others = {other[1] for other in ALTERNATIVE.finditer(REASON.split(tail)[0])} & letters
    if (added := ADDED.match(tail)) and ENDED.match(tail[added.end() :]):
        others |= {added[1]} & letters
    if others - {match[1]}:
        return "?"
    return match[1] if ENDED.match(tail) else ""
