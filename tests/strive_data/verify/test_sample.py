from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from strive_data.schema import Sample
from strive_data.shards.format import tar_members
from strive_data.shards.writer import encode_sample
from strive_data.verify.sample import broken_frames, broken_rules, check_sample, tar_header
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


SETTINGS_SAMPLE = build_settings()


def test_the_header_is_the_one_that_the_writer_writes() -> None:
    block = encode_sample(a_sample("an id with / and ."))
    for member in tar_members(block):
        assert block[member.offset :][:512] == tar_header(member.name, len(member.content))


def test_a_sound_sample_is_given_back() -> None:
    sample, found = check_sample(encode_sample(a_sample("7")), "7", SETTINGS_SAMPLE)
    assert found == []
    assert sample is not None
    assert sample.meta == a_sample("7").meta


def swapped(block: bytes) -> bytes:
    """Times before scores."""
    first, second, third = [m.offset for m in tar_members(block)][1:4]
    return block[:first] + block[second:third] + block[first:second] + block[third:]


@pytest.mark.parametrize(
    ("edit", "offset", "what"),
    [
        (lambda b: b[:147] + b"1" + b[148:], 0, "json: its header differs in time, owner, mode or checksum"),
        (lambda b: b + bytes(512), None, "512 bytes behind the last member"),
        (lambda b: b[:-1] + b"x", None, "the padding behind it is not zero"),
        (swapped, None, "members are not in the order json, scores.npy, times.npy"),
        (lambda b: b.replace(b'"options": ', b'"options":  ').replace(b'"answer": ', b'"answer":'), 0,
         "json: not in the form that the package writes"),
        (lambda b: b"8" + b[1:], None, "is a member of another sample"),
    ],
)  # fmt: skip
def test_bytes_of_another_form_are_named(
    edit: Callable[[bytes], bytes], offset: int | None, what: str
) -> None:
    _, found = check_sample(edit(encode_sample(a_sample("7"))), "7", SETTINGS_SAMPLE)
    assert any(what in said and offset in (None, at) for at, said in found), found


def test_a_sample_under_another_id_is_named() -> None:
    _, found = check_sample(encode_sample(a_sample("7")), "8", SETTINGS_SAMPLE)
    assert [said for _, said in found] == ["json: the sample calls itself '7'"]
