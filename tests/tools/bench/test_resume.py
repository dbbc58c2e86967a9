from __future__ import annotations

from pathlib import Path

from strive_data.annotations.read import read_annotations
from strive_data.build.pipeline import build
from strive_data.config import BuildSettings
from tests.strive_data.made.engine import Notes
from tools.bench.resume import write_annotation, write_finished_build


def test_the_simulated_build_is_a_finished_one_to_the_build_itself(tmp_path: Path) -> None:
    annotation = write_annotation(tmp_path / "data", 1100)
    assert len(read_annotations([annotation], annotation.parent).questions) == 1100
    out = tmp_path / "build"
    write_finished_build(annotation, out)
    summary = build(
        [annotation], data_root=annotation.parent, out=out, settings=BuildSettings(), observer=Notes()
    )
    assert summary.unchanged
    # Videos are counted in the tables, which hold one sample a shard here.
    assert (summary.counts["samples"], summary.counts["videos"], summary.counts["shards"]) == (1100, 3, 3)
