from __future__ import annotations

import pytest

from strive_data.errors import UsageError
from strive_data.judge.qvhighlights import read_qvhighlights
from tests.strive_data.judge.made_cases import qvhighlights_folder

TRUTH = {"qid": 7, "vid": "a_0_10", "relevant_windows": [[0, 4], [6, 12]]}
SCORES = {"qid": 7, "pred_saliency_scores": [0.5, 0.25, 0.0, -1.0, 2.0]}


def test_windows_in_seconds_become_ranges_of_two_second_clips(tmp_path):
    (case,) = read_qvhighlights(qvhighlights_folder(tmp_path / "q", [TRUTH], [SCORES]))
    assert (case.sample_id, case.video_id) == ("7", "a_0_10")
    assert case.scores.tolist() == [0.5, 0.25, 0.0, -1.0, 2.0]
    # The second window ends after the last clip.
    assert case.moments == ((0, 2), (3, 5))


def test_files_that_are_not_as_published_are_refused(tmp_path):
    with pytest.raises(UsageError, match=r"cannot read .*highlight_val_release.jsonl"):
        read_qvhighlights(tmp_path)
    with pytest.raises(
        UsageError, match="line 1: no 'relevant_windows'; expected qid, vid, relevant_windows"
    ):
        read_qvhighlights(qvhighlights_folder(tmp_path / "a", [{"qid": 1, "vid": "v"}], [SCORES]))
    with pytest.raises(UsageError, match="query 7 is not in highlight_val_release"):
        read_qvhighlights(qvhighlights_folder(tmp_path / "b", [TRUTH | {"qid": 8}], [SCORES]))
    folder = qvhighlights_folder(tmp_path / "c", [TRUTH], [SCORES])
    (folder / "moment_detr_val_preds.jsonl").write_text("{]\n")
    with pytest.raises(UsageError, match="line 1: not JSON"):
        read_qvhighlights(folder)


def test_all_real_queries_are_read(shared_data):
    folder = shared_data / "frame_relevance" / "qvhighlights"
    if not folder.is_dir():
        pytest.skip(f"no real relevance scores: {folder} is absent")
    cases = read_qvhighlights(folder)
    assert len(cases) == 1550
    assert len({case.video_id for case in cases}) == 1519
    assert all(0 <= a < b <= len(case.scores) for case in cases for a, b in case.moments)
    assert sum(len(case.moments) for case in cases) == 2803
