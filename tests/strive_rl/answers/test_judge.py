"""The packaged judge against a local server that answers well, slowly, wrongly, with 500 and with 401."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest

from strive_data.errors import SettingsError, StriveError, UsageError
from strive_data.schema import Question
from strive_rl.algorithm.reward import Grid, load_rules, require_reward, rewards_of
from strive_rl.answers import judge
from strive_rl.answers.judge import JudgeError, read_grade
from strive_rl.common import calls
from strive_rl.config import JudgeSettings, RewardSettings
from tests.strive_data.made.samples import a_question


def question(problem_type: Any = "free-form") -> Question:
    return a_question("q1", answer="It rains.", problem_type=problem_type, options=())


class Server:
    """Answers each request as `reply(prompt, number of this prompt's request)` says: (status, content)."""

    def __init__(self, reply: Callable[[str, int], tuple[int, str]]) -> None:
        self.asked: Counter[str] = Counter()
        self.keys: set[str | None] = set()
        lock, server = threading.Lock(), self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                assert (self.path, body["model"], body["temperature"]) == ("/v1/chat/completions", "m", 0.0)
                prompt = body["messages"][0]["content"]
                with lock:
                    server.asked[prompt] += 1
                    server.keys.add(self.headers.get("Authorization"))
                    number = server.asked[prompt]
                status, content = reply(prompt, number)
                made = (
                    {"choices": [{"message": {"content": content}}]} if status == 200 else {"error": content}
                )
                self.send_response(status)
                self.end_headers()
                self.wfile.write(json.dumps(made).encode())

            def log_message(self, *_: object) -> None:
                """Nothing to the terminal."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Server]]:
    monkeypatch.setattr(calls, "WAIT_SECONDS", 0.01)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    made = []

    def start(reply: Callable[[str, int], tuple[int, str]]) -> Server:
        server = Server(reply)
        threading.Thread(target=server.http.serve_forever, args=(0.01,), daemon=True).start()
        made.append(server)
        return server

    yield start
    for server in made:
        server.http.shutdown()
        server.http.server_close()


Rewarded = tuple[list[Grid | StriveError], Counter[str]]


def judged(
    server: Server, *answers: str, cache: Path | None = None, problem_type: str = "free-form", **changes: Any
) -> Rewarded:
    given = RewardSettings(function="judge", judge=JudgeSettings(url=server.url, model="m"), **changes)
    texts = [[f"<think>x</think><answer>{answer}</answer>" if answer else "nothing" for answer in answers]]
    return rewards_of([(texts, question(problem_type))], load_rules(given, cache), step=1)


def accuracies(made: Rewarded) -> list[float]:
    ((grid,), _) = made
    assert not isinstance(grid, StriveError), grid
    return [reward.accuracy for row in grid for reward in row]


def test_open_answers_are_judged_together_once_each_and_remembered(
    serve: Callable[..., Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = threading.Barrier(4)

    def reply(prompt: str, number: int) -> tuple[int, str]:
        if any(f"answer:\n{answer}\n" in prompt for answer in ("wet", "dry 1", "dry 2", "dry 3")):
            together.wait(20)
        return 200, "<think>wet, so 1?</think> 1" if "wet" in prompt else "0."

    server = serve(reply)
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    cache = tmp_path / "judge-0.ndjson"
    answers = ("wet", "dry", "", "wet", *(f"dry {n}" for n in range(8)))
    made = judged(server, *answers, cache=cache)
    assert accuracies(made) == [1, 0, 0, 1, *[0] * 8]
    assert sum(server.asked.values()) == len(server.asked) == 10
    assert server.keys == {"Bearer secret"}
    (prompt,) = (prompt for prompt in server.asked if "wet" in prompt)
    assert "Reference: It rains." in prompt
    assert "secret" not in cache.read_text()
    with cache.open("a") as file:
        file.write('{"key": "cut')
    assert accuracies(judged(server, *answers, "new", cache=cache)) == [1, 0, 0, 1, *[0] * 9]
    assert sum(server.asked.values()) == 11
    assert accuracies(judged(server, "It rains.", problem_type="OCR")) == [1]
    assert sum(server.asked.values()) == 11


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (lambda prompt, number: (500, "overloaded"), "HTTP 500 .*overloaded.* after 4 tries"),
        (lambda prompt, number: (200, "perhaps"), "the judge wrote 'perhaps', expected 0 or 1 after 4 tries"),
        (lambda prompt, number: (429, "slowly"), "HTTP 429"),
        (lambda prompt, number: (200, "1" * (1 << 20)), "a reply of more than 1048576 bytes"),
    ],
    ids=["500", "wrong", "429", "huge"],
)
def test_a_judge_that_fails_to_the_last_gives_no_grade(
    serve: Callable[..., Server], reply: Callable[[str, int], tuple[int, str]], says: str
) -> None:
    server = serve(reply)
    made = judged(server, "wet")
    with pytest.raises(StriveError, match=f"^step 1, question q1: reward.function judge failed: .*{says}"):
        raise next(each for each in made[0] if isinstance(each, StriveError))
    assert made[1] == {"made": 1, "retried": 1, "failed": 1}
    assert sum(server.asked.values()) == 4


@pytest.mark.parametrize(("header", "seconds"), [("7", 7), ("soon", 0), (None, 0)])
def test_a_judge_that_is_asked_too_often_says_when_to_try_again(header: str | None, seconds: int) -> None:
    headers = Message()
    headers["Retry-After"] = header or ""
    refusal = judge._refusal(
        HTTPError("http://judge", 429, "Too Many", headers, BytesIO(b"wait\na bit")), "url", None
    )
    assert isinstance(refusal, JudgeError)
    assert (refusal.wait_seconds, str(refusal)) == (seconds, "url: HTTP 429 Too Many: wait a bit")


def test_a_judge_that_recovers_gives_its_grade(serve: Callable[..., Server]) -> None:
    replies = {1: (503, "loading"), 2: (200, "one"), 3: (200, "1")}
    made = judged(serve(lambda prompt, number: replies[number]), "wet")
    assert accuracies(made) == [1]
    assert (made[1]["retried"], made[1]["failed"]) == (1, 0)


def test_a_judge_that_is_too_slow_is_left(serve: Callable[..., Server]) -> None:
    def reply(prompt: str, number: int) -> tuple[int, str]:
        time.sleep(0.5)
        return 200, "1"

    made = judged(serve(reply), "wet", timeout_seconds=0.1, retries=0)
    assert isinstance(made[0][0], StriveError)
    assert made[1]["failed"] == 1


def test_a_refused_key_stops_at_once(serve: Callable[..., Server]) -> None:
    server = serve(lambda prompt, number: (401, "no such key"))
    with pytest.raises(UsageError, match=r"HTTP 401 .*no such key.*; check url, model and the key"):
        judged(server, "wet")
    assert sum(server.asked.values()) == 1


@pytest.mark.parametrize("key", ["sk-a b", "sk-a\nb", "sk-\u0435"], ids=["space", "line break", "not ASCII"])
def test_a_key_that_no_request_can_carry_is_refused_unquoted(
    serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    server = serve(lambda prompt, number: (200, "1"))
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(UsageError, match="the key in OPENAI_API_KEY has a space") as caught:
        judged(server, "wet")
    assert key not in str(caught.value)
    assert not server.asked


def test_a_key_that_the_server_repeats_is_not_quoted(
    serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret\n")  # As a file gives it: the line break is not sent.
    server = serve(lambda prompt, number: (500, "x" * 190 + "no quota for sk-secret"))
    (failure,), _ = judged(server, "wet", retries=0)
    assert server.keys == {"Bearer sk-secret"}
    assert "sk-" not in str(failure)


def test_what_cannot_judge_is_refused_before_the_run(serve: Callable[..., Server]) -> None:
    server = serve(lambda prompt, number: (200, "1"))
    given = RewardSettings(function="judge", judge=JudgeSettings(url=server.url, model="m"))
    require_reward(given)
    server.http.shutdown()
    server.http.server_close()
    with pytest.raises(UsageError, match=r"reward\.judge\.url .*cannot connect"):
        require_reward(given)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"function": "judge"}, r"reward\.judge\.url: got '', expected an address"),
        *(
            ({"function": "judge", "judge": {"url": url, "model": "m"}}, f"got {url!r}, expected an address")
            for url in (
                "ftp://x",
                "http:///v1",
                "http://x:99999/v1",
                "http://x:port/v1",
                "http://u:p@x/",
                "http://x/a b",
            )
        ),
        ({"function": "judge", "judge": {"url": "http://x"}}, r"reward\.judge\.model"),
        ({"function": "a:b", "judge": {"url": "http://x"}}, "reward.function is a:b"),
        ({"judge": {"types": ("open",)}}, r"reward\.judge\.types 'open'"),
        ({"function": "judge", "sees": "group", "judge": {"url": "http://x", "model": "m"}}, "sees"),
        ({"retries": -1}, "got -1"),
        ({"timeout_seconds": 0.0}, "got 0"),
        ({"calls_at_once": 0}, "got 0"),
    ],
)
def test_settings_that_cannot_be_are_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        RewardSettings(**(changes | {"judge": JudgeSettings(**changes.get("judge", {}))}))


@pytest.mark.parametrize(("reply", "grade"), [("1", 1), (" 0\n", 0), ("<think>0 or 1</think>\n1.", 1)])
def test_grades(reply: str, grade: float) -> None:
    assert read_grade(reply) == grade


@pytest.mark.parametrize("reply", ["", "yes", "10", "0.5", "1 or 0", "<think>1"])
def test_replies_that_are_no_grade(reply: str) -> None:
    with pytest.raises(JudgeError):
        read_grade(reply)
