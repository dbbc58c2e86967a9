"""Charades-STA and ActivityNet Captions: when an event happens in a video, as seconds.

mIoU is the mean temporal IoU; R@m the share of answers whose IoU is at least m (R1@m of TALL, arXiv
1705.02101). Answers are read as in training; one that cannot be read has the IoU 0, as in Time-R1's
evaluation.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from strive_data.annotations.time_spans import read_spans, spans_text
from strive_rl.answers.grounding import IOU_THRESHOLDS, spans_in, temporal_iou
from strive_rl.benchmarks.item import Benchmark, Convention, Item, Row, Verdict
from strive_rl.benchmarks.parsing import final_text


def iou_verdict(output: str, item: Item, least: float | None = None) -> Verdict:
    """The IoU, or with `least` whether it reaches that."""
    spans, truth = spans_in(final_text(output)), read_spans(item.question.answer)
    iou = temporal_iou(spans, truth or ())
    return Verdict(
        value=iou if least is None else float(iou >= least), extracted=spans_text(spans) if spans else None
    )


def _no_tags(row: Row, path: Path) -> dict[str, str]:
    return {}


CONVENTIONS = (
    Convention(name="mIoU", score=iou_verdict, note="mean temporal IoU"),
    *(
        Convention(
            name=f"R@{least}",
            score=partial(iou_verdict, least=least),
            note=f"share of answers of IoU {least} or more",
        )
        for least in IOU_THRESHOLDS
    ),
)
UNCHECKED = "Not checked against published outputs: there are none to compare with."

CHARADES_STA = Benchmark(
    name="charades-sta",
    title="Charades-STA",
    published=3720,
    files=(("charades_sta_test.txt",),),
    tags=_no_tags,
    breakdowns=(),
    conventions=CONVENTIONS,
    notes=(UNCHECKED,),
)
ACTIVITYNET_CAPTIONS = Benchmark(
    name="activitynet-captions",
    title="ActivityNet Captions",
    published=17031,
    files=(("val_2.json",),),
    tags=_no_tags,
    breakdowns=(),
    conventions=CONVENTIONS,
    notes=("val_2.json is what grounding papers test on.", UNCHECKED),
)
