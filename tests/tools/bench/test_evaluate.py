"""The bench runs over real files, counts what is shared, and its report is arithmetic."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from strive_rl.eval.answer import Asked, chosen_frames, groups_of
from strive_rl.policy import Policy
from tests.strive_rl.eval.made_benchmark import QUICK, make_benchmark
from tests.strive_rl.made.models import save_tiny_qwen2_5_vl
from tests.strive_rl.made.shards import made_sample
from tools.bench import evaluate
from tools.bench.evaluate import Stages, endless, greedy, prompts_of, report


def test_the_report_by_hand() -> None:
    one = Stages(1.0, 2.0, 3.0, 2.0, 2.0, 5.0)
    slow = replace(one, vision=20.0, alone_vision=50.0)
    lines = report([one, one, slow], 2.0, [made_sample(i) for i in range(6)])
    assert lines[0] == "6 questions on 3 videos, 10.00 s"
    assert [re.sub(r"\s+", " ", line.strip()) for line in lines[1:6]] == [
        "decode 2.000 s 20.0 %",
        "pixels 1.000 s 10.0 %",
        "vision 2.000 s 20.0 %",
        "prefill 3.000 s 30.0 %",
        "decoding 2.000 s 20.0 %",
    ]
    assert lines[6] == "questions a video: 2.00"
    assert "pixels: each question by itself takes 2.00 times" in lines[7]
    assert "vision: each question by itself takes 2.50 times" in lines[8]


def test_a_run_on_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = save_tiny_qwen2_5_vl(tmp_path / "model")
    task = make_benchmark(tmp_path / "root", model, videos=2, questions=2)
    sizes = {"frames": 4, "candidates": 8, "pixels": 3136, "tokens": 3, "rounds": 1}
    capsys.readouterr()
    evaluate.main(task.data_root, task.annotations[0], model=str(model), **sizes)
    shown = capsys.readouterr()
    assert shown.out.startswith("4 questions on 2 videos")
    assert "questions a video: 2.00" in shown.out
    assert shown.err == ""  # no progress bars of libraries


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    folder = save_tiny_qwen2_5_vl(tmp_path_factory.mktemp("model"))
    return evaluate.load_policy(str(folder), QUICK.policy)


def test_every_answer_has_all_its_tokens_and_sharing_makes_pixels_once(policy: Policy) -> None:
    asked = [Asked(sample=made_sample(i), position=i) for i in range(4)]
    groups = groups_of(policy, asked, chosen_frames(asked, QUICK.columns[0]))
    shared, alone = (prompts_of(policy, groups, share=share) for share in (True, False))
    assert [len({id(prompt.pixels) for prompt in prompts}) for prompts in (shared, alone)] == [2, 4]
    answers = greedy(endless(policy), shared, 5)
    assert all(len(one.ids) == 5 for row in answers for one in row)
