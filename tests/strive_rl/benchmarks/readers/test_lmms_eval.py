from __future__ import annotations

from pathlib import Path
from typing import Any

from strive_rl.benchmarks.readers.lmms_eval import fits, read
from strive_rl.benchmarks.readers.prediction import Records


def one(doc: dict[str, Any], name: str = "samples_x.jsonl", resps: object = (("B",),)) -> Records:
    listed = [list(r) for r in resps] if isinstance(resps, tuple) else resps
    return Records(path=Path(name), rows=(("line 1", {"doc_id": 0, "doc": doc, "resps": listed}),))


def test_the_docs_of_each_benchmark_tell_id_video_and_question() -> None:
    videomme = {
        "video_id": "001",
        "videoID": "fFjv",
        "question_id": "001-1",
        "question": "Q?",
        "options": ["A. x"],
    }
    found = read(one(videomme)).predictions[0]
    assert (found.ids, found.video, found.question, found.options) == (("001-1",), "fFjv", "Q?", ("A. x",))
    perception = {"video_name": "video_7", "question_id": "2", "question": "Q?", "options": ["x", "y"]}
    found = read(one(perception, "samples_perceptiontest_val_mc.jsonl")).predictions[0]
    assert (found.ids, found.group, found.options) == (("video_7-2",), "", ("A. x", "B. y"))
    vsi = {"id": 12, "dataset": "scannet", "scene_name": "scene0_00", "question": "Q?", "options": None}
    found = read(one(vsi)).predictions[0]
    assert (found.ids, found.video, found.options) == (("12",), "scene0_00", ())
    mmvu = {
        "id": "validation_1",
        "video_path": "videos/Art/0.mp4",
        "question": "Q?",
        "choices": {"A": "x", "B": ""},
    }
    found = read(one(mmvu)).predictions[0]
    assert (found.ids, found.video, found.options) == (("validation_1",), "videos/Art/0.mp4", ("A. x",))
    tempcompass = {"video_id": "103", "dim": "speed", "question": "Q?\nA. x", "answer": "A. x"}
    found = read(one(tempcompass, "samples_tempcompass_mc.jsonl")).predictions[0]
    assert (found.video, found.group, found.ids) == ("103", "multi-choice", ())
    track = {"id": "new_Psychology_5", "question": "Q?", "options": ["x", "y"]}
    found = read(one(track, "20250101_samples_video_mmmu_adaptation.jsonl")).predictions[0]
    assert (found.ids, found.group, found.video) == (
        ("Adaptation-new_Psychology_5",),
        "Adaptation",
        "new_Psychology_5",
    )


def test_responses_are_found_however_deep_and_their_lack_is_bad() -> None:
    doc = {"question": "Q?"}
    assert [p.output for p in read(one(doc, resps=[["x"], ["y"]])).predictions] == ["x"]
    assert [p.output for p in read(one(doc, resps=["x"])).predictions] == ["x"]
    assert read(one(doc, resps=[])).bad == ("line 1: no doc or no response",)
    assert fits(one(doc))
    logs = Records(path=Path("old.json"), tree={"logs": [{"doc": doc, "filtered_resps": ["z"]}]})
    assert fits(logs)
    assert [p.output for p in read(logs).predictions] == ["z"]
