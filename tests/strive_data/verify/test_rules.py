from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from strive_data.schema import Sample
from strive_data.verify.rules import broken_frames, broken_rules
from tests.strive_data.samples import a_sample, build_settings

SETTINGS = build_settings()
SAMPLE = a_sample()


def of(sample: Sample) -> str:
    return "; ".join(broken_rules(sample, SETTINGS))


def test_a_sound_sample_breaks_no_rule() -> None:
    assert of(SAMPLE) == ""
    assert not list(broken_frames(SAMPLE, SETTINGS))
    everything = a_sample(frames="all")
    assert not broken_rules(everything, build_settings(frames="all"))


def changed(name: str, edit: Callable[[np.ndarray], object]) -> Sample:
    array = getattr(SAMPLE, name).copy()
    edit(array)
    return replace(SAMPLE, **{name: array})


@pytest.mark.parametrize(
    ("sample", "rule"),
    [
        (changed("scores", lambda a: a.put(2, np.nan)), "scores: 1 are not finite"),
        (changed("times", lambda a: a.put(2, 0.1)), "times: not finite and strictly increasing"),
        (changed("times", lambda a: a.put(0, -1.0)), "times: -1.0 to 9.5 s, in a video of 10.0 s"),
        (changed("times", lambda a: a.put(9, 10.5)), "times: 0.5 to 10.5 s, in a video of 10.0 s"),
        (replace(SAMPLE, variants=SAMPLE.variants[:1]), "variants: shape [1, 4], expected [2, 4]"),
        (replace(SAMPLE, variants=SAMPLE.variants[:, ::-1]), "variants: row 0 is not strictly increasing"),
        (replace(SAMPLE, uniform=SAMPLE.uniform - 1), "uniform: not the midpoint-uniform control"),
        (replace(SAMPLE, stored=SAMPLE.stored[1:]), "stored: not the union of variants and uniform"),
        (replace(SAMPLE, embeds=np.ones((10, 2), np.float16)), "embeds: there, against shard.embeds"),
        (
            replace(SAMPLE, meta=replace(SAMPLE.meta, sampler={})),
            "json: the sampler is not that of the build",
        ),
        (replace(SAMPLE, meta=replace(SAMPLE.meta, query_windows=0)), "json: 0 query windows"),
    ],
)
def test_each_broken_rule_is_said(sample: Sample, rule: str) -> None:
    assert rule in of(sample)


def test_frames_are_whole_and_of_the_stated_size() -> None:
    jpegs = list(SAMPLE.jpegs)
    jpegs[1] = jpegs[1][:-1]
    jpegs[2] += b"x"
    found = dict(broken_frames(replace(SAMPLE, jpegs=tuple(jpegs)), SETTINGS))
    assert found.keys() == {1, 2}
    assert "Premature end" in found[1]
    assert found[2] == "the JPEG does not end where the member ends"
    wide = replace(SAMPLE, meta=replace(SAMPLE.meta, info=replace(SAMPLE.meta.info, width=28)))
    assert dict(broken_frames(wide, SETTINGS))[0] == "the JPEG has 56×28 pixels, expected 28×28"
