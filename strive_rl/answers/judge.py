"""A language model as judge of open answers, at any OpenAI-compatible endpoint (POST URL/chat/completions).

As a reward it replaces accuracy, for the problem types of its settings. It is asked once for each content:
answers are kept by a hash of model and prompt, in memory and in a file. A judge that does not answer, or not
with 0 or 1, is an error and never a grade. The request is that of the public OpenAI API reference.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import urllib.error
import urllib.request
from collections import defaultdict
from hashlib import sha256
from pathlib import Path
from threading import Lock
from typing import Any

from strive_data.common.hub import unreachable
from strive_data.errors import UsageError
from strive_data.schema import Question
from strive_rl.answers.accuracy import final_answer
from strive_rl.common import jsonl
from strive_rl.common.calls import NoAnswerError
from strive_rl.config import JudgeSettings

TASK = (
    "Say whether the model's answer to a question about a video states the same as the reference. Other "
    "words are right; a part that is missing, added or contradicted is wrong."
)
GRADES = {"0": 0.0, "1": 1.0}
THOUGHT = re.compile(r"<think>.*?</think>", re.DOTALL)
# HTTP status codes that pass by themselves; those from 500 on do too.
PASSING = frozenset({408, 409, 425, 429})
SHOWN_CHARACTERS, SHOWN_BYTES = 200, 4000
# A grade is one digit, after some thousand tokens of thought at most.
LARGEST_REPLY_BYTES = 1 << 20


class JudgeError(NoAnswerError):
    """The judge gave no grade; the next try may."""


def grading_prompt(task: str, question: str, reference: str, answer: str) -> str:
    """The prompt of every judge, of rewards and of benchmarks, in this project's own words."""
    return (
        f"{task}\n\nQuestion:\n{question}\n\nReference: {reference}\n\nModel's answer:\n{answer}\n\n"
        "Write 1 if it is right, 0 if it is not, and nothing else."
    )


def read_grade(reply: str) -> float:
    """The grade of a judge's reply, thoughts aside. Raises JudgeError for anything but 0 or 1."""
    text = THOUGHT.sub("", reply).strip().rstrip(".")
    if text not in GRADES:
        raise JudgeError(f"the judge wrote {reply[:SHOWN_CHARACTERS]!r}, expected 0 or 1")
    return GRADES[text]


class Judge:
    """A reward function: the accuracy of a completion by the judge, nothing for other problem types.

    `cache` is a file of earlier grades, made at the first new one. Several threads may call it.
    """

    def __init__(self, settings: JudgeSettings, timeout_seconds: float, cache: Path | None = None) -> None:
        self._settings, self._timeout, self._cache = settings, timeout_seconds, cache
        self._lock = Lock()
        self._asked: dict[str, Lock] = defaultdict(Lock)
        self._grades = read_cache(cache) if cache else {}

    def __call__(self, text: str, question: Question) -> dict[str, float]:
        """The part `accuracy`. A completion without an answer is wrong, and the judge is not asked.

        Raises JudgeError for a judge that fails, UsageError for one that refuses the request.
        """
        if question.problem_type not in self._settings.types:
            return {}
        answer = final_answer(text)
        if not answer:
            return {"accuracy": 0.0}
        return {"accuracy": self.grade(grading_prompt(TASK, question.question, question.answer, answer))}

    def grade(self, prompt: str) -> float:
        """The grade of a prompt, asked for once however many threads want it."""
        settings = self._settings
        content = json.dumps([settings.model, settings.temperature, prompt])
        key = sha256(content.encode()).hexdigest()
        with self._lock:
            asked = self._asked[key]
        with asked:
            if key not in self._grades:
                grade = read_grade(self._reply(prompt))
                with self._lock:
                    self._grades[key] = grade
                    if self._cache:
                        jsonl.append(self._cache, [{"key": key, "grade": grade}])
            return self._grades[key]

    def _reply(self, prompt: str) -> str:
        settings = self._settings
        url = f"{settings.url.rstrip('/')}/chat/completions"
        body: dict[str, Any] = {"model": settings.model, "messages": [{"role": "user", "content": prompt}]}
        if settings.temperature is not None:
            body["temperature"] = settings.temperature
        headers = {"Content-Type": "application/json"}
        if key := read_key(settings):
            headers["Authorization"] = f"Bearer {key}"
        request = urllib.request.Request(url, json.dumps(body).encode(), headers)  # http, https
        try:
            with urllib.request.urlopen(request, timeout=self._timeout) as response:
                content = response.read(LARGEST_REPLY_BYTES + 1)
            if len(content) > LARGEST_REPLY_BYTES:
                raise JudgeError(f"{url}: a reply of more than {LARGEST_REPLY_BYTES} bytes")
            reply = json.loads(content)["choices"][0]["message"]["content"]
        except urllib.error.HTTPError as error:
            raise _refusal(error, url, key) from error
        except (OSError, http.client.HTTPException) as error:
            raise JudgeError(f"{url}: {error}") from error
        except (ValueError, LookupError, TypeError, RecursionError) as error:
            raise JudgeError(f"{url}: not an answer of a chat completion ({error!r})") from error
        if not isinstance(reply, str):
            raise JudgeError(f"{url}: got content {reply!r}, expected a text")
        return reply


def read_key(settings: JudgeSettings) -> str | None:
    """The key of the endpoint, None without one. Raises UsageError, which does not hold the key, for one that
    an HTTP header cannot carry."""
    key = os.environ.get(settings.key_variable, "").strip()
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise UsageError(
            f"reward.judge: the key in {settings.key_variable} has a space, a line break or a character "
            "that is not ASCII; set it again"
        )
    return key or None


def require_judge(settings: JudgeSettings) -> None:
    """Raise UsageError for a key that no request can carry, and where nothing listens at the judge's
    address."""
    read_key(settings)
    if error := unreachable(settings.url):
        raise UsageError(
            f"reward.judge.url {settings.url}: cannot connect: {error}; start the judge's server"
        )


def read_cache(path: Path) -> dict[str, float]:
    """The grades of this file and of those of other processes beside it; a line cut by a crash is dropped."""
    grades = {}
    jsonl.cut_back(path)
    for file in path.parent.glob(f"{path.name.partition('-')[0]}-*{path.suffix}"):
        grades.update({record["key"]: record["grade"] for record in jsonl.scan(file, ["key", "grade"])})
    return grades


def _refusal(error: urllib.error.HTTPError, url: str, key: str | None) -> Exception:
    """The error of an HTTP status: one that may pass, or one that the settings must mend. A server that
    repeats the key is not quoted with it."""
    with error:
        said = " ".join(error.read(SHOWN_BYTES).decode(errors="replace").split())
    said = (said.replace(key, "***") if key else said)[:SHOWN_CHARACTERS]
    reason = f"{url}: HTTP {error.code} {error.reason}: {said}"
    if error.code in PASSING or error.code >= 500:
        after = error.headers.get("Retry-After", "")
        return JudgeError(reason, float(after) if after.isdecimal() else 0.0)
    return UsageError(f"reward.judge: {reason}; check url, model and the key in its key_variable")
