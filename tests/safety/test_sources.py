"""No source file unpickles, evaluates, shells or trusts remote code."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted(
    path for part in ("strive_data", "strive_rl", "tools") for path in (ROOT / part).rglob("*.py")
)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_source_file_unpickles_evaluates_or_shells(path: Path) -> None:
    # A benchmark may read tars with webdataset, whose `decode` runs pickles; nothing else does.
    allowed = {"webdataset.WebDataset"} if path.is_relative_to(ROOT / "tools" / "bench") else set()
    wrong = {what for _, what in unsafe_calls(ast.parse(path.read_text()))} - allowed
    assert not wrong


BANNED = {
    "eval", "exec", "compile", "__import__", "os.system", "os.popen", "pickle.load", "pickle.loads",
    "pickle.Unpickler", "marshal.load", "marshal.loads", "shelve.open", "joblib.load", "dill.load",
    "dill.loads", "yaml.load", "torch.hub.load", "webdataset.WebDataset", "wds.WebDataset", "np.fromfile",
    "runpy.run_path", "np.lib.format.read_array",
}  # fmt: skip
MUST = {
    "np.load": ("allow_pickle", False),
    "numpy.load": ("allow_pickle", False),
    "torch.load": ("weights_only", True),
}


def unsafe_calls(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        said = {k.arg: k.value.value for k in node.keywords if isinstance(k.value, ast.Constant)}
        if name in BANNED or said.get("shell") is True or said.get("allow_pickle") is True:
            yield node.lineno, name
        if name in MUST and said.get(MUST[name][0]) is not MUST[name][1]:
            yield node.lineno, f"{name} without {MUST[name][0]}={MUST[name][1]}"
        # peft's adapters are tensors and JSON: its loaders have no such option.
        takes_code = name.endswith(".from_pretrained") and not name.startswith("Peft")
        if takes_code and said.get("trust_remote_code") is not False:
            yield node.lineno, f"{name} without trust_remote_code=False"
        if said.get("trust_remote_code") is True:
            yield node.lineno, f"{name} trusts remote code"


def test_the_check_of_the_sources_sees_what_it_looks_for() -> None:
    bad = (
        "eval(x)\nnp.load(f)\ntorch.load(f)\nAutoModel.from_pretrained(m)\npickle.loads(b)\n"
        "subprocess.run(c, shell=True)\nnp.load(f, allow_pickle=True)"
    )
    assert {line for line, _ in unsafe_calls(ast.parse(bad))} == {1, 2, 3, 4, 5, 6, 7}
    good = "np.load(f, allow_pickle=False)\ntorch.load(f, weights_only=True)\nmodel.eval()"
    assert not list(unsafe_calls(ast.parse(good)))
