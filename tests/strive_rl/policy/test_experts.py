"""Mixtures of experts: the same comparisons with transformers as the other models, and what routers do."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from strive_data.errors import UsageError
from strive_rl.config import EngineSettings, PolicySettings
from strive_rl.policy import Policy, Prompt, Sampling, encode, load_policy, logprobs, sample, with_features
from strive_rl.policy.architectures.experts import published, take_load
from strive_rl.policy.lora import adapter_weights
from strive_rl.rollout.groups import load_engine
from strive_rl.train import checkpoint
from tests.strive_rl.dry_run import test_memory
from tests.strive_rl.made.groups import make_group
from tests.strive_rl.made.models import DENSE, TINY_MODELS
from tests.strive_rl.policy import test_generate, test_logprobs, test_lora


@pytest.fixture(scope="module", params=sorted(TINY_MODELS.keys() - set(DENSE)))
def any_folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return TINY_MODELS[request.param](tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def any_policy(any_folder: Path) -> Policy:
    return load_policy(str(any_folder), PolicySettings(device="cpu"))


reference, prompts, adapted = test_logprobs.reference, test_logprobs.prompts, test_lora.adapted
test_log_probabilities_equal_the_reference = test_logprobs.test_log_probabilities_equal_the_reference
test_gradients_equal_the_reference = test_logprobs.test_gradients_equal_the_reference
test_wrong_positions_would_be_seen = test_logprobs.test_wrong_positions_would_be_seen
test_greedy_completions_are_those_of_generate = test_generate.test_greedy_completions_are_those_of_generate
test_activations_are_near_what_autograd_keeps = test_memory.test_activations_are_near_what_autograd_keeps
test_weights_are_counted_exactly = test_memory.test_weights_are_counted_exactly
test_a_checkpoint_says_the_same = test_lora.test_a_checkpoint_is_a_plain_folder_that_says_the_same
test_sampling_merges_the_adapters = test_lora.test_sampling_merges_the_adapters_and_restores_every_bit


def test_other_experts_would_be_seen(any_policy: Policy, any_folder: Path, prompts: list[Prompt]) -> None:
    """Negative control: with the experts in another order, other log-probabilities."""
    wrong = load_policy(str(any_folder), any_policy.settings)
    with torch.no_grad():
        for layer in wrong.model.model.language_model.layers:
            layer.mlp.gate.weight.copy_(layer.mlp.gate.weight.roll(1, dims=0))
        right, other = (logprobs(each, prompts, test_logprobs.ANSWERS, 1.0) for each in (any_policy, wrong))
    assert (right - other).abs().max() > 1e-2


def test_adapters_are_on_attention_and_shared_experts_alone(adapted: Policy) -> None:
    """Routers and routed experts, which are no linear layers, stay frozen."""
    names = {name.split(".lora_")[0].rsplit(".", 2)[-2] for name in adapter_weights(adapted.model)}
    hybrid = adapted.model.config.model_type == "qwen3_5_moe"
    assert names == ({"self_attn", "linear_attn", "shared_expert"} if hybrid else {"self_attn"})


def test_a_folder_has_the_layout_of_published_ones(tmp_path: Path) -> None:
    """Experts [E, in, out] of Qwen3-VL, which vLLM turns; and they are read as what they were."""
    made = load_policy(str(TINY_MODELS["qwen3_vl_moe"](tmp_path / "made")), PolicySettings(device="cpu"))
    checkpoint.write(tmp_path / "saved", made, checkpoint.snapshot(made))
    stored = load_file(tmp_path / "saved" / "model.safetensors")
    experts = "model.language_model.layers.0.mlp.experts"
    hidden, width = made.model.config.text_config.hidden_size, 24
    assert stored[f"{experts}.gate_up_proj"].shape == (6, hidden, 2 * width)
    assert stored[f"{experts}.down_proj"].shape == (6, width, hidden)
    own = made.model.state_dict()
    assert stored.keys() == own.keys() - {"lm_head.weight"}
    again = load_policy(str(tmp_path / "saved"), PolicySettings(device="cpu")).model.state_dict()
    assert all(torch.equal(tensor, again[name]) for name, tensor in own.items())


def test_square_experts_stay() -> None:
    """transformers tells the layouts apart by the shape: it would read turned ones as they lie."""
    assert published("a.mlp.experts.down_proj", torch.zeros(2, 3, 4)).shape == (2, 4, 3)
    square = torch.arange(8.0).view(2, 2, 2)
    assert published("a.mlp.experts.down_proj", square) is square


def test_what_routers_do_is_counted_in_the_update_alone(any_folder: Path) -> None:
    """Against the logits of transformers' own router, layer by layer."""
    policy = load_policy(str(any_folder), PolicySettings(device="cpu"))
    (prompt,) = with_features(policy, encode(policy, make_group()))
    answers = sample(policy, [prompt], Sampling(completions=2, max_new_tokens=5, greedy=True))
    assert take_load(policy.model) is None
    logits: list[torch.Tensor] = []
    layers = policy.model.model.language_model.layers
    for layer in layers:
        layer.mlp.gate.register_forward_hook(lambda module, inputs, output: logits.append(output[0]))
    logprobs(policy, [prompt], answers, 1.0)
    load = take_load(policy.model)
    assert take_load(policy.model) is None
    fed = len(prompt.ids) + sum(len(answer.ids) - 1 for answer in answers[0])
    # The last layer computes the kept columns alone.
    assert load[:, -1].tolist() == [*[float(fed)] * (len(layers) - 1), float(fed - len(prompt.ids) + 1)]
    for row, (*loads, entropy, _) in zip(logits, load.tolist(), strict=True):
        chosen = row.topk(2, dim=-1).indices.flatten().tolist()
        assert loads == [chosen.count(expert) for expert in range(6)]
        expected = torch.distributions.Categorical(logits=row.detach()).entropy().sum() / math.log(6)
        assert entropy == pytest.approx(float(expected), rel=1e-5)


def test_another_engine_is_refused_before_it_starts(any_policy: Policy) -> None:
    with pytest.raises(UsageError, match=f"got a {any_policy.model.config.model_type}, expected.*qwen3_vl"):
        load_engine(any_policy, EngineSettings(engine="vllm"), 100)
