"""Which times lie in the evidence, by hand."""

from __future__ import annotations

from strive_rl.evidence import evidence_seen


def test_ends_belong_to_a_span_and_nothing_is_said_without_one() -> None:
    spans = ((1.0, 2.0), (5.0, 6.0))
    assert evidence_seen([0.5, 2.0], spans) is True
    assert evidence_seen([0.5, 2.1, 4.9], spans) is False
    assert evidence_seen([0.5], ()) is None
