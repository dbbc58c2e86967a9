"""One self-contained HTML page of a build: failures and damage, then some samples with their time lines.

The page is written sample by sample, so that memory does not grow with their number.
"""

from __future__ import annotations

import shlex
from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from strive_data.common.files import replacing
from strive_data.common.settings import choose
from strive_data.common.text import listed, plural, render_pieces
from strive_data.errors import UsageError
from strive_data.inspect.tables import damaged_videos, evidence_beyond, failures_by_kind, sample_ids
from strive_data.inspect.timeline import Row, end_seconds, shown_candidates, timeline_rows
from strive_data.schema import Sample
from strive_data.shards.format import decode_jpeg, jpeg_size
from strive_data.shards.manifest import CHOSEN_REPORT_FILE, REPORT_FILE
from strive_data.shards.reader import ShardSet

PAGE = Path(__file__).parent / "templates" / "report.html"
FRAME_PIXELS = 256  # width of an embedded frame: sharp as a thumbnail, still clear when enlarged
TICKS = 5


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which samples a page shows: the named ones; else, of those for which `where` holds, `limit` that are
    evenly spread or, with a `seed`, drawn at random."""

    sample_ids: Sequence[str] = ()
    where: str | None = None
    limit: int = 12
    seed: int | None = None

    @property
    def chosen_by(self) -> str:
        """How the samples were chosen, "" if they stand for the whole build."""
        if self.sample_ids:
            return "chosen by their ids"
        return "" if self.where is None else f"of those where {self.where}"

    @property
    def file(self) -> str:
        """The name of the page in the build: a page of chosen samples does not replace that of all."""
        return CHOSEN_REPORT_FILE if self.chosen_by else REPORT_FILE


def write_report(build: Path, out: Path, selection: Selection) -> int:
    """Write the page of the selected samples; returns how many it shows.

    Raises UsageError for an unknown sample, an invalid condition, a condition that holds for no sample, and a
    file that cannot be written. The page is written beside and renamed, so that it is whole or not there.
    """
    shards = ShardSet.open(build)
    positions = select_positions(build, shards.sample_ids, selection)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with replacing(out, durable=False) as part, part.open("w", encoding="utf-8") as file:
            file.writelines(report_page(build, shards, positions, selection.chosen_by))
    except OSError as error:
        raise UsageError(f"cannot write the report to {out}: {error.strerror}") from error
    return len(positions)


def select_positions(build: Path, known: Sequence[str], selection: Selection) -> list[int]:
    """Positions of the selected samples in the index of the build, whose ids are `known`."""
    if selection.sample_ids:
        return [known.index(choose(name, known, "sample")) for name in selection.sample_ids]
    places = list(range(len(known)))
    if selection.where is not None:
        kept = set(sample_ids(build, selection.where))
        places = [place for place in places if known[place] in kept]
        if not places:
            raise UsageError(f"--where {selection.where!r} holds for none of {plural(len(known), 'sample')}")
    count = min(selection.limit, len(places))
    if selection.seed is None:
        return [places[k * len(places) // count] for k in range(count)]
    drawn = np.random.default_rng(selection.seed).choice(len(places), size=count, replace=False)
    return [places[k] for k in sorted(drawn.tolist())]


def report_page(
    build: Path, shards: ShardSet, positions: Sequence[int], chosen_by: str = ""
) -> Iterator[str]:
    """The page, piece by piece; it fetches nothing."""
    return render_pieces(
        PAGE,
        title=f"What the policy will see: {build.resolve().name}",
        build=shlex.quote(str(build)),
        counts=listed(shards.run["counts"]),
        shown=len(positions),
        chosen=chosen_by,
        failures=failures_by_kind(build).rows(named=True),
        damaged=damaged_videos(build),
        late=evidence_beyond(build),
        samples=(_sample(shards.read(position), place) for place, position in enumerate(positions)),
    )


def embedded_frame(jpeg: bytes) -> str:
    """The frame as a data URL, at most FRAME_PIXELS wide; a smaller one keeps its bytes."""
    if jpeg_size(jpeg)[0] > FRAME_PIXELS:
        image = Image.fromarray(decode_jpeg(jpeg))
        height = max(round(image.height * FRAME_PIXELS / image.width), 1)
        buffer = BytesIO()
        image.resize((FRAME_PIXELS, height), Image.Resampling.LANCZOS).save(buffer, "JPEG", quality=80)
        jpeg = buffer.getvalue()
    return "data:image/jpeg;base64," + b64encode(jpeg).decode()


def _sample(sample: Sample, place: int) -> dict[str, Any]:
    """What the template needs of one sample."""
    question, info, rows = sample.meta.question, sample.meta.info, timeline_rows(sample)
    candidates = shown_candidates(rows)
    facts = [
        f"sample {question.sample_id}",
        question.video,
        "image" if info.is_image else f"{info.duration_seconds:.1f} s",
        f"{info.width}×{info.height}",
        question.problem_type,
        plural(len(sample.times), "candidate"),
        f"scorer {sample.meta.scorer}, {plural(sample.meta.query_windows, 'query window')}",
        f"reader {info.reader}",
    ]
    return {
        "place": place,
        "key": sample.key,
        "question": question,
        "info": info,
        "facts": facts,
        "evidence": sum(row.evidence_frames for row in rows[:-1]),
        "aspect": max(info.height, 1) / max(info.width, 1),
        "jpegs": zip(candidates.tolist(), map(embedded_frame, sample.jpegs_of(candidates)), strict=True),
        "chart": None if info.is_image else _chart(sample, rows),
        "rows": rows,
    }


def _chart(sample: Sample, rows: Sequence[Row]) -> dict[str, Any]:
    """Places in the chart in per cent of its width and height, from the top left."""
    end = end_seconds(sample)
    low, high = float(sample.scores.min()), float(sample.scores.max())

    def across(seconds: float) -> float:
        return 100 * min(seconds / end, 1)

    def down(score: float) -> float:
        return 100 * (high - score) / (high - low) if high > low else 50.0

    spans = sample.meta.question.evidence_spans
    pairs = zip(sample.times.tolist(), sample.scores.tolist(), strict=True)
    return {
        "low": low,
        "high": high,
        "line": " ".join(f"{across(t):.2f},{down(s):.2f}" for t, s in pairs),
        "spans": [(across(start), across(stop) - across(start), start, stop) for start, stop in spans],
        "ticks": [(100 * k / (TICKS - 1), end * k / (TICKS - 1)) for k in range(TICKS)],
        "dots": [
            (across(frame.seconds), down(frame.score), 5 - 1.3 * min(place, 2), row, frame)
            for place, row in enumerate(rows[:-1])
            for frame in row.frames
        ],
    }
