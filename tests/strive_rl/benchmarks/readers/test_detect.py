from __future__ import annotations

import json
from pathlib import Path

import pytest

from strive_data.errors import SettingsError, UsageError
from strive_rl.benchmarks.custom import CUSTOM
from strive_rl.benchmarks.readers.detect import read_predictions

FORMS = {
    "strive": {"sample_id": "1", "output": "x"},
    "lmms-eval": {"doc": {"question": "Q"}, "resps": [["x"]]},
    "video-r1": {"results": [{"problem": "Q", "output": "x"}]},
    "videomme": [{"video_id": "1", "questions": [{"question": "Q", "response": "x"}]}],
    "mmvu": [{"id": "v_1", "choices": {}, "response": "x"}],
    "tempcompass": {"103": {"speed": [{"question": "Q", "prediction": "x"}]}},
}


@pytest.mark.parametrize("name", FORMS)
def test_each_form_is_reported_by_its_fields(tmp_path: Path, name: str) -> None:
    path = tmp_path / "file.json"
    path.write_text(json.dumps(FORMS[name]))
    read = read_predictions(path, CUSTOM)
    assert (read.format, [p.output for p in read.predictions]) == (name, ["x"])
    assert read_predictions(path, CUSTOM, format_name=name).format == name


def test_a_folder_is_its_predictions_and_what_is_unknown_is_refused(tmp_path: Path) -> None:
    (tmp_path / "predictions.jsonl").write_text(json.dumps(FORMS["strive"]))
    assert read_predictions(tmp_path, CUSTOM).format == "strive"
    with pytest.raises(SettingsError, match="did you mean 'video-r1'"):
        read_predictions(tmp_path, CUSTOM, format_name="video_r1")
    (tmp_path / "predictions.jsonl").write_text(json.dumps({"text": "x"}))
    with pytest.raises(UsageError, match="unknown format"):
        read_predictions(tmp_path, CUSTOM)
    (tmp_path / "predictions.jsonl").write_text(json.dumps(FORMS["video-r1"]))
    with pytest.raises(UsageError, match="--sampler"):
        read_predictions(tmp_path, CUSTOM, sampler="uniform")
