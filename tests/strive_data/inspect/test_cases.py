from __future__ import annotations

from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest

from strive_data.errors import UsageError
from strive_data.inspect.cases import moment_of, read_cases, read_qvhighlights
from tests.strive_data.inspect.test_compare_samplers import a_case, qvhighlights_folder
from tests.strive_data.made.builds import write_build
from tests.strive_data.made.samples import a_sample, build_settings


def test_a_case_cannot_be_changed():
    case = a_case([0, 1], [(1, 2)])
    assert case.stored is None
    with pytest.raises(FrozenInstanceError):
        case.moments = ()


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
    with pytest.raises(UsageError, match="line 1: no 'relevant_windows'"):
        read_qvhighlights(qvhighlights_folder(tmp_path / "a", [{"qid": 1, "vid": "v"}], [SCORES]))
    with pytest.raises(UsageError, match="query 7 is not in highlight_val_release"):
        read_qvhighlights(qvhighlights_folder(tmp_path / "b", [TRUTH | {"qid": 8}], [SCORES]))
    folder = qvhighlights_folder(tmp_path / "c", [TRUTH], [SCORES])
    (folder / "moment_detr_val_preds.jsonl").write_text("{]\n")
    with pytest.raises(UsageError, match="line 1: not JSON"):
        read_qvhighlights(folder)


def test_all_real_queries_are_read(qvhighlights):
    assert len(qvhighlights) == 1550
    assert len({case.video_id for case in qvhighlights}) == 1519
    assert all(0 <= a < b <= len(case.scores) for case in qvhighlights for a, b in case.moments)
    assert sum(len(case.moments) for case in qvhighlights) == 2803


def without_evidence(sample):
    question = replace(sample.meta.question, evidence_spans=())
    return replace(sample, meta=replace(sample.meta, question=question))


def test_a_span_is_the_candidates_whose_times_lie_in_it():
    times_N = np.array([0.5, 1.5, 2.5, 3.5])
    assert moment_of(times_N, 1.5, 2.5) == (1, 3)
    assert moment_of(times_N, 0.0, 9.0) == (0, 4)
    # Between two candidates: an empty range, which nothing can meet.
    assert moment_of(times_N, 1.6, 2.4) == (2, 2)


def test_a_build_gives_its_scores_variants_and_evidence(tmp_path):
    samples = [a_sample("1"), without_evidence(a_sample("2")), a_sample("3", count=12)]
    found = read_cases(write_build(tmp_path / "b", samples, settings=build_settings()))
    assert (found.source, found.without) == (str(tmp_path / "b"), 1)
    assert found.built == build_settings().sampler
    assert [case.sample_id for case in found.cases] == ["1", "3"]
    for case, sample in zip(found.cases, (samples[0], samples[2]), strict=True):
        # Frames one a second from .5 s; the span is 2.5 to 3.5 s.
        assert case.moments == ((2, 4),)
        assert case.video_id == "v1"
        assert (case.scores == sample.scores).all()
        assert case.stored.tolist() == sample.variants.tolist()


def test_folders_with_nothing_to_judge_by_are_refused(tmp_path):
    with pytest.raises(UsageError, match="no such folder"):
        read_cases(tmp_path / "none")
    with pytest.raises(UsageError, match=r"neither run.json .* nor highlight_val_release.jsonl"):
        read_cases(tmp_path)
    build = write_build(tmp_path / "b", [without_evidence(a_sample("2"))], settings=build_settings())
    with pytest.raises(UsageError, match="none of its 1 sample has evidence spans"):
        read_cases(build)


def test_a_qvhighlights_folder_is_known_by_its_file(tmp_path):
    truth = {"qid": 1, "vid": "v", "relevant_windows": [[0, 2]]}
    folder = qvhighlights_folder(tmp_path / "q", [truth], [{"qid": 1, "pred_saliency_scores": [1.0]}])
    found = read_cases(folder)
    assert (found.source, len(found.cases), found.without, found.built) == ("QVHighlights", 1, 0, None)
