from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from strive_rl.benchmarks.readers.prediction import Records
from strive_rl.benchmarks.readers.tempcompass import fits, read


def file(name: str, *rows: dict[str, Any]) -> Records:
    return Records(path=Path(name), tree={"103": {"speed": list(rows)}})


def test_predictions_and_ratings_are_read_alike() -> None:
    for field in ("prediction", "response", "video-llm-prediction"):
        one = read(file("model.yes_no.json", {"question": "Q?", field: "Yes"})).predictions[0]
        assert (one.ids, one.video, one.question, one.output) == (("yes_no-103-speed-0",), "103", "Q?", "Yes")
    refused = read(file("yes_no.json", {"question": "Q?", "prediction": None}))
    assert refused.predictions[0].output == ""
    assert fits(file("x.json", {"prediction": "Yes"}))
    assert not fits(file("x.json", {"question": "Q?"}))
    assert read(file("x.json", {"question": "Q?"}, {"prediction": "a"})).bad != ()


@pytest.mark.parametrize(
    ("row", "judgement"),
    [
        ({"match_success": True, "rating": 1}, None),
        ({"match_success": False, "rating": 1}, 1.0),
        ({"match_success": False, "rating": 0}, 0.0),
        ({"rating": 1}, 1.0),
        ({"rating": -1}, None),
        ({}, None),
    ],
)
def test_a_rating_is_a_judgement_where_the_rules_did_not_match(
    row: dict[str, Any], judgement: float | None
) -> None:
    assert read(file("captioning.json", row | {"prediction": "a"})).predictions[0].judgement == judgement
