"""The option whose words a sentence says: "The man is dunking the basketball." names "dunking a basketball".

Only what is asserted counts: not an option that is denied, doubted, asked about, quoted or set beside
another one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction

from strive_data.annotations.numbers import IN_WORDS, MAKES_ANOTHER, parse_number, spelled_number
from strive_rl.answers.similarity import CJK
from strive_rl.answers.statements import AROUND_NUMBERS, ASSUMED, BEFORE, bare, read_number

WORD = re.compile(rf"[{CJK}]|(?:(?![{CJK}])[^\W_])+(?:[.'’-](?:(?![{CJK}])\w)+)*")
# A number in words; not a part of another one, or of several: "one point three", "one of the four".
SPELLED = re.compile(
    rf"(?P<part>\b(?:point|minus|negative|than|or|of\s+(?:the|these|those))\s)?(?<![\w-])(?!one\b)(?P<words>{IN_WORDS})"
    rf"(?![\w-])(?P<more>\s(?:{MAKES_ANOTHER})\b)?",
    re.IGNORECASE,
)
# Words without which two phrases say the same.
EMPTY = frozenset({
    "a", "an", "the", "is", "are", "was", "were", "be", "been", "being", "am", "his", "her", "their", "its",
    "my", "your", "our", "this", "that", "these", "those", "some", "it", "and", "then",
})  # fmt: skip
# Before an option's words in its sentence, these deny it,
DENIAL = re.compile(
    r"\b(?:not|no|never|neither|nor|without|cannot|unlike|wrong|worst|incorrect|false|(?<!\bby\s)eliminat\w+|exclud\w+|rule\w*"
    r"|instead\s+of|rather\s+than|unlikely|(?<!\bno\s)(?<!without\s)(?<!\ba\s)(?<!any\s)(?<!t\s)doubt(?:s|ed|ful)?|hardly|(?<!\bat\s)least|avoid(?=(?:\W+\w+)?\W*\Z)|(?:all|any|every)\w*\s+but)\b|n['’]t\b|不|没|沒",
    re.IGNORECASE,
)
# and these leave it open: doubts, alternatives, conditions, reasons, and what the question says.
OPEN = re.compile(
    r"\b(?:options?|choices?)\s+(?:are|include|mention)\b|\b(?:unable|unclear|such\s+as|for\s+example|e\.g\.|unsure|uncertain|impossible|difficult|consider|examine|evaluate|think\s+about|"
    rf"{ASSUMED}|"
    r"partial\w*|partly|whether|if|unless|except|could|might|may|maybe"
    r"|perhaps|possibly|either|both|although|though|because|asks?|asked|says?|states|mention\w*|question)\b"
    r"|\bthan\s+(?:\w+\s+)?$|\S\s+or\b|或|吗|嗎|无法|無法|是否",
    re.IGNORECASE,
)
# A subordinate clause ends at its comma, and "but" opens another one.
RESET = re.compile(
    r"(?<!thing )(?<!\ball )\bbut\b|[;，]|\b(?:if|although|though|while|when|since|as)\b[^,]{0,150},",
    re.IGNORECASE,
)
DENIED_BEHIND = re.compile(
    r"\W*(?:(?:not\s+(?:what|shown|seen|visible|present|supported|correct|right|true)|incorrect|wrong|no)\b"
    r"|(?:is|was|are|were|does|do|did|can|could|seems?|has|have)"
    r"(?:n['’]t\b|not\b|\s+(?:not|never|wrong|incorrect|false|unlikely|impossible|absent))|cannot\b|can['’]t\b"
    r"|would\s+(?:not|be\s+(?:wrong|incorrect|false))\b)",
    re.IGNORECASE,
)
BECAUSE = re.compile(r"\A\W*because\s+", re.IGNORECASE)  # it opens an answer to "Why …?"
OPEN_BEHIND = re.compile(r"\W*(?:or\b|/|或)", re.IGNORECASE)
SENTENCE = re.compile(
    r"[^.!?。！？；;\n]*(?:(?:[.!?。！？；;](?![\s'\"”’)」]|\Z))[^.!?。！？；;\n]*)*[.!?。！？；;\n]?['\"”’)」]*"
)
QUOTES = re.compile(r"\"[^\"\n]*\"|“[^”\n]*”|「[^」\n]*」|『[^』\n]*』|(?<!\w)'[^'\n]*'(?!\w)")
# Words that are no answer within a sentence, but only where they open it: "No, the man ...".
# By what they mean: "correct" is the answer "yes", or "true" where that is an option.
SURELY = r"(?:absolutely|certainly|definitely|of\s+course)"
OPENERS = {
    "yes": rf"yes|yeah|yep|true|correct|{SURELY}(?=\W*\Z)|"
    "是的?|对的?|對的?|はい|네|예|sí|oui|ja|да",
    "no": rf"no|nope|not\s+(?:at\s+all|really)|{SURELY}\s+not|"
    "false|incorrect|wrong|否|不是的?|不对|不對|いいえ|아니요|아니오|nein|non|нет",
    "both": "both",
    "neither": "neither|none",
}
OPENER = re.compile("|".join(f"(?P<{name}>{words})" for name, words in OPENERS.items()), re.IGNORECASE)
OPENING = re.compile(
    rf"\W*(?P<lead>(?!(?:{'|'.join(OPENERS.values())})\s*,)(?:[^.,;:!?\n]{{1,80}},|(?:(?:the|this|that)(?:\s+\w+)?|it)(?:\s+is|['’]s))\s+)?"
    rf"(?:{OPENER.pattern})(?:\s*[.,;:!)。，、–—-]|\s*\Z"
    r"|(?(lead)\Z|\s+(?:it|he|she|they|the|there|this|that|in|I|we|you|an?)\b))"
    r"(?![^.!。\n]*(?:\?|\b(?:and|but|or)\s+(?:also\s+)?(?:yes|no)\b\s*(?:[.!]|\Z)))",
    re.IGNORECASE,
)
LETTERED = re.compile(r"(?<!\b[Nn]ot )\b([A-Z])[.)][ \t]")
ENCLOSED = re.compile(r"\(([A-Z])\W*\Z")
# "dunks" and "dunking" are the same word. Options that differ in nothing else are not looked for.
INFLECTION = re.compile(r"(?<=[a-z]{3})(?:ing|ed|es|(?<!s)s|d|e)$")
SHORT = re.compile(r"(?<=\bhe|\bit)'s\Z|(?<=\bshe)'s\Z|(?<=\bthey)'re\Z")
Tokens = tuple[str, ...]


def mentioned_option(text: str, options: Mapping[str, str]) -> str | None:
    """Letter of the one option (words by letter) that the sentences of `text` assert.

    Options that are numbers are named by the one number of the text. Sentences that name different options
    contradict each other.
    """
    numbers = {letter: parse_number(option.strip(AROUND_NUMBERS + "°")) for letter, option in options.items()}
    said_number = [letter for letter, number in numbers.items() if number in _number_of(text)]
    if said_number:
        return said_number[0] if len(said_number) == 1 else None
    for name in [option for option in options.values() if option.endswith(" A")]:  # which is no article
        text = re.sub(re.escape(name), name.replace("\\", r"\\"), text, flags=re.IGNORECASE)
    words = {letter: content_words(option) for letter, option in options.items() if numbers[letter] is None}
    words = {letter: own for letter, own in words.items() if own and list(words.values()).count(own) == 1}
    said, shared = content_words(text), set[str].intersection(*map(set, words.values() or [()]))
    brief = [name for name, own in words.items() if said == tuple(word for word in own if word not in shared)]
    if said and len(brief) == 1 and text.rstrip()[-1:] not in "?？":
        return brief[0]  # "Dunking": of "dunking a ball" and "passing a ball"
    asserted: dict[str, bool] = {}
    for sentence in SENTENCE.findall(LETTERED.sub(r"\1 ", BECAUSE.sub("", text))):
        asserted |= _verdicts(sentence, words)
    named = [letter for letter, is_said in asserted.items() if is_said]
    return named[0] if len(named) == 1 else None


def _number_of(text: str) -> set[Fraction | None]:
    """The one number that a text or its last sentence asserts, in figures or spelled; else none."""
    spoken = [QUOTES.sub(" ", sentence) for sentence in SENTENCE.findall(text) if sentence.strip()]
    said = [
        one for one in spoken if not (OPEN.search(one) or DENIAL.search(one) or one.rstrip()[-1:] in "?？:")
    ]
    for part in ("\n".join(said), said[-1] if said else ""):
        found: set[Fraction | None] = {
            None if match["part"] or match["more"] else Fraction(spelled_number(match["words"]))
            for match in SPELLED.finditer(part)
        }
        if re.search(r"\d", part):
            found.add(read_number(part))
        if len(found) == 1 and None not in found:
            return found
    return set()


def opening_option(text: str, options: Mapping[str, str]) -> str | None:
    """Letter of the "yes" or "no" that the text opens with, in whatever word; what follows explains it."""
    if (match := _opening(text)) is None:
        return None
    means = re.compile(OPENERS[match.lastgroup or ""], re.IGNORECASE)
    named = [letter for letter, option in options.items() if means.fullmatch(bare(option))]
    return named[0] if len(named) == 1 else None


def is_yes_and_no(text: str, options: Mapping[str, str]) -> bool:
    """Whether the text is nothing but both answers of a yes-or-no question: "No. Yes."."""
    said = [bare(one) for sentence in SENTENCE.findall(text) for one in sentence.split(",") if one.strip()]
    words = said if all(map(OPENER.fullmatch, said)) else []
    words = [one for one in words if not re.fullmatch(SURELY, one, re.IGNORECASE)]
    return len({opening_option(one, options) for one in words} - {None}) > 1


def _opening(text: str) -> re.Match[str] | None:
    match = OPENING.match(text)
    lead = (match and match["lead"]) or ""
    aside = match and len(lead.split()) > 1 and re.fullmatch(SURELY, match["yes"] or "", re.IGNORECASE)
    return None if aside or OPEN.search(lead) or DENIAL.search(lead) else match


def content_words(text: str) -> Tokens:
    """The words of a text that carry its meaning, folded; a Chinese or Japanese character is a word."""
    return tuple(word for word, _, _ in _words(text))


def _words(text: str) -> Iterator[tuple[str, int, int]]:
    for match in WORD.finditer(text):
        word = match[0].casefold().replace("’", "'")
        word = word if word in EMPTY else INFLECTION.sub("", SHORT.sub("", word))
        word = word.lstrip("0") or "0" if word.isdigit() else word  # 00:05 is 0:05
        if word not in EMPTY or (match[0] == "A" and text[: match.start()].strip()):  # "Person A"
            yield word, match.start(), match.end()


def _verdicts(sentence: str, options: Mapping[str, Tokens]) -> dict[str, bool]:
    """The options that a sentence asserts (true) or denies ("running, not walking"); it says nothing of one
    that it leaves open, and where it asserts several, none of them."""
    spoken = QUOTES.sub(lambda quote: " " * len(quote[0]), sentence)
    if spoken.rstrip().endswith(("?", "？")):
        return {}
    said = list(_words(spoken))
    verdicts = {}
    for letter, start, end in _maximal(list(_spans([word for word, _, _ in said], options))):
        first, last = said[start][1], said[end - 1][2]
        before = RESET.split(spoken[max(first - BEFORE, 0) : first])[-1] if start else ""
        behind = spoken[last:][:BEFORE]
        if OPENER.fullmatch(spoken[first:last]) and not _opening(spoken):
            return {}
        if (named := ENCLOSED.search(before)) and named[1] != letter:  # "(C) 5:30", which is D
            continue
        if DENIAL.search(before) or DENIED_BEHIND.match(behind):
            verdicts[letter] = False
        elif not OPEN.search(before) and not OPEN_BEHIND.match(behind):
            verdicts[letter] = True
    return verdicts if sum(verdicts.values()) < 2 else dict.fromkeys(verdicts, False)


def _spans(said: Sequence[str], options: Mapping[str, Tokens]) -> Iterator[tuple[str, int, int]]:
    """Where the options' words are: (letter, first word, word behind the last)."""
    places: dict[str, list[int]] = {}
    for place, word in enumerate(said):
        places.setdefault(word, []).append(place)
    for letter, own in options.items():
        for start in places.get(own[0], ()):
            end = start + len(own)
            if tuple(said[start:end]) == own and _may_be_meant(own):
                yield letter, start, end


def _may_be_meant(own: Tokens) -> bool:
    """Whether the words are enough to go by: a lone letter or figure is not."""
    return len(own) > 1 or not (not own or own[0].isdigit() or (len(own[0]) == 1 and own[0].isascii()))


def _maximal(spans: Sequence[tuple[str, int, int]]) -> Iterator[tuple[str, int, int]]:
    """The spans that do not lie within a longer one."""
    for span in spans:
        _, start, end = span
        if not any(a <= start and end <= b and b - a > end - start for _, a, b in spans):
            yield span
