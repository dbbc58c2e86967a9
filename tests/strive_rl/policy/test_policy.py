"""The four calls into a model, on text alone, against the model's own forward pass."""

from __future__ import annotations

import torch

from strive_rl.policy import Policy


def ids_and_positions(policy: Policy) -> tuple[torch.Tensor, torch.Tensor]:
    ids = torch.tensor([[3, 5, 8, 13, 21, 34]], device=policy.device)
    return ids, torch.arange(6, device=policy.device).expand(3, 1, 6)


def test_reading_and_logits_are_the_models_own(any_policy: Policy) -> None:
    ids, positions = ids_and_positions(any_policy)
    with torch.no_grad():
        hidden = any_policy.forward({"inputs_embeds": any_policy.embed(ids)}, positions)
        expected = any_policy.model(input_ids=ids, position_ids=positions).logits
        made = any_policy.logits(hidden)
    assert made.dtype == torch.float32
    assert torch.allclose(made, expected.float(), atol=1e-5)


def test_a_cache_goes_on_where_it_was(any_policy: Policy) -> None:
    ids, positions = ids_and_positions(any_policy)
    cache = any_policy.new_cache()
    with torch.no_grad():
        whole = any_policy.forward({"inputs_embeds": any_policy.embed(ids)}, positions)
        parts = [
            any_policy.forward(
                {"inputs_embeds": any_policy.embed(ids[:, part])}, positions[..., part], cache=cache
            )
            for part in (slice(0, 4), slice(4, 5), slice(5, 6))
        ]
    assert cache.get_seq_length() == 6
    assert torch.allclose(torch.cat(parts, dim=1), whole, atol=1e-5)


def test_only_what_requires_a_gradient_is_trained(any_policy: Policy) -> None:
    names = [name for name, _ in any_policy.trainable()]
    assert names == [name for name, p in any_policy.model.named_parameters() if p.requires_grad]
    assert not any("visual" in name for name in names)
    assert any_policy.fsdp_forward(lambda: 7) == 7
