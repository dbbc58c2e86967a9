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
BOXED = re.compile(r"\${0,2}\\f?box(?:ed)?\s*\{([^{}]*)\}\$*")
DELIMITERS = re.compile(r"\\[()\[\]]|\*\*|`")
LINE_MARKS = re.compile(r"^[ \t]*#{1,6}[ \t]*", re.MULTILINE)
MARKUP = re.compile(r"<(b|i|u|p|em|strong|code|span|mark)>([^<]*)</\1>", re.IGNORECASE)
# Tags of a section or of a chat template, which end what stands before them.
TAGS = re.compile(r"</?[A-Za-z]{2,}>|<\|[^|<>\n]{1,40}\|>")
CROSS = re.compile("[\u2716-\u2718\u274c\u274e\u26d4\U0001f6ab]")
# Pictures, and characters without width: joiners and directions.
UNSEEN = re.compile(
    "[\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufe0e\ufe0f\ufeff\u2600-\u27bf\U0001f000-\U0001faff]"
)
SPEAKER = re.compile(r"\A\s*(?:assistant|bot|model|ai)\s*:\s*", re.IGNORECASE)


def plain_text(text: str) -> str:
    """The end of a text: full-width characters made plain, LaTeX and Markdown opened, pictures, tags and a
    speaker's name cut. A LaTeX box becomes "answer: …", since it marks the result.
    """
    folded = UNSEEN.sub("", CROSS.sub(" incorrect ", text[-LONGEST:]))
    folded = unicodedata.normalize("NFKC", folded)
    for _ in range(3):
        folded = TYPEFACE.sub(r"\1", folded)
        folded = BOXED.sub(r" answer: \1 ", folded)
    folded = LINE_MARKS.sub("", DELIMITERS.sub("", folded))
    return SPEAKER.sub("", TAGS.sub("\n", MARKUP.sub(r"\2", folded)).strip()).strip()


def bare(text: str) -> str:
    """A text as it is compared: case, spacing, wrapping and final signs aside."""
    return " ".join(text.casefold().strip(WRAPPERS + ".,:;!。、").split())
