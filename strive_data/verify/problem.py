"""One thing that is wrong with a build: where, what, and what to do."""

from __future__ import annotations

from dataclasses import dataclass

RESTORE = "restore the file from a copy, or build again"
REMOVE = "remove it"


@dataclass(frozen=True, kw_only=True)
class Problem:
    """`file` is the name in the build's folder, `offset` the byte in it where known, `todo` the way out."""

    file: str
    what: str
    sample_id: str | None = None
    offset: int | None = None
    todo: str = RESTORE

    def __str__(self) -> str:
        sample = "" if self.sample_id is None else f", sample {self.sample_id!r}"
        byte = "" if self.offset is None else f", byte {self.offset}"
        return f"{self.file}{sample}{byte}: {self.what}; {self.todo}"
