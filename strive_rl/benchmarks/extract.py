"""Reading the answer of an output that need not follow any form: where it stands, its letter, its number.

Total functions: any text gives an answer or None, and None wherever it is absent, empty or ambiguous. Known
mistakes of public scorers that these do not make: "B because Alice did C first" read as C; the article in "A
man" read as option A; an empty answer counted right; the first word of a chain of thought taken as answer.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from fractions import Fraction

from strive_data.number import number
from strive_rl.answers import option_letter

END_TOKENS = ("</s>", "<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<eos>")
LONGEST = 20_000  # characters of a final text that are searched: answers stand at an end

# What may stand around a letter: quotes, emphasis, brackets of any script, LaTeX boxes.
WRAP = r"[\s\"'`*_$“”‘’«»「」『』【】〔〕\[\]{}<>]*"
BOXED = re.compile(r"\\(?:boxed|text|mathrm|textbf|mathbf)\s*\{([^{}]*)\}")
CUE = re.compile(
    r"(?:\b(?:answer|option|choice)\b(?:\s+(?:is|would\s+be|should\s+be|must\s+be))?|答案(?:是|为)?|答え(?:は)?"
    r"|正解(?:は)?|\brespuesta(?:\s+correcta)?(?:\s+es)?|\bréponse(?:\s+est)?|\bAntwort(?:\s+(?:ist|lautet))?)"
    r"(?P<mark>\s*[:：=]?\s*)(?:\b(?:option|choice|letter)\s+)?" + WRAP + r"\(?",
    re.IGNORECASE,
)
LETTER_HERE = re.compile(r"([A-Z])(?![^\W_]|['’]\w)")
# After "the answer is", "A" and "I" are also words; a letter is followed by an end, a sign or a reason.
AFTER_LETTER = re.compile(
    r"(?:"
    + WRAP
    + r"\)?"
    + WRAP
    + r"(?:$|[.,;:!?。，；：!?)\n—–-]|\s*\b(?:because|since|as|for|based|due|given)\b))",
    re.IGNORECASE,
)
ALTERNATIVE = re.compile(
    WRAP
    + r"\)?"
    + WRAP
    + r"(?:/|,|&|\bor\b|\band\b|或|和|または)\s*(?:(?:perhaps|maybe|possibly|option)\s+)?"
    + WRAP
    + r"\(?([A-Z])(?![^\W_])",
    re.IGNORECASE,
)
FINAL = re.compile(r"\b(?:final|finally|therefore|thus|hence|conclusion|so)\b", re.IGNORECASE)
LEADING = re.compile(r"\(?([A-Z])(?:[.):：]|\)[.:]?)(?=\s|$)")
NUMBER_HERE = re.compile(
    r"(?<![\w.,])[+-]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:[eE][+-]?\d{1,3})?%?(?![\d])"
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
    letter alone or one before a sign ("B. text").
    """
    text = _plain(final_text(output))
    if not text:
        return None
    letters = {option[0] for option in options}
    if found := _whole(text, options):
        return found
    cued, said = _stated(text, options)
    if cued:
        return said
    return _from_lines(text, options, letters)


def one_number(output: str) -> Fraction | None:
    """The one number that an output settles on, units aside: "3.5 meters", "The answer is 4."

    None for several different numbers, unless one follows a statement "answer is".
    """
    text = _plain(final_text(output))
    if not text:
        return None
    whole = number(text.rstrip(". "))
    if whole is not None:
        return whole
    after = [text[cue.end() :] for cue in CUE.finditer(text)]
    for part in (*after[-1:], text):
        found = {value for match in NUMBER_HERE.finditer(part) if (value := number(match[0])) is not None}
        if len(found) == 1:
            return found.pop()
        if found:
            return None
    return None


def _plain(text: str) -> str:
    """Full-width letters to plain ones, LaTeX boxes and dollar signs opened; the last of a text too long."""
    folded = unicodedata.normalize("NFKC", text[-LONGEST:])
    for _ in range(3):
        folded = BOXED.sub(r"\1", folded)
    return folded.strip()


def _whole(text: str, options: Sequence[str]) -> str | None:
    bare = text.strip().strip("\"'`*_$“”‘’«»「」『』【】〔〕[]{}<> \n\t").strip()
    if re.fullmatch(r"\(?[a-z]\)?[.:)]?", bare):
        bare = bare.upper()
    if "\n" in bare:
        return None
    return option_letter(bare, options)


def _stated(text: str, options: Sequence[str]) -> tuple[bool, str | None]:
    """Whether the text states an answer, and the letter that its statements agree on."""
    said: list[tuple[str, bool]] = []
    letters = {option[0] for option in options}
    for cue in CUE.finditer(text):
        rest = text[cue.end() :]
        line = text[: cue.start()].rpartition("\n")[2]
        sentence = re.split(r"[.!?]\s", line)[-1]
        final = bool(FINAL.search(sentence))
        named = _letter_after(rest, letters, cue["mark"]) or _option_after(rest, options)
        if named == "?":
            return True, None
        if named:
            said.append((named, final))
    if not said:
        return False, None
    if len({letter for letter, _ in said}) == 1 or said[-1][1]:
        return True, said[-1][0]
    return True, None


def _letter_after(rest: str, letters: set[str], mark: str) -> str | None:
    """The letter right after a statement; "?" where it is one of several."""
    found = LETTER_HERE.match(rest)
    if found is None or found[1] not in letters:
        return None
    tail = rest[found.end() :]
    other = ALTERNATIVE.match(tail)
    if other and other[1].upper() in letters and other[1].isupper():
        return "?" if other[1] != found[1] else found[1]
    if AFTER_LETTER.match(tail) or (found[1] not in "AI" and not re.match(r"\s+[a-z]+\b", tail)):
        return found[1]
    return None


def _option_after(rest: str, options: Sequence[str]) -> str | None:
    """The option whose text follows, up to the end of the line or of the sentence."""
    line = rest.partition("\n")[0].strip()
    for part in (line, re.split(r"[.!?](?:\s|$)", line)[0]):
        if len(part) > 1 and (found := _whole(part, options)):
            return found
    return None


def _from_lines(text: str, options: Sequence[str], letters: set[str]) -> str | None:
    lines = [line for line in (line.strip() for line in text.split("\n")) if line]
    named = []
    for line in {lines[0], lines[-1]}:
        leading = LEADING.match(line.strip("\"'`*_$“”‘’「」【】[]{}<> "))
        found = _whole(line, options) or (leading[1] if leading and leading[1] in letters else None)
        if found:
            named.append(found)
    listed = {
        match[1] for line in lines if (match := LEADING.match(line.lstrip("\"'`*_ "))) and match[1] in letters
    }
    if len(set(named)) == 1 and len(listed | set(named)) == 1:
        return named[0]
    return None
