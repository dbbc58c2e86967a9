"""Reading the answer of an output that need not follow any form: where it stands, its letter, its number.

Total functions: any text gives an answer or None, and None wherever it is absent, empty or ambiguous. Known
mistakes of public scorers that these do not make: "B because Alice did C first" read as C; the article in "A
man" read as option A; an empty answer counted right; the first word of a chain of thought taken as answer.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from fractions import Fraction

from strive_data.annotations.numbers import parse_number
from strive_rl.algorithm.accuracy import option_letter

# Statements of an answer in running text: "the answer is B", "Answer: B", "B is correct", "I guess B".
# Pure.
#
# A statement that is denied ("not the answer", "incorrect answer: B", "if B is correct") is none.

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


END_TOKENS = ("</s>", "<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<eos>")
LONGEST = 8_000  # characters of a final text that are searched: answers stand at an end

BOXED = re.compile(r"\\(?:boxed|text|mathrm|textbf|mathbf)\s*\{([^{}]*)\}")
BULLET = re.compile(r"[-–—•·]\s+(?=\(?[A-Za-z])")
# What may stand behind a stated letter to say which option it is: "A (candles)", "A: candles".
GLOSS = re.compile(r"[\s)*_\"'`]*(?:\(([^()\n]*)\)|[.:,;–—-]*\s+([^\n.!?;,()]+))")
ARTICLE = re.compile(r"(?:a|an|the)\s+", re.IGNORECASE)
LOWER_LETTER = re.compile(r"\(?[a-z]\)?[.:)]?")
UNSIGNED = re.compile(r"([A-Z])\s*[,–—-]?\s+(.+)")  # "B candles", where that is option B
MARKUP = re.compile(r"</?[A-Za-z]\w*/?>")
REASONED = re.compile(r"\(?([A-Z])\)?,?\s+(?:because|since)\b")
LETTERED = re.compile(r"\(?([A-Z])(?:[.):])(?:\s|$)")
NUMBER_HERE = re.compile(
    r"(?<![\w.,])[+-]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:[eE][+-]?\d{1,3})?%?(?!\d|[.,]\d)"
)


def final_text(output: str) -> str:
    """The part of an output in which its final answer stands, stripped; "" where it never got that far.

    The last `<answer>`, closed or at the very end (a stop string eats the closing tag); else what follows the
    last `</think>`; "" inside of a thought that is never closed; else all of it.
    """
    text = output
    for token in END_TOKENS:
        text = text.replace(token, "")
    _, opened, rest = text.rpartition("<answer>")
    if opened:
        return rest.partition("</answer>")[0].strip()
    _, closed, rest = text.rpartition("</think>")
    if closed:
        return rest.strip()
    return "" if "<think>" in text else text.strip()


def choice(output: str, options: Sequence[str]) -> str | None:
    """Letter of the one option ("A. text") that an output settles on.

    Tried in this order: the final text is a letter or an option as it stands; it states "answer is X"
    (several statements must agree, or the last one must call itself final); its first or last line is a
    letter alone, one before a sign ("B. text") or a reason ("B because"), and no line names another one.
    """
    text = plain(final_text(output))
    if not text:
        return None
    if found := _whole(BULLET.sub("", text, count=1) if BULLET.match(text) else text, options):
        return found
    said = _stated(text, options)
    if said is not None:
        return said or None
    return _from_lines(text, options)


def one_number(output: str) -> Fraction | None:
    """The one number that an output settles on, units aside: "3.5 meters", "The answer is 4."

    None for several different numbers, unless one follows the last statement "answer is".
    """
    text = plain(final_text(output))
    whole = parse_number(text.strip(WRAPPERS).rstrip(". "))
    if whole is not None:
        return whole
    after = [said.rest for said in statements(text, frozenset()) if not said.weak]
    for part in (*after[-1:], text):
        found = {
            value for match in NUMBER_HERE.finditer(part) if (value := parse_number(match[0])) is not None
        }
        if found:
            return found.pop() if len(found) == 1 else None
    return None


def plain(text: str) -> str:
    """Full-width characters to plain ones, LaTeX boxes and markup opened; of a text too long its end."""
    folded = unicodedata.normalize("NFKC", text[-LONGEST:])
    for _ in range(3):
        folded = BOXED.sub(r"\1", folded)
    return MARKUP.sub("", folded).strip()


def _whole(text: str, options: Sequence[str]) -> str | None:
    """The option that the whole text is, wrapped or not; a letter may then be small."""
    bare = text.strip(WRAPPERS)
    if bare[-2:-1] in WRAPPERS and bare[-1:] in (".", "。", "!"):  # 'B'.
        bare = bare[:-1].strip(WRAPPERS)
    if "\n" in bare:
        return None
    if bare.endswith("!"):
        bare = bare.rstrip("!")
    if found := option_letter(bare.upper() if LOWER_LETTER.fullmatch(bare) else bare, options):
        return found
    unsigned = UNSIGNED.fullmatch(bare)
    wanted = f"{unsigned[1]}. {unsigned[2]}".casefold().rstrip(".") if unsigned else ""
    return next((option[0] for option in options if option.casefold().rstrip(".") == wanted), None)


def _stated(text: str, options: Sequence[str]) -> str | None:
    """The letter that the text's statements agree on; "" where they do not, None where it makes none."""
    letters = frozenset(option[0] for option in options)
    made = [(said, _letter_of(said, options)) for said in statements(text, letters)]
    strong = [pair for pair in made if pair[1] and not pair[0].weak]
    named = strong or [pair for pair in made if pair[1]]
    if not named:
        return None
    last, letter = named[-1]
    if any(other != letter for _, other in named) and not last.final:
        return ""
    return "" if letter == "?" else letter


def _letter_of(said: Statement, options: Sequence[str]) -> str:
    """The letter of one statement; "?" where the words behind it are another option's, "" where none is."""
    if said.letter in ("", "?"):
        return said.letter or _spelled(said, options)
    gloss = GLOSS.match(said.rest.partition(said.letter)[2])
    words = _bare_words((gloss[1] or gloss[2] or "") if gloss else "")
    texts = {option[0]: _bare_words(option[2:]) for option in options}
    others = {text for letter, text in texts.items() if letter != said.letter}
    return "?" if words and words in others - {texts[said.letter]} else said.letter


def _bare_words(text: str) -> str:
    """Case, articles at the begin, wrapping and a final stop aside."""
    return ARTICLE.sub("", " ".join(text.casefold().strip(WRAPPERS + ".:!").split()), count=1)


def _spelled(said: Statement, options: Sequence[str]) -> str:
    """The letter of the option whose text follows a statement, up to the end of the line or the sentence."""
    if said.weak:
        return ""
    line = said.rest.partition("\n")[0].strip()
    for part in (line, re.split(r"[.!?](?:\s|$)", line)[0]):
        lone = LOWER_LETTER.fullmatch(part.strip(WRAPPERS))  # "a" may be an article that a cut left over
        if (said.spelled or not lone) and (found := _whole(part, options)):
            return found
    return ""


def _from_lines(text: str, options: Sequence[str]) -> str | None:
    lines = [line.strip(WRAPPERS) for line in text.split("\n") if line.strip(WRAPPERS)]
    letters = {option[0] for option in options}
    ends = {found for line in {*lines[:1], *lines[-1:]} if (found := _of_line(line, options, letters))}
    begun = {match[1] for line in lines if (match := LETTERED.match(line)) and match[1] in letters}
    return ends.pop() if len(ends) == 1 and len(ends | begun) == 1 else None


def _of_line(line: str, options: Sequence[str], letters: set[str]) -> str | None:
    if found := _whole(line, options):
        return found
    reasoned = REASONED.match(line)
    return reasoned[1] if reasoned and reasoned[1] in letters else None
