"""The text of a completion without its markup, and the statements of an answer in it: "the answer is B",
"Answer: B", "B is correct", "I think it's B".

A statement that is denied ("not the answer", "incorrect answer: B", "if B is correct") does not count.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Set
from dataclasses import dataclass
from fractions import Fraction

from strive_data.annotations.numbers import (
    IN_WORDS,
    count_text,
    find_numbers,
    fold_number_text,
    parse_number,
)

LONGEST = 8_000
"""Characters of a text that are searched: answers stand at its end."""

WRAPPERS = " \n\t\"'`*_$“”‘’«»「」『』【】〔〕[]{}<>"
"""What may stand around an answer: spaces, quotes, emphasis, brackets, dollar signs."""

# Innermost braces first: `\boxed{\text{B}}` is opened in two rounds.
TYPEFACE = re.compile(
    r"\\(?:text(?:bf|it|rm|sf|tt)?|math(?:rm|bf|it|sf|cal)|mbox|operatorname)\s*\{([^{}]*)\}"
)
BOXED = re.compile(r"\${0,2}\\f?box(?:ed)?\s*\{((?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*)\}\$*")
DELIMITERS = re.compile(r"\\[()\[\]]|\*\*|`")
LINE_MARKS = re.compile(r"^[ \t]*(?:#{1,6}[ \t]+|[-*•][ \t]+(?=\*\*))", re.MULTILINE)
MARKUP = re.compile(r"<(b|i|u|p|em|strong|code|span|mark)>([^<]*)</\1>", re.IGNORECASE)
# Characters without width: joiners and directions.
UNSEEN = re.compile("[\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]")
SPEAKER = re.compile(r"\A\s*#*(?:assistant|bot|model|ai)\s*:\s*", re.IGNORECASE)


def plain_text(text: str) -> str:
    """The end of a text: full-width characters made plain, those without width dropped, LaTeX and Markdown
    opened, a speaker's name cut.

    A LaTeX box becomes "answer: …", since it marks the result.
    """
    folded = unicodedata.normalize("NFKC", UNSEEN.sub("", text[-LONGEST:]))[-LONGEST:]
    for _ in range(3):
        folded = TYPEFACE.sub(r"\1", folded)
        folded = BOXED.sub(r" answer: \1 ", folded)
    folded = DELIMITERS.sub("", LINE_MARKS.sub("", folded))
    return SPEAKER.sub("", MARKUP.sub(r"\2", folded)).strip()


def bare(text: str) -> str:
    """A text as it is compared: case, spacing, wrapping and final signs aside."""
    return " ".join(text.casefold().strip(WRAPPERS + ".,:;!。、").split())


# Characters on either side of a statement that are read: enough for a sentence, and time stays linear.
BEFORE, AFTER = 200, 500
MOST = 200
"""Statements of one text that are read, the last ones."""

AROUND_NUMBERS = " \n\t\"'`*_$“”"
WRAP = r"[\s\"'`*_$“”‘’«»「」『』【】〔〕\[\]{}<>]*"
# What ends a letter: no further Latin letter or digit, but a Chinese or Japanese character may follow.
LATIN = r"[^\W_\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]"
END = rf"(?!{LATIN}|['’]\w)"
RIGHT = r"(?:\s+(?:corre[ct]?t[ae]|đúng|الصحيحة))"
NOUNS = (
    rf"\b(?:ans|answer|option|choice|(?:best|better|correct|right|accurate|(?:more|most)\s+(?!in(?:accurate|correct)|un|mis|im(?:plausible|probable)|wrong)\w+)\s+(?:description|statement|caption|sentence|match|sequence|order)"
    rf"|(?:respuesta|opción|réponse|antwort|resposta|alternativa|risposta|antwoord|cevap|jawaban){RIGHT}?"
    rf"|ответ|вариант|정답|답|उत्तर)\b|答案|答え|回答|正解|选项|選項|답(?=[은는이가]\s)|答(?=:)|đáp\s+án{RIGHT}?"
    rf"|الجواب|الإجابة{RIGHT}?"
)
VERBS = (
    r"(?:is|would\s+be|should\s+be|must\s+be|has\s+to\s+be|(?:es|est|é|è)(?:\s+(?-i:la|a))?|ist|lautet|là|هي)"
)
LINKS = (
    rf"\s*[\"'”*_】]*\s*[:=→]|\s*[】\]]|\s+[-–—]\s+|\s+{VERBS}\b\s*:?|\s*(?:應該|应该|应|應)?[是为為は]\s*:?"
)
LINKS += r"|(?:(?<=\bans)|(?<=\banswer))\s+(?=\([A-Z]\)|[A-Z][.)]?\s*(?:\Z|\n))"
LINKS += r"|\s*(?:은|는|이|가)\s+"
# Between the noun and its link: "the right choice here is B", "the option that fits best is B".
BETWEEN = (
    r"(?:\s+(?:letter|here|then|in\s+this\s+case|to\s+\w+\s+question)|\s+(?:that|which)\s+(?:best\s+|most\s+closely\s+)?(?:fits|matches"
    r"|describes|corresponds|answers|captures)(?:\s+(?:best|it|this|(?:to\s+)?the\s+\w+))?)?"
)
STRONG = re.compile(
    rf"(?:{NOUNS}){BETWEEN}(?P<link>{LINKS})\s*(?:(?:option|choice)\s+(?=\W?(?-i:[A-Z])\b))?", re.IGNORECASE
)
OPENS_CLAUSE = r"(?:^|(?<=[.!?,:;\n]))\s*(?:(?:so|thus|therefore|hence|then|and|well)\b,?\s*)*"
# Behind these a colon makes a label: "Prediction: B".
LABELS = (
    r"(?:my\s+)?(?:letter|correct|final|conclusion|result|solution|response|assistant|prediction|output|verdict|pick)"
    r"(?=\s*[:=])"
)
WEAK = re.compile(
    rf"\b(?:option|choice|letter)\s+(?!{VERBS}\b)|(?:选项|選項|選択肢は?|而是|ではなく[、,]?|아니라|正确的?是|正確的?是|\b(?:sondern|sino)(?:\s+(?:la|el))?(?=\W))\s*|{OPENS_CLAUSE}(?:so|thus|therefore|hence"
    r"|(?:it|that|this)(?:\s+(?:is|(?:must|would|should|(?:has|seems|appears)\s+to)\s+be)|['’]s)|(?:most\s+)?(?:probably|likely)"
    rf"|definitely|certainly|clearly|yes|sure|{LABELS})\b\s*[,:=]?\s*|\b(?:leaves|leaving|left\s+with)\s+(?:only\s+)?"
    r"|\bnot\s+\(?[A-Z]\)?,?\s+but\s+(?:rather\s+)?"
    r"|(?<!\bso )\b(?:is|matches|(?:corresponds|points)\s+to|aligns\s+with)"
    r"\s*:?\s+(?=\W?\([A-Z]\)|\W?(?-i:[A-Z])\W{0,2}\s*(?:\n|\Z)|\W?(?-i:[A-Z])\.\s)",
    re.IGNORECASE,
)
LISTED = re.compile(r"\s*(?:option|choice|选项|選項|選択肢)", re.IGNORECASE)
GUESSED = re.compile(
    r"\b(?:I['’]m\s+going\s+with|I(?:['’](?:d|ll)|\s+(?:would|will|must))?\s+(?:guess|say|choose|pick|select|think|believe|go\s+(?:with|for))"
    r")\b\s*:?\s*(?:that\s+)?(?:it\s+(?:is|must\s+be)\s+|it['’]s\s+)?"
    r"|(?<![不没未])[选選](?:[择擇])?(?:[项項])?\s*:?\s*|(?:(?<=我)|(?<=我们)|(?<=我們)|(?<![\u4e00-\u9fff]))(?:认为|認為|觉得|覺得)(?:应该|應該)?是?\s*",
    re.IGNORECASE,
)
ADJECTIVES = r"(?:accurate|plausible|suitable|appropriate|fitting|consistent|reasonable|probable)"
PRAISED = re.compile(
    rf"(?<!{LATIN})(?<!['’])\(?(?P<letter>[A-Z])\)?[*_\"']*(?:\s+(?:is|seems|appears|looks(?:\s+like)?|stands\s+out\s+as|(?:must|(?:has|seems|appears)\s+to)\s+be|(?:would|will)\s+be(?=\s+(?:the\s+(?:best|most|answer|correct|right)|my)\b))"
    r"\s+(?:(?:definitely|clearly|most\s+likely|probably|therefore|thus|an?|the|my)\s+)*"
    rf"(?!(?<=an\s)(?:option|choice)\b|(?<=a\s)choice\b)(?:(?:(?:most\s+)?(?:likely|correct|right|best|better|only|closest|final(?!\s+(?:option|one)\b))|most\s+{ADJECTIVES})\s+)*"
    rf"(?:answer|option|choice|(?P<pick>guess|pick)|match|closest|one(?:(?<=\bonly\sone)|(?!\s+of\b))|correct|right|true|more\s+likely|(?P<bare>(?:most\s+)?likely|best|better)(?=\s*(?:[.,;!\n]|\Z)|\s+(?:because|since|as|given|based|than)\b)|(?:more|most)\s+{ADJECTIVES})\b(?!\s+if\b|,?\s+but\s+(?:(?:it\s+)?(?:is|was|does)\s*n[o'’]t|(?:is\s+)?(?:wrong|incorrect|false|no)\b))|(?:\s*:|\s+[–—-]|(?:[.:]|(?<!\bA))(?:(?!\b[A-Z][.):]|\b(?:incorrect|wrong|false|not?)\b)[^\n]){{0,100}}?(?:\s[–—-]|:|\s\())\s*(?P<word>(?i:correct|right|true|yes))\b"
    r"|\s+(?:(?:better|best|correctly|accurately)\s+)?(?:fits|matches|describes|captures|corresponds|answers|represents|reflects|(?P<sense>makes\s+(?:the\s+most\s+)?sense)|it\s+is|is\s+what\s+(?:the|is|I|we))\b"
    r"|\s+(?:ist\s+)?richtig|\s+es\s+(?:la\s+)?correcta|\s*(?:选项|選項|项|項)?\s*(?:[是为為]?\s*最?(?:正确|正確|对的|對的)|符合)|(?:が正|を選|[가이]\s(?:정답|맞)))"
)
LETTER = re.compile(rf"{WRAP}\(?([A-Z]){END}")
LOWER = re.compile(r"\s*(?:\(?([a-z])\)|([b-z]|a(?=\.\s*(?:\Z|\n))))(?=[.)]?\s*(?:$|\n)|[.):,;]\s)")
# "A" and "I" are words, any letter may begin a name: a letter is followed by an end, a sign or a reason.
ENDED = re.compile(
    rf"{WRAP}\)?{WRAP}(?:$|[.,;:!。,、)—–-](?!{LATIN})|[选選]?[项項]|\n|\b(?:because|since|as|for|with(?!\s+\(?(?-i:[A-Z])\b)|based|due|given|rather|instead|best)\b|\([^?]|是|です|입니다|이다|因"
    r"|\band\s+(?:the|my|so|this|that|it)\b)",
    re.IGNORECASE,
)
# An alternative that is added after the letter's own clause: "A; alternatively B", "A, but maybe B".
ADDED = re.compile(
    rf"[\s.,;:?!)]*(?:(?:but|and)\s+)?(?:it\s+)?"
    rf"(?:(?:alternatively|otherwise|else|actually|wait|no|perhaps|maybe|possibly|or|also|(?:could|might|may|can)\s+(?:also\s+)?be)\b[\s,:]*)+"
    rf"(?:the\s+|answer\s+|option\s+)*{WRAP}\(?([A-Z]){END}",
    re.IGNORECASE,
)
# Up to here a second letter is an alternative; what is beyond gives reasons.
REASON = re.compile(
    r"\n|[.!?]\s|\b(?:because|since|as|while|whereas|not|but|instead|rather|than)\b|因为|因為", re.IGNORECASE
)
ALTERNATIVE = re.compile(
    rf"(?:/|,|&|\bor\b|\band\b|或|和|または|、)\s*(?:perhaps\s+|maybe\s+|possibly\s+|option\s+)*{WRAP}\(?"
    rf"([A-Z]){END}(?!(?<=[AI])\s+(?!or\b|and\b|because\b|since\b|as\b|for\b)[a-z])(?!\)?\s+(?:is|was|are|were|would|seems|looks|can|does|did)\b)"
)
REFUSED = re.compile(
    rf"{WRAP}\)?{WRAP}(?:(?:is|was|are|were|seems|does|do|did|can|could)(?:n't|n’t|\s*not\b"
    r"|\s+(?:wrong|incorrect|false|unlikely|impossible|ruled\s+out))|would\s+(?!be\b)|is\s+(?:an|one\s+of\s+the)\s+(?:options?|choices?)\b|不对|不對|不正|错|錯|\?)",
    re.IGNORECASE,
)
# An assumption, unless the speaker makes it: "I assume", "I'd assume", "we can assume".
ASSUMED = (
    r"(?<!\bI\s)(?<!\bI['’]d\s)(?<!\bI['’]ll\s)(?<!\bI\s(?:will|must)\s)(?<!\bI\swould\s)(?<!\b(?:I|e)\scan\s)"
    r"(?<!\b(?:safe|have)\sto\s)(?<!\breasonable\sto\s)(?:suppose|assume)"
)
DENIED = re.compile(
    r"(?:\b(?:not|never|isn['’]t|wasn['’]t|aren['’]t|don['’]t|doesn['’]t|didn['’]t|cannot|can['’]t|couldn['’]t|neither"
    r"|nor|wrong|worst|(?<!\bat\s)least|avoid|(?:all|any|every)\w*\s+but|incorrect|inaccurate|misleading|implausible|unsuitable|false|(?<!\bno\s)(?<!without\s)(?<!\ba\s)(?<!any\s)(?<!t\s)doubt(?:s|ed|ful)?|unlikely|if|whether|unless|except|rather\s+than|instead\s+of|consider|examine|evaluate|check|"
    rf"{ASSUMED}|"
    r"what\s+about|rule\s+out|eliminate\w*)\b(?:\W+\w+){0,2}|不|错误|錯誤)\W*$"
    r"|\b(?:might|may|could)\s+(?:think|say|argue|assume|seem|appear)\b(?:\W+\w+){0,3}\W*$|\b(?:some(?:one|body)?|many|others|they|you|he|she|user|question|prompt)\s+(?:say|said|think|argue|believe|claim|wrote|write)s?\b(?:\s+\w+){0,2}\W*$|\b[A-Z]\)?\s+or\s+$|\b(?:each|every|(?:an)?other)\s+$",
    re.IGNORECASE,
)
EQUALLY = re.compile(
    r"\b(?:equally|just\s+as)\s+(?:plausible|likely|possible|correct|right|valid)\b|\bso\s+(?:is|does)\b",
    re.IGNORECASE,
)
# "If it were dark, it would be B.": not "if I had to choose", "if forced to", "if we look".
UNREAL = re.compile(
    r"(?<!asked\s)(?<!asks\s)(?<!see\s)(?<!check\s)(?<!tell\s)(?<!know\s)\bif\b(?!\s+(?:I|we|you|so|not|any\w*|\w+ed)\b).*(?:\b(?:were|would)\b|['’]d\b)",
    re.IGNORECASE,
)
# "If it were A, it would be dark, so the answer is B." concludes what is real.
CLAUSE = re.compile(r"\b(?:but|so|and|hence|thus|therefore|however|yet)\b|[:;]", re.IGNORECASE)
# "Player A is better", "Vitamin C makes sense", "A or B is likely": no option, or no one option.
NAME_BEFORE = re.compile(
    r"\b(?!(?:option|choice|answer|letter|statement|and|but|so|that|think|believe|say|guess|then|thus|therefore|hence|while"
    r"|since|because|as|though|although|however|whereas)\b)\w+\s+\(?\Z",
    re.IGNORECASE,
)
# "A is likely, but B is better."
CONCEDED = re.compile(
    r"\s*(?:[^.!?\n]{0,60}\b(?:but|though|however|yet)\s+(?:\w+\s+)?\(?(?-i:[A-HJ-Z])\b|(?:only\s+)?if\b|,?\s*or\b|for\s+(?:the\s+)?(?:worst|wrong|least))",
    re.IGNORECASE,
)
FINAL = re.compile(
    r"\b(?:final|finally|correction|therefore|thus|hence|conclusion|so)\b|故|因此|所以|综上", re.IGNORECASE
)
# The end of a calculation: "Therefore, the final value is 8.4 V", "Thus, V = 8.4".
CONCLUSION = re.compile(
    r"(?:\b(?:final(?:ly)?|therefore|thus|hence|conclusion|so|consequently|we\s+(?:get|obtain|find|have))\b|∴)"
    r"[^.!?\n]{0,120}?(?:\b(?:is|are|equals?|be|get|obtain|find|gives?)\b|[=:≈])\s*(?P<result>[^\n]*)",
    re.IGNORECASE,
)
TOTAL = re.compile(
    r"\b(?:total|altogether)\b[^.!?\n]{0,60}?(?:\b(?:is|are|of)\b|:)\s*(?P<result>[^\n]*)", re.IGNORECASE
)
# What may precede the number where a text answers by it: "So there are about", "I can see", "The total is".
BEFORE_COUNT = re.compile(
    r"(?:(?:so|thus|therefore|overall|yes|in\s+total|in\s+all|altogether|total|answer)\b[\s,:]*)*"
    r"(?:there(?:['’]s|\s+(?:is|are|was|were))\s|(?:I|we|you)(?:\s+can)?\s+(?:see|count)\s"
    r"|(?:it|they|that)(?:['’](?:s|re)|\s+(?:is|are|was|were))\s"
    r"|the\s+(?:video|room|scene|total|answer|number|count)\s(?:is|shows|has|contains)\s)?"
    r"(?:(?:about|approximately|roughly|around|exactly|only|just|a\s+total\s+of)\s)?",
    re.IGNORECASE,
)
DENIED_COUNT = re.compile(r"\b(?:not|no|is|are|wrong|incorrect|maybe|perhaps|if)\b", re.IGNORECASE)
SPELLS = re.compile(rf"\b(?!one\b)(?:{IN_WORDS})\b", re.IGNORECASE)  # "one" is more often a pronoun
ALTERNATIVES = re.compile(r"\b(?:or|and|either|not)\b", re.IGNORECASE)
SENTENCE_END = re.compile(r"[.!?。]\s|\n")


@dataclass(frozen=True, kw_only=True)
class Statement:
    """One statement of an answer.

    `letter` is the one it names, "" without one, "?" for several. `rest` is the text behind it, `clause`
    that with words like "the option" before it. A `final`
    statement says that it concludes, a `weak` one may be about anything, a `listed` one walks through options
    ("Option A shows ..."); `dashed` is one whose link is a dash ("Answer - 5").
    """

    letter: str
    rest: str
    clause: str
    final: bool
    weak: bool
    listed: bool
    dashed: bool


def statements(text: str, letters: Set[str]) -> Iterator[Statement]:
    """The statements of a text in their order; `letters` are those of the options."""
    found: dict[int, tuple[re.Match[str], bool]] = {}
    for pattern, weak in ((STRONG, False), (GUESSED, True), (WEAK, True)):
        for match in pattern.finditer(text):
            found.setdefault(match.end(), (match, weak))
    praised = [(match, True) for match in PRAISED.finditer(text) if match["letter"] in letters]
    for match, weak in sorted([*found.values(), *praised], key=lambda pair: pair[0].start())[-MOST:]:
        before = SENTENCE_END.split(text[max(match.start() - BEFORE, 0) : match.start()])[-1]
        unreal = UNREAL.search(CLAUSE.split(before + match[0])[-1])
        if match.re in (WEAK, PRAISED):  # "not A, so B": it begins a clause of its own
            before = re.split("[,;:.!?]", before)[-1]
        if not DENIED.search(before) and not unreal and not _is_no_praise(text, match, before):
            yield _statement(text, match, weak, before, letters)


def _is_no_praise(text: str, match: re.Match[str], before: str) -> bool:
    """Whether praise without a noun is another thing's, or is taken back."""
    if match.re is not PRAISED or not (match["bare"] or match["sense"] or match["pick"]):
        return False
    return bool(NAME_BEFORE.search(before) or CONCEDED.match(text, match.end()))


def conclusion(text: str, pattern: re.Pattern[str] = CONCLUSION) -> str:
    """What the last concluding sentence of a calculation gives, behind the last "=" in it; "" if none."""
    found = [match["result"] for match in pattern.finditer(text)]
    if not found:
        return ""
    said = re.split(r"[.!?。](?:\s|$)", found[-1])[0].strip()
    return said if ALTERNATIVES.search(said) else said.rpartition("=")[2].strip()


def _spelled_answer(text: str) -> list[Fraction | None]:
    """The number in words by which a text answers: "There are four chairs."; [None] where it spells one
    otherwise, of something else ("the two people above") or in doubt."""
    text = text.strip(" \n\t\"'`*_“”").rstrip(".! ")
    said = BEFORE_COUNT.sub("", text, count=1)
    count = "" if DENIED_COUNT.search(said) else count_text(said)
    return [parse_number(count)] if count else [None] * bool(SPELLS.search(text))


def read_number(answer: str) -> Fraction | None:
    """The one number that an answer gives, units aside: "3.5 meters (11 feet)", "The answer is 4.", "Four."

    Of several different numbers it is the one behind the last "answer is", in the concluding sentence, or
    behind the last "=", or the total; else None. None for a number that cannot be read exactly, too.
    """
    text = plain_text(fold_number_text(answer[-LONGEST:]))
    whole = parse_number(text.strip(AROUND_NUMBERS).rstrip(". "))
    if whole is not None:
        return whole
    stated = [said for said in statements(text, frozenset()) if not said.weak and not said.dashed]
    result = "" if ALTERNATIVES.search(text) else text.rpartition("=")[2]
    ends = [said.rest.partition("\n")[0] for said in stated[-1:]]
    for part in (*ends, conclusion(text), text, result, conclusion(text, TOTAL)):
        found = set(find_numbers(part) or _spelled_answer(part))
        if len(found) == 1 or (found and part in ends):
            return found.pop() if len(found) == 1 else None
    return None


def _statement(text: str, match: re.Match[str], weak: bool, before: str, letters: Set[str]) -> Statement:
    praised = match.re is PRAISED
    behind = text[match.end() : match.end() + AFTER]
    said = re.split(r"\b(?:because|since)\b", SENTENCE_END.split(behind)[0])[0]
    # The word behind a colon may be another option: "A: yes" where B is yes.
    rest = f"{match['letter']} {match['word'] or ''}" if praised else behind
    link = match["link"] if match.re is STRONG else ""
    return Statement(
        letter=named_letter(rest, letters)
        if not praised
        else "?"
        if EQUALLY.search(said)
        else match["letter"],
        rest=rest,
        clause=text[match.end("link") :][:AFTER] if link else rest,
        final=bool(FINAL.search(before + match[0])),
        weak=weak,
        listed=match.re is WEAK and bool(LISTED.match(match[0])),
        dashed=link.strip() in ("-", "–", "—") and bool(link),
    )


def named_letter(rest: str, letters: Set[str]) -> str:
    """The letter at the begin of `rest`; "?" where it is one of several, "" where there is none."""
    if lower := LOWER.match(rest):
        small = lower[1] or lower[2]
        rest = rest.replace(small, small.upper(), 1)
    match = LETTER.match(rest)
    if match is None or match[1] not in letters:
        return ""
    tail = rest[match.end() :]
    if REFUSED.match(tail):
        return ""
    if re.match(r"\W*or\b", tail, re.IGNORECASE):
        return "?"
    if EQUALLY.search(SENTENCE_END.split(tail)[0]):
        return "?"
    others = {other[1] for other in ALTERNATIVE.finditer(REASON.split(tail)[0])} & letters
    if (added := ADDED.match(tail)) and ENDED.match(tail[added.end() :]):
        others |= {added[1]} & letters
    if others - {match[1]}:
        return "?"
    return match[1] if ENDED.match(tail) else ""
