"""Which option a text settles on: our robust reading, of the reward and of the benchmarks alike.

A total function: any text gives the letter of one option, or None where the text is empty, denies, refuses,
asks, contradicts itself, or only lists or quotes options. Mistakes of public scorers that it does not make:
"B because Alice did C first" read as C; the article in "A man" read as option A; an empty answer counted
right; the first word of a chain of thought taken for the answer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from strive_data.annotations.numbers import count_text
from strive_rl.answers.mentions import (
    DENIAL,
    DENIED_BEHIND,
    OPEN,
    SENTENCE,
    is_yes_and_no,
    mentioned_option,
    opening_option,
)
from strive_rl.answers.statements import (
    AFTER,
    ALTERNATIVE,
    BEFORE,
    DENIED,
    END,
    LATIN,
    LONGEST,
    REFUSED,
    WRAPPERS,
    Statement,
    bare,
    plain_text,
    statements,
)

CONTRADICTION = ""

Texts = Mapping[str, str]
"""Options by letter, without it."""

# Tags of a section or of a chat template end what stands before them; pictures say nothing, but for a cross.
TAGS = re.compile(r"</?(?!(?:b|i|u|p|em|strong|code|span|mark)>)[A-Za-z]{2,}>|<\|[^|<>\n]{1,40}\|>")
CHECK = re.compile("[\u2705\u2713\u2714]\ufe0f?(?=[ \t]*(?:[,;.\n]|\\Z))")
CROSS = re.compile("[\u2716-\u2718\u274c\u274e\u26d4\U0001f6ab]")
PICTURES = re.compile("[\ufe0e\ufe0f\u2600-\u27bf\U0001f000-\U0001faff]")
BULLET = re.compile(r"(?:[-–—•·*]\s+|(?:[-=]>|[→⇒➜∴])\s*)(?=\(?[A-Za-z])")
# A letter, the sign behind it, and other words of its line. `sign` is None for "B candles".
HEAD = re.compile(
    rf"(?:[(\[](?P<enclosed>[A-Za-z])[)\]]|(?P<bare>[A-Za-z]){END})(?P<sign>\s*[.):;,、。\]–—-]+|\s*(?=\())?(?P<words>.*)",
    re.DOTALL,
)
EXPLAINS = re.compile(
    r"(?:because|since|as|for|with(?!\s+\(?(?-i:[A-Z])\b)|given|due|based|which|where|I\s+(?:think|believe|guess|would|am)|I['’](?:d|m)|probably"
    r"|most\s+likely|definitely|for\s+sure|not|rather|instead|因为|因為)\b|因|(?:です|选项|選項)[。.]?\Z",
    re.IGNORECASE,
)
# Another option's letter on a line that begins with one: "A. apples. B. candles."
OTHER_HEAD = re.compile(r"(?<!\w)(?:\(([A-Z])\)|([A-Z])[.):](?=\s|$))")
ENDING = re.compile(r"(?<![\w'’/])(?<!\bthan\s)([A-Z])\W*\Z")  # "The evidence supports A."
# Not the letter that somebody else says, nor a unit: "She said A.", 'He replied, "B"', "It was 50% C."
REPORTED = re.compile(
    r"(?<!\bas\s)\b(?:he|she|they|you|user)\s+(?:say|said|think|believe|claim|wrote|write)s?\s+(?:that\s+)?the\s+answer\s+is\s"
    r"\(?[A-Z]\W*\Z|\b(?!(?:I|as|being|been|having|have)\b)\w+\s+(?:said|wrote|shouted|replied|whispered|yelled)"
    r"(?:\s+(?:that\s+)?|:\s*|[,:]?\s*[\"“'‘]+)\(?[A-Z]\W*\Z|\b(?:reads|says|marked|called|named|labell?ed)\s*:?\s*[\"“'‘]+\(?[A-Z]\W*\Z|\d\s*[%°]?\s*[A-Z]\W*\Z",
    re.IGNORECASE,
)
# The text finds none of the options, or cannot say.
UNDECIDED = re.compile(
    r"\b(?:none\s+of\s+the|no\s+(?:correct|right)\s+(?:option|answer|choice)|not\s+(?:listed|(?:in|one\s+of|among)\s+the)"
    r"\s+(?:\w+\s+)?(?:options|choices)|mistake\s+in\s+the\s+(?:question|problem|options)"
    r"|(?:cannot|can['’]t|unable\s+to|(?:not\s+|im)possible\s+to)\s+(?:be\s+)?(?:determined?|say|tell|answer|identify|predict)"
    r"|(?:cannot|can['’]t|unable\s+to)\s+(?:\w+\s+)?(?:see|watch|view|access)\s+(?:(?:any|the|this|your)\s+)?(?:\w+\s+)?(?:videos?|images?|frames?)|无法确定|無法確定)\b",
    re.IGNORECASE,
)
# A walk through the options that ends without a statement has not come to its end.
WALKED = re.compile(r"\b(?:option|choice)\s+\(?([A-Z])\b", re.IGNORECASE)
NEXT = re.compile(r"\n[ \t]*(?:Question|Q):")
LONE = re.compile(r"\b[A-Z]\b")
LEADING = re.compile(r"\(?([A-Z])[.):]+(?:\s|$)")
SENTENCE_STOP = re.compile(r"[.!?。][\"”'’)]*(?:\s|$)|[\"”],")
CLAUSE_STOP = re.compile(r"[.!?。,;](?:\s|$)")
SIGNS = rf"[\s{re.escape(WRAPPERS)}.,:;()–—-]"
ARTICLE = re.compile(r"\A(?:an?|the)\s+")


def read_choice(text: str, options: Sequence[str]) -> str | None:
    """Letter of the one option ("A. text") that `text` settles on.

    A letter with its option's words is that letter. In this order: the whole text is an option, its letter or
    its words; the text states its answer; its first or last line begins with a letter, or it ends in a letter
    alone; its sentences name the words of one option. A step that finds a contradiction ends the reading.
    """
    if found := verbatim_option(text, options):
        return found
    if (more := NEXT.search(text)) and (found := read_choice(text[: more.start()], options)):
        return found  # it went on with a question of its own
    texts = _texts(options)
    shown = CHECK.sub(" - correct", CROSS.sub(" incorrect ", TAGS.sub("\n", text[-LONGEST:])))
    plain = _without_names(_lettered(plain_text(PICTURES.sub("", shown)), texts), texts)
    lines = [line for line in (_unmarked(line) for line in plain.split("\n")) if line]
    if not lines or is_yes_and_no(plain, texts):
        return None
    whole = _of_line(lines[0], texts) if len(lines) == 1 else None
    for reading in (
        _stated(plain, texts),
        whole,
        _of_lines(lines, texts),
        _ending(plain, texts),
        opening_option(plain, texts),
    ):
        if reading is not None:
            return reading or None
    if _is_undecided(plain, texts) or len(set(WALKED.findall(plain))) > 1:
        return None
    counts = {letter: _figures(text) for letter, text in texts.items()}
    return mentioned_option(plain, texts) or (
        mentioned_option(plain, counts) if all(counts.values()) else None
    )


def _figures(text: str) -> str:
    """The number that is the whole of an option, in figures: "3" of "three"; "" of others."""
    return count_text(text) if len(text.split()) == 1 else ""


def _is_undecided(plain: str, texts: Texts) -> bool:
    return bool(UNDECIDED.search(plain)) and not any(map(UNDECIDED.search, texts.values()))


def _texts(options: Sequence[str]) -> Texts:
    """The options' words by letter; "" where they are but the letter of an option, which the letter wins."""
    letters = {option[0] for option in options}
    words = {option[0]: option[2:].strip() for option in options}
    return {letter: "" if bare(text).upper() in letters else text for letter, text in words.items()}


def _lettered(plain: str, texts: Texts) -> str:
    """The text with "(B)" where it says an option with its letter: "B. candles", 'B ("the candles")'."""
    plain = re.sub(r"^(\([A-Z]\))\.", r"\1", plain, flags=re.MULTILINE)
    own = {letter: _unarticled(text) for letter, text in texts.items()}
    for letter, words in own.items():
        said = r"\s+".join(map(re.escape, words.split()))
        longer = [
            re.escape(other.removeprefix(words))
            for other in own.values()
            if other != words == other[: len(words)]
        ]
        mark = rf"\(?[{letter}{letter.lower()}](?!\w){SIGNS}*[.):,(–—-]|(?![AI]){letter}\s"
        option = (
            rf"(?<!{LATIN})(?:{mark}){SIGNS}*(?i:(?:an?\s+|the\s+)?{said})(?!{'|'.join([LATIN, *longer])})"
        )
        plain = re.sub(rf"{option}[\"'”’)\]$*_]*", f"({letter})", plain) if words else plain
    return plain


def _without_names(plain: str, texts: Texts) -> str:
    """The text with small letters where it says an option that holds a letter: "vitamin c"."""
    for text in filter(LONE.search, texts.values()):
        name = re.compile(rf"(?<!\w){re.escape(text)}(?!\w)", re.IGNORECASE)
        plain = name.sub(lambda found: found[0].casefold(), plain)
    return plain


def verbatim_option(text: str, options: Sequence[str]) -> str | None:
    """The option that the whole text is: in full, by its letter, or by its words; spelling before folding."""
    for fold in (str.strip, _folded, bare):
        written = fold(text)
        forms = zip(*((one, one[:1], one[2:]) for one in options), strict=True) if written else ()
        for form in forms:
            same = [part for part in zip(options, form, strict=True) if fold(part[1]) == written]
            if same:
                return same[0][0][0] if len(same) == 1 else None
    return None


def _folded(text: str) -> str:
    return " ".join(text.casefold().split()).removesuffix(".").rstrip()


def _unmarked(line: str) -> str:
    """A line without the marks around it; the quotation marks that an option's own words have may be lost."""
    line = line.strip(WRAPPERS)
    line = BULLET.sub("", line, count=1) if BULLET.match(line) else line
    if line[-2:-1] in WRAPPERS and line[-1:] in (".", "。", "!"):  # 'B'.
        line = line[:-1].strip(WRAPPERS)
    return line.rstrip("! ") if line.endswith("!") else line


def _of_line(line: str, texts: Texts) -> str | None:
    """The option that a line is or begins with; CONTRADICTION where its words are another one's."""
    if line.endswith("?"):
        return None
    found = verbatim_option(line, [f"{letter}.{words}" for letter, words in texts.items()])
    head = HEAD.fullmatch(line)
    if found or head is None:
        return found
    letter = (head["enclosed"] or head["bare"]).upper()
    words, sign = head["words"].strip(), (head["sign"] or "").strip()
    if letter not in texts:
        return None
    if not words:
        return letter
    firm = bool(head["enclosed"]) or sign[:1] in tuple(".):、。];–—-") or words.startswith("(")
    glued = not head["words"][:1].isspace() and not words.startswith("(") and words[:1].isascii()
    if not (firm and not glued) and not EXPLAINS.match(words):
        return None
    refused = REFUSED.match(words) or DENIED_BEHIND.match(words)
    ended = head["enclosed"] and sign[:1] == "."  # "B. candles. Apples are not seen."
    another = not ended and _names_another(words, letter, texts)
    heads = {
        found[1] or found[2] for found in OTHER_HEAD.finditer(words) if not _is_denied(words, *found.span())
    }
    return CONTRADICTION if refused or another or (heads & texts.keys()) - {letter} else letter


def _is_denied(words: str, start: int, end: int) -> bool:
    return bool(DENIED.search(words[max(start - BEFORE, 0) : start]) or REFUSED.match(words, end))


def _unarticled(text: str) -> str:
    return ARTICLE.sub("", bare(text))


def _same(words: str, text: str) -> bool:
    return bool(bare(words)) and _unarticled(words) == _unarticled(text)


def _names_another(words: str, letter: str, texts: Texts) -> bool:
    """Whether the words behind a letter say another option, by its words or by its letter."""
    own, others = bare(texts[letter]), {bare(text) for name, text in texts.items() if name != letter}
    first = re.split(r"[.!?。]\s|\n", words)[0]
    rest = re.sub(rf"(?<!\w){re.escape(own)}(?!\w)", " ", bare(first)) if own else bare(first)
    if not EXPLAINS.match(words) and any(
        _holds(bare(first) if own in text else rest, text) for text in others
    ):
        return True
    count, own_count = count_text(first), _figures(texts[letter])
    if count and own_count and count != own_count and count in map(_figures, texts.values()):
        return True
    return any(
        match[1] in texts and match[1] != letter and not _is_denied(match.string, *match.span())
        for match in ALTERNATIVE.finditer(f", {first}")
    )


def _holds(words: str, text: str) -> bool:
    places = re.finditer(rf"(?<!\w){re.escape(text)}(?!\w)", words) if text else ()
    return any(not DENIED.search(words[max(place.start() - BEFORE, 0) : place.start()]) for place in places)


def _stated(plain: str, texts: Texts) -> str | None:
    """The letter that the text's statements agree on, or the last one concludes with; None without any."""
    made = [(said, _letter_of(said, texts)) for said in statements(plain, texts.keys())]
    if len({letter for said, letter in made if said.listed}) > 1:
        made = [pair for pair in made if not pair[0].listed]
    strong = [pair for pair in made if pair[1] and not pair[0].weak]
    if not strong and _is_undecided(plain, texts):
        return None
    named = strong or [pair for pair in made if pair[1]]
    if not named:
        return None
    last, letter = named[-1]
    first = plain.partition("\n")[0].strip("(). :").upper()
    if not strong and first in texts and first != letter:  # "B", then "A is right, too"
        return CONTRADICTION
    if letter == "?" or (not last.final and any(other != letter for _, other in named)):
        return CONTRADICTION
    return letter


def _letter_of(said: Statement, texts: Texts) -> str:
    """The letter of one statement; "?" where the words behind it are another option's, "" where none is, or a
    list of options is ("Choose the correct option:")."""
    heads = [LEADING.match(line) for line in said.rest.strip().split("\n")[:2]]
    if len({head and head[1] for head in heads} - {None}) > 1:
        return ""
    if spelled := _spelled(said, texts):
        return spelled
    if said.letter in ("", "?"):
        return said.letter
    behind = said.rest.lstrip(WRAPPERS + "(")[1:].lstrip(WRAPPERS + "().:,;–—-").casefold()
    another = any(_opens(behind, text) for letter, text in texts.items() if letter != said.letter)
    return "?" if another else said.letter


def _opens(words: str, text: str) -> bool:
    """Whether the words begin with all of an option's, an article aside."""
    own, end = re.escape(_unarticled(text)), r"(?!\w)[\s\"'”’*_]*(?:[.,;!?)]|\n|\Z)"
    return bool(own and re.match(own + end, ARTICLE.sub("", words)))


def _spelled(said: Statement, texts: Texts) -> str:
    """The letter of the option whose words follow a statement, up to the end of the line or the sentence."""
    if said.letter not in ("", "?") and said.clause == said.rest:
        return ""
    line = said.clause.strip().partition("\n")[0].strip()
    for part in (line, SENTENCE_STOP.split(line)[0], CLAUSE_STOP.split(line)[0]):
        found = [name for name, text in texts.items() if _same(part, text)]
        if len(found) == 1:
            return found[0]
    return ""


def _of_lines(lines: Sequence[str], texts: Texts) -> str | None:
    """The option of the first or the last line, where no other line begins with another one's letter.

    Options that are walked through one a line are settled by one letter that stands alone behind them.
    """
    first, last = _of_line(lines[0], texts), _of_line(lines[-1], texts)
    bodies = [line.strip("(). :") for line in lines]
    lone = {body.upper() for body in bodies if len(body) == 1} & texts.keys()
    leading = {match[1] for line in lines if (match := LEADING.match(line))} & texts.keys()
    ends = {letter for letter in (first, last) if letter is not None}
    if len(ends | leading) == 1:
        return ends.pop() if ends else None
    if len(lone) == 1 and len(lines) > 2 and len(leading - lone) != 1:
        return lone.pop()
    return CONTRADICTION if ends else None


def _ending(plain: str, texts: Texts) -> str | None:
    """The letter that the last sentence ends with, where it is the only one and not denied."""
    sentence = [one for one in SENTENCE.findall(plain[-AFTER:]) if one.strip()][-1].strip()
    match, letters = ENDING.search(sentence), set(LONE.findall(sentence)) & texts.keys()
    if any(pattern.search(sentence) for pattern in (DENIAL, OPEN, REPORTED)) or _is_undecided(plain, texts):
        return None
    return letters.pop() if match and letters == {match[1]} and "?" not in match[0] else None
