from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from strive_data.errors import DamagedError, UsageError
from strive_data.merge.part import read_part, require_same_settings
from tests.strive_data.builds import write_build
from tests.strive_data.samples import a_sample, build_settings


def test_a_part_is_its_record_and_its_manifests(tmp_path: Path) -> None:
    part = read_part(write_build(tmp_path / "a", [a_sample(name) for name in "abc"], a_shard=2))
    assert [len(manifest.samples) for manifest in part.ledger.manifests] == [2, 1]
    assert part.record.counts["samples"] == part.run["counts"]["samples"] == 3
    require_same_settings([part])


def test_a_changed_file_is_named_and_the_others_counted(tmp_path: Path) -> None:
    folder = write_build(tmp_path / "a", [a_sample("a")])
    (folder / "index.parquet").unlink()
    says = (
        r"a/index\.parquet: run\.json names it, but there is no such file; restore[^:]*: `strive-data verify"
    )
    with pytest.raises(DamagedError, match=says):
        read_part(folder)
    (folder / "samples.parquet").write_bytes(b"x")
    with pytest.raises(DamagedError, match=r", and 1 more: `strive-data verify .*a` tells all"):
        read_part(folder)


def test_what_is_no_finished_build_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        read_part(tmp_path / "absent")


def test_each_setting_that_differs_is_named_with_both_builds(tmp_path: Path) -> None:
    base = build_settings()
    other = replace(base, sampler=replace(base.sampler, seed=7), shard=replace(base.shard, quality=80))
    parts = [
        read_part(write_build(tmp_path / name, [a_sample("a")], settings=settings))
        for name, settings in (("a", base), ("b", other))
    ]
    with pytest.raises(UsageError) as raised:
        require_same_settings(parts)
    assert str(raised.value) == (
        f"builds of other settings cannot be joined: {tmp_path}/a has sampler.seed: 0, now 7; shard.quality: "
        f"90, now 80, in {tmp_path}/b; build one of them again"
    )
