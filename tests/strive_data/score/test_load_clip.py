from __future__ import annotations

import pickle
import socket
import time
from pathlib import Path

import open_clip
import pytest
import torch
from huggingface_hub import constants as hub
from safetensors.torch import save_file

from strive_data.config import ScoreSettings
from strive_data.errors import UsageError
from strive_data.score.load_clip import check_names, choose_device, load_clip, token_counter
from strive_data.score.registry import DEMO_MODEL


@pytest.mark.parametrize("accepts", [False, True])
def test_a_hub_that_does_not_answer_is_asked_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], accepts: bool
) -> None:
    """A closed port, and a server that accepts and says nothing."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        if accepts:
            server.listen()
        endpoint = f"http://127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setattr(hub, "ENDPOINT", endpoint)
        monkeypatch.setattr(hub, "HF_HUB_ETAG_TIMEOUT", 1)
        monkeypatch.setattr(hub, "HF_HUB_OFFLINE", False)
        started = time.monotonic()
        with pytest.raises(UsageError, match=r"cannot load hf-hub:nobody/none.*--scorer flat"):
            load_clip(ScoreSettings(model="hf-hub:nobody/none"))
    assert time.monotonic() - started < 15
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith(f"score: loading hf-hub:nobody/none from {endpoint} or its cache ")
    assert said[1:] == [f"score: {endpoint} does not answer; only its cache is read"]
    assert hub.HF_HUB_OFFLINE is False


class Bomb:
    """Unpickling it would make a folder."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.mkdir, (self.target,)  # type: ignore[return-value]


def test_an_unknown_model_gets_a_suggestion() -> None:
    with pytest.raises(
        UsageError, match=r"got 'ViT-B32', which open_clip does not know, did you mean 'ViT-B-32'"
    ):
        check_names("ViT-B32", "openai")


def test_a_bad_tag_lists_the_tags_and_the_way_without_network() -> None:
    with pytest.raises(UsageError, match=r"neither a file nor a tag of ViT-B-32; tags: openai, .*local-dir:"):
        check_names("ViT-B-32", "opanai")


def test_a_missing_file_or_folder_is_said() -> None:
    with pytest.raises(UsageError, match="neither a file nor a tag"):
        load_clip(ScoreSettings(model="ViT-B-32", pretrained="/no/such/file.pt"))
    with pytest.raises(UsageError, match=r"/no/such is no open_clip folder \(no open_clip_config.json\)"):
        load_clip(ScoreSettings(model="local-dir:/no/such"))


def test_a_folder_without_weights_is_refused(tiny_clip: Path, tmp_path: Path) -> None:
    (tmp_path / "open_clip_config.json").write_text((tiny_clip / "open_clip_config.json").read_text())
    with pytest.raises(UsageError, match=f"cannot load local-dir:{tmp_path}"):
        load_clip(ScoreSettings(model=f"local-dir:{tmp_path}"))


@pytest.mark.parametrize("name", ["weights.pt", "weights.safetensors"])
def test_weights_that_are_none_are_a_usage_error(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"this is no checkpoint")
    with pytest.raises(UsageError, match="cannot load ViT-B-32 with pretrained="):
        load_clip(ScoreSettings(model="ViT-B-32", pretrained=str(tmp_path / name)))


def test_weights_of_another_architecture_are_a_usage_error(tmp_path: Path) -> None:
    """Regression: an AssertionError of open_clip ended the command with a traceback."""
    weights = tmp_path / "weights.safetensors"
    save_file({"positional_embedding": torch.zeros(5, 8)}, weights)
    with pytest.raises(UsageError, match=r"cannot load ViT-B-32 with pretrained=.*width changed"):
        load_clip(ScoreSettings(model="ViT-B-32", pretrained=str(weights)))


def test_a_tokenizer_from_the_hub_is_announced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: with a local checkpoint, the hub was asked for it for more than a minute without a word."""

    def large(*_: object, **__: object) -> None:
        raise OSError("not made here")

    monkeypatch.setattr(hub, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(open_clip, "create_model_and_transforms", large)
    weights = tmp_path / "weights.pt"
    weights.touch()
    with pytest.raises(UsageError, match="local-dir:/path/to/folder"):
        load_clip(ScoreSettings(model="ViT-B-16-SigLIP2", pretrained=str(weights)))
    assert "score: loading ViT-B-16-SigLIP2" in capsys.readouterr().err


def test_a_pickle_is_never_run(tmp_path: Path) -> None:
    weights, made = tmp_path / "weights.pt", tmp_path / "made"
    torch.save({"state_dict": Bomb(made)}, weights)
    with pytest.raises(UsageError, match="cannot load"):
        load_clip(ScoreSettings(model="ViT-B-32", pretrained=str(weights)))
    assert not made.exists()
    pickle.loads(pickle.dumps(Bomb(made)))  # the control: it would have worked
    assert made.exists()


def test_devices() -> None:
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device("auto").type in ("cpu", "cuda")
    with pytest.raises(UsageError, match="expected auto, cpu or cuda"):
        choose_device("gpu please")


def test_tokens_are_counted_without_the_special_ones(tiny_clip: Path) -> None:
    count, capacity = token_counter(open_clip.get_tokenizer("ViT-B-32"))
    assert capacity == 75
    assert count("a photo of a cat") == 5
    assert count("") == 0
    assert load_clip(ScoreSettings(model=f"local-dir:{tiny_clip}")).capacity == 18


def test_a_tokenizer_of_transformers_is_counted_as_open_clip_uses_it() -> None:
    tokenizer = open_clip.get_tokenizer(f"local-dir:{DEMO_MODEL}")
    count, capacity = token_counter(tokenizer)
    assert capacity == 46
    text = "What colour is the star?"
    kept = int((tokenizer([text])[0] != tokenizer.tokenizer.pad_token_id).sum())
    assert kept == count(text) + 2
