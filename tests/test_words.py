"""One vocabulary: the field's words, in plain English. These words had a private meaning, or are archaic."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
WORDS = (
    "anew|begun|told|tells? apart|lessons?|ledgers?|tally|tallies|excerpts?|anchors?|fillers?|seals?|sealed|"
    "asking|reckon\\w*|gone on with|taken up|footprint|refills?|tooth|teeth|witness\\w*|lanes?|crew|stills"
)
BANNED = re.compile(rf"(?<![A-Za-z])(?:{WORDS})(?![A-Za-z])", re.IGNORECASE)
CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
# Names of old settings and metrics, which are refused or listed with the new ones; an attribute of SVG.
RETIRED = re.compile(r"refill_rounds|text-anchor|`?refills`?")
FOLDERS = ("strive_data", "strive_rl", "manifests", "tests", "tools")


def files() -> list[Path]:
    found = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.suffix in SUFFIXES]
    return sorted(found + list(ROOT.glob("*.md")) + [ROOT / "Makefile"])


SUFFIXES = (".py", ".md", ".toml", ".html", ".j2", ".css")


def test_no_word_of_the_old_vocabulary() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {word}"
        for path in files()
        if path != Path(__file__)
        for number, line in enumerate(CAMEL.sub(" ", RETIRED.sub("", path.read_text())).splitlines(), 1)
        for word in BANNED.findall(line)
    ]
    assert not found
