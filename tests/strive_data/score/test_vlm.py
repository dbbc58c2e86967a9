from __future__ import annotations

import math
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import (
    AutoProcessor,
    LlavaOnevisionForConditionalGeneration,
    Qwen2_5_VLForConditionalGeneration,
    Qwen3VLForConditionalGeneration,
)

from strive_data.config import ScoreSettings
from strive_data.errors import FailureKind, SampleError, UsageError
from strive_data.score import FrameScores, make_scorer
from strive_data.score.vlm import (
    VlmScorer,
    encode,
    kept_features,
    kept_prefix,
    plain,
    prompt_of,
    split_text,
)
from tests.strive_data.made.samples import a_question
from tests.strive_data.score.tiny_vlms import write_llava
from tests.strive_data.score.videos import video_of

DEMO = Path(__file__).parents[3] / "strive_rl/study/demo_models/demo"


def settings_of(model: object, **changes: object) -> ScoreSettings:
    return ScoreSettings(scorer="vlm", model=str(model), **({"device": "cpu"} | changes))


LLAVA, BLIP = "llava-hf/llava-onevision-qwen2-0.5b-ov-hf", "Salesforce/blip-itm-large-coco"


def test_the_settings_name_the_model_of_each_scorer() -> None:
    models = {name: ScoreSettings(scorer=name).model for name in ("clip", "demo", "vlm", "blip-itm")}
    assert models == {"clip": "ViT-B-32", "demo": "", "vlm": LLAVA, "blip-itm": BLIP}
    assert ScoreSettings(scorer="qwen3-vl-reranker").model == "Qwen/Qwen3-VL-Reranker-2B"
    cascade = ScoreSettings(scorer="cascade")
    assert (cascade.model, cascade.cascade_model) == ("ViT-B-32", LLAVA)
    assert ScoreSettings(scorer="cascade", cascade_second="blip-itm").cascade_model == BLIP


def test_what_is_loaded(tiny_vlms: Path) -> None:
    """ANSWERS of the tiny tokenizer: three spellings of yes and two of no, right after its 300 tokens."""
    llava, qwen = VlmScorer(settings_of(tiny_vlms / "llava")), VlmScorer(settings_of(tiny_vlms / "qwen"))
    assert (llava.name, llava.as_videos, llava.capacity) == ("llava", True, 512)
    assert (qwen.name, qwen.as_videos, qwen.capacity) == ("qwen", False, 8192)
    assert (len(llava.yes), len(llava.no), len(qwen.yes), len(qwen.no)) == (3, 2, 3, 2)
    tokenizer = llava.processor.tokenizer
    assert sorted(tokenizer.convert_ids_to_tokens(llava.yes.tolist())) == [" yes", "Yes", "yes"]
    assert sorted(tokenizer.convert_ids_to_tokens(llava.no.tolist())) == ["No", "no"]
    assert {"<image>", "<video>", "<|im_end|>"} <= set(llava.reserved)
    assert {"<|image_pad|>", "<|vision_start|>"} <= set(qwen.reserved)
    assert not llava.model.training


def test_the_precision_is_that_of_the_weights(tiny_vlms: Path) -> None:
    for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)):
        vlm = VlmScorer(settings_of(tiny_vlms / "llava", precision=precision))
        assert {weight.dtype for weight in vlm.model.parameters()} == {dtype}


def test_a_tokenizer_without_the_answers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"demo_models/demo has none of 'yes', 'Yes', .* as one token"):
        VlmScorer(settings_of(DEMO))
    write_llava(tmp_path, answers=("yes", "nope"))
    with pytest.raises(UsageError, match="has none of 'no', 'No'"):
        VlmScorer(settings_of(tmp_path))


def test_missing_weights_are_refused_and_not_made_up(tiny_vlms: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_vlms / "llava", tmp_path / "cut"))
    weights = load_file(folder / "model.safetensors")
    lost = next(name for name in weights if "q_proj.weight" in name)
    save_file({k: v for k, v in weights.items() if k != lost}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(UsageError, match=r"lacks 1 weights, the first is .*q_proj\.weight"):
        VlmScorer(settings_of(folder))


def test_what_is_no_such_model_is_refused(
    tiny_vlms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"cannot load .*empty: .*; score\.model takes"):
        VlmScorer(settings_of(tmp_path / "empty"))
    with pytest.raises(UsageError, match=r"cannot load nobody/nothing: .*without a network, a folder"):
        VlmScorer(settings_of("nobody/nothing"))
    folder = Path(shutil.copytree(tiny_vlms / "llava", tmp_path / "silent"))
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(UsageError, match="has no chat template"):
        VlmScorer(settings_of(folder))
    with pytest.raises(UsageError, match=r"score\.device: got 'abacus'"):
        VlmScorer(settings_of(tiny_vlms / "llava", device="abacus"))


KINDS = {"llava": LlavaOnevisionForConditionalGeneration, "qwen": Qwen2_5_VLForConditionalGeneration}
FRAMES = np.random.default_rng(0).integers(0, 256, (5, 28, 56, 3), dtype=np.uint8)
VIDEO = video_of(FRAMES)
CAT = replace(a_question("cat"), question="Where does the cat sit?", options=("A. door", "B. bed"))
DOG = replace(a_question("dog"), question="Who calls the brown dog?", options=())
CAT_QUERY, DOG_QUERY = "Where does the cat sit? A. door B. bed", "Who calls the brown dog?"
PROMPT = "Does this frame help to answer the following question?\n{}\nAnswer yes or no."
CAT_PROMPT = PROMPT.format(CAT_QUERY)
DOG_PROMPT = PROMPT.format(DOG_QUERY)


def scorer_of(folder: Path, **changes: object) -> VlmScorer:
    base = ScoreSettings(scorer="vlm", model=str(folder), device="cpu", batch_size=3)
    scorer = make_scorer(replace(base, **changes))
    assert isinstance(scorer, VlmScorer)
    return scorer


def scores_of(result: FrameScores | SampleError) -> np.ndarray:
    assert isinstance(result, FrameScores)
    return result.scores


@pytest.fixture(params=["llava", "qwen"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def plain_logits(folder: Path, kind: str, frame: np.ndarray, text: str) -> torch.Tensor:
    """Oracle: transformers used plainly, one frame, one prompt, logits [L, V] of all positions."""
    model: Any = KINDS[kind].from_pretrained(folder).eval()
    processor: Any = AutoProcessor.from_pretrained(folder)
    seen = "video" if kind == "llava" else "image"
    message = {"role": "user", "content": [{"type": seen}, {"type": "text", "text": text}]}
    prompt = processor.apply_chat_template([message], add_generation_prompt=True)
    shown = {"videos": [frame[None]]} if kind == "llava" else {"images": [Image.fromarray(frame)]}
    inputs = processor(text=[prompt], return_tensors="pt", **shown)
    with torch.no_grad():
        return model(**inputs).logits[0]


def test_scores_are_the_margins_of_plain_forward_passes(tiny_vlms: Path, kind: str) -> None:
    folder = tiny_vlms / kind
    ids = AutoProcessor.from_pretrained(folder).tokenizer.convert_tokens_to_ids
    cat, dog = scorer_of(folder).score(VIDEO, [CAT, DOG])
    for result, text in ((cat, CAT_PROMPT), (dog, DOG_PROMPT)):
        expected = []
        for frame in FRAMES:
            p = plain_logits(folder, kind, frame, text)[-1].double().softmax(0)
            yes = sum(float(p[ids(token)]) for token in ("yes", "Yes", " yes"))
            expected.append(math.log(yes) - math.log(sum(float(p[ids(token)]) for token in ("no", "No"))))
        assert scores_of(result) == pytest.approx(expected, abs=1e-4)
        assert np.ptp(expected) > 0.05  # frames do differ
        assert not np.allclose(scores_of(result), expected[::-1], atol=0.01)
    assert np.abs(scores_of(cat) - scores_of(dog)).max() > 0.05  # and questions
    assert (cat.scorer, cat.windows, cat.scores.dtype) == (kind, 1, np.float32)


def test_a_question_has_the_same_bits_alone_and_among_others(tiny_vlms: Path, kind: str) -> None:
    scorer = scorer_of(tiny_vlms / kind)
    together = scorer.score(VIDEO, [DOG, CAT, DOG])
    (alone,) = scorer.score(VIDEO, [CAT])
    assert scores_of(together[1]).tobytes() == scores_of(alone).tobytes()
    assert scores_of(together[0]).tobytes() == scores_of(together[2]).tobytes()


@contextmanager
def counted(scorer: VlmScorer) -> Iterator[tuple[Counter[str], set[int]]]:
    """Calls of the vision tower and tokens read by the language model; positions that the head reads."""
    calls: Counter[str] = Counter()
    positions: set[int] = set()
    model = scorer.model
    tower = getattr(model.model, "vision_tower", None) or model.model.visual

    def count_tokens(module: Any, args: Any, kwargs: Any) -> None:
        calls["tokens"] += kwargs["inputs_embeds"].shape[:2].numel()

    hooks = [
        tower.register_forward_pre_hook(lambda *_: calls.update(["tower"])),
        model.lm_head.register_forward_pre_hook(lambda _, args: positions.add(args[0].shape[1])),
        model.model.language_model.register_forward_pre_hook(count_tokens, with_kwargs=True),
    ]
    yield calls, positions
    for hook in hooks:
        hook.remove()


def test_what_questions_share_is_computed_once(tiny_vlms: Path, kind: str) -> None:
    """Five frames in batches of three, two questions: two calls of the tower, one logit row a prompt."""
    scorer = scorer_of(tiny_vlms / kind)
    handed = "mm_encoder_outputs" in scorer.forward_names
    with counted(scorer) as (calls, positions):
        scorer.score(VIDEO, [CAT, DOG])
    assert positions == {1}
    assert calls["tower"] == (2 if kind == "llava" or handed else 4)
    rows = [encode(scorer, text, FRAMES[:1])["input_ids"].shape[1] for text in (CAT_QUERY, DOG_QUERY)]
    if kind == "llava":  # what stands before the frame, its 2×2 pooled patches, and a new line, once
        ids = encode(scorer, "", FRAMES[:1])["input_ids"][0].tolist()
        shared = ids.index(scorer.processor.video_token_id) + 4 + 1
        assert calls["tokens"] == 5 * (shared + rows[0] - shared + rows[1] - shared)
    else:
        assert calls["tokens"] == 5 * sum(rows)


def test_what_is_kept_changes_no_logit(tiny_vlms: Path, kind: str) -> None:
    vlm = scorer_of(tiny_vlms / kind)
    keep = kept_prefix if kind == "llava" else kept_features
    with torch.inference_mode():
        inputs = encode(vlm, "", FRAMES[:3])
        text = {
            name: value.expand(3, -1)
            for name, value in split_text(encode(vlm, CAT_QUERY, FRAMES[:1]))[0].items()
        }
        whole = plain(vlm, inputs)(text)
        kept = keep(vlm, inputs)
        first, second = kept(text), kept(text)
        other = keep(vlm, encode(vlm, "", FRAMES[2:]))(text)
    assert torch.allclose(first, whole, atol=1e-4)
    assert torch.equal(first, second)  # nothing of the first question stays behind
    assert not torch.allclose(other, whole, atol=0.01)  # other frames differ


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_lower_precision_is_near(tiny_vlms: Path, kind: str, precision: str) -> None:
    """Within .15 of the spread: attention of redrawn weights is steep, and bf16 has 8 bits."""
    exact, near = (
        np.concatenate([scores_of(result) for result in scorer.score(VIDEO, [CAT, DOG])])
        for scorer in (scorer_of(tiny_vlms / kind), scorer_of(tiny_vlms / kind, precision=precision))
    )
    assert near == pytest.approx(exact, abs=0.15 * float(np.ptp(exact)))
    assert near.tolist() != exact.tolist()


def test_questions_that_cannot_be_asked_cost_only_themselves(tiny_vlms: Path) -> None:
    scorer = scorer_of(tiny_vlms / "llava")
    mark = replace(CAT, question="What does <video> mean?")
    long = replace(CAT, question="why " * 600)
    results = scorer.score(VIDEO, [mark, CAT, long])
    (alone,) = scorer.score(VIDEO, [CAT])
    assert scores_of(results[1]).tobytes() == scores_of(alone).tobytes()
    for result, part in ((results[0], "holds '<video>', a mark"), (results[2], "the model takes 512")):
        assert result.kind == FailureKind.SCORE_FAILED
        assert part in result.message
    assert all(isinstance(result, SampleError) for result in scorer.score(VIDEO, [mark, long]))


def test_margins_that_are_not_finite_fail_their_question(tiny_vlms: Path) -> None:
    scorer = scorer_of(tiny_vlms / "llava")
    scorer.model.lm_head.weight.data[:] = float("nan")
    (result,) = scorer.score(VIDEO, [CAT])
    assert "not finite" in result.message


@pytest.mark.parametrize("shape", [(0, 8, 8, 3), (8, 8, 3), (2, 8, 8, 1)])
def test_frames_of_another_shape_are_an_error_of_the_video(tiny_vlms: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(SampleError, match="expected \\[N, H, W, 3\\]"):
        scorer_of(tiny_vlms / "llava").score(video_of(np.zeros(shape, dtype=np.uint8)), [CAT])


def published_messages(query: str) -> list[dict[str, Any]]:
    """What github.com/QwenLM/Qwen3-VL-Embedding (src/models/qwen3_vl_reranker.py) asks about an image."""
    judge = (
        "Judge whether the Document meets the requirements based on the Query and the Instruct provided. "
        'Note that the answer can only be "yes" or "no".'
    )
    texts = ["<Instruct>: Given a search query, retrieve relevant candidates that answer the query."]
    user = [{"type": "text", "text": text} for text in [*texts, "<Query>:", query, "\n<Document>:"]]
    return [
        {"role": "system", "content": [{"type": "text", "text": judge}]},
        {"role": "user", "content": [*user, {"type": "image"}]},
    ]


def test_the_reranker_scores_as_its_authors_do(tiny_reranker: Path) -> None:
    """Oracle: their code, the sigmoid of the last state times the difference of two rows of the head."""
    scorer = make_scorer(ScoreSettings(scorer="qwen3-vl-reranker", model=str(tiny_reranker), device="cpu"))
    assert isinstance(scorer, VlmScorer)
    model: Any = Qwen3VLForConditionalGeneration.from_pretrained(tiny_reranker).eval()
    processor: Any = AutoProcessor.from_pretrained(tiny_reranker)
    vocabulary = processor.tokenizer.get_vocab()
    head = model.lm_head.weight.detach()
    results = scorer.score(VIDEO, [CAT, DOG])
    for result, query in zip(results, (CAT_QUERY, DOG_QUERY), strict=True):
        prompt = processor.apply_chat_template(published_messages(query), add_generation_prompt=True)
        assert prompt == prompt_of(scorer, query)
        expected = []
        for frame in FRAMES:
            inputs = processor(text=[prompt], images=[Image.fromarray(frame)], return_tensors="pt")
            with torch.no_grad():
                state = model.model(**inputs).last_hidden_state[0, -1]
            expected.append(float(torch.sigmoid(state @ (head[vocabulary["yes"]] - head[vocabulary["no"]]))))
        assert 1 / (1 + np.exp(-scores_of(result))) == pytest.approx(expected, abs=1e-5)
        assert np.ptp(expected) > 0.005
    assert np.abs(scores_of(results[0]) - scores_of(results[1])).max() > 0.01
    (alone,) = scorer.score(VIDEO, [DOG])
    assert scores_of(alone).tobytes() == scores_of(results[1]).tobytes()


def test_the_reranker_wants_a_model_with_its_marks(tiny_vlms: Path) -> None:
    with pytest.raises(UsageError, match=r"marks an image by '<image>', expected '<\|image_pad\|>'"):
        make_scorer(ScoreSettings(scorer="qwen3-vl-reranker", model=str(tiny_vlms / "llava"), device="cpu"))
