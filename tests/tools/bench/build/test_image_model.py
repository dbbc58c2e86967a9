from __future__ import annotations

from pathlib import Path

from tools.bench.build.image_model import ImageModel, choose_model


def test_the_demo_model_needs_no_weights(tmp_path: Path) -> None:
    model = choose_model("demo", "random", "fp32", tmp_path)
    assert model.build_options == ["--scorer", "demo", "--set", "score.precision=fp32"]
    assert model.open_clip_name.startswith("local-dir:")


def test_a_model_is_passed_on_by_its_settings() -> None:
    model = ImageModel(scorer="clip", model="ViT-B-16", pretrained="openai", precision="bf16")
    sets = [option for option in model.build_options if option.startswith("score.")]
    assert sets == ["score.model=ViT-B-16", "score.pretrained=openai", "score.precision=bf16"]
    assert choose_model("ViT-B-16", "openai", "bf16", Path()) == model
