"""No source file unpickles, evaluates text, starts a shell or runs a model's own code."""

from __future__ import annotations

import ast
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UNPICKLING = {
    "pickle.load", "pickle.loads", "pickle.Unpickler", "marshal.load", "marshal.loads", "shelve.open",
    "joblib.load", "dill.load", "dill.loads", "yaml.load", "torch.hub.load", "np.fromfile",
    "np.lib.format.read_array", "webdataset.WebDataset", "wds.WebDataset",
}  # fmt: skip
EVALUATING = {"eval", "exec", "compile", "__import__", "runpy.run_path"}
SHELLS = {"os.system", "os.popen"}
Keywords = dict[str, object]


def unpickles(name: str, keywords: Keywords) -> bool:
    allowed = {"np.load": ("allow_pickle", False), "numpy.load": ("allow_pickle", False)}
    option, value = (allowed | {"torch.load": ("weights_only", True)}).get(name, ("", None))
    refused = bool(option) and keywords.get(option) is not value
    return name in UNPICKLING or keywords.get("allow_pickle") is True or refused


def evaluates(name: str, keywords: Keywords) -> bool:
    return name in EVALUATING


def starts_a_shell(name: str, keywords: Keywords) -> bool:
    return name in SHELLS or keywords.get("shell") is True


def trusts_remote_code(name: str, keywords: Keywords) -> bool:
    # Adapters of peft are tensors and JSON: their loaders have no such option.
    loads = name.endswith(".from_pretrained") and not name.startswith("Peft")
    return (
        keywords.get("trust_remote_code") is not False if loads else bool(keywords.get("trust_remote_code"))
    )


Rule = Callable[[str, Keywords], bool]
RULES = {
    unpickles: "np.load(f)\ntorch.load(f)\npickle.loads(b)\nnp.load(f, allow_pickle=True)",
    evaluates: "eval(x)\nexec(x)",
    starts_a_shell: "os.system(c)\nsubprocess.run(c, shell=True)",
    trusts_remote_code: "AutoModel.from_pretrained(m)\nA.from_pretrained(m, trust_remote_code=True)\n"
    "f(trust_remote_code=True)",
}
SAFE = (
    "np.load(f, allow_pickle=False)\ntorch.load(f, weights_only=True)\nmodel.eval()\nsubprocess.run([c])\n"
    "A.from_pretrained(m, trust_remote_code=False)\nPeftModel.from_pretrained(m)"
)


def calls(source: str) -> list[tuple[str, Keywords]]:
    """(called name, constant keywords) of each call."""
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    return [
        (ast.unparse(node.func), {k.arg or "": getattr(k.value, "value", None) for k in node.keywords})
        for node in nodes
    ]


@cache
def calls_of_the_sources() -> list[tuple[Path, str, Keywords]]:
    paths = [path for part in ("strive_data", "strive_rl", "tools") for path in (ROOT / part).rglob("*.py")]
    return [(path, name, keywords) for path in paths for name, keywords in calls(path.read_text())]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_no_source_file_breaks_the_rule(rule: Rule) -> None:
    found = {(path, name) for path, name, keywords in calls_of_the_sources() if rule(name, keywords)}
    # A benchmark reads its own tars with webdataset, whose `decode` unpickles.
    assert found <= {(ROOT / "tools" / "bench" / "loader.py", "webdataset.WebDataset")}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_rule_sees_what_it_looks_for(rule: Rule) -> None:
    bad = calls(RULES[rule])
    assert len(bad) == len(RULES[rule].splitlines())
    assert all(rule(name, keywords) for name, keywords in bad)
    assert not any(rule(name, keywords) for name, keywords in calls(SAFE))
