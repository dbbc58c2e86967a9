"""The text of a completion without its markup: words, letters and signs alone."""

from __future__ import annotations

import re
import unicodedata

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
