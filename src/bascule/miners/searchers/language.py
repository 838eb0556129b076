"""A language model behind any OpenAI-compatible endpoint, for searchers that ask for formulae in words.

1. `LanguageModel.ask` sends one question. Before each call the budgets (calls, tokens, money) must hold the
   worst that the call can cost; after it, what the reply says it used is booked, or the worst if it says
   nothing (time-outs included: the server may have worked and billed).
2. Time-outs, 429s, lost connections and server errors are tried again, each after a longer wait, or after the
   wait that the server asks for. A refused key or an unknown model is one clear error. Refusals, empty and
   garbled replies are counted and answered with None: the search goes on without.
3. A reply is only ever read for factor texts, see `replies.py`; nothing in it is executed.
4. The key comes from an environment variable and is in no state, statistic, error or prompt.

Prompts hold texts, train figures and the grammar; no prices, no labels, nothing of valid or test.
"""

from __future__ import annotations

import ipaddress
import math
import os
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

import numpy as np
from pydantic import Field, model_validator

from bascule.core import ConfigError, Settings
from bascule.expr import Node, parse
from bascule.miners.contract import State
from bascule.miners.grammar import Grammar
from bascule.miners.searchers.proposers import GrammarProposer, Proposer, Request
from bascule.miners.searchers.replies import described, factor_texts, quoted

if TYPE_CHECKING:
    from openai import OpenAI

_MILLION = 1e6


class LanguageSettings(Settings):
    """Which endpoint, and what it may cost."""

    base_url: str = Field(description="of an OpenAI-compatible API, such as http://localhost:8000/v1")
    model: str = Field(min_length=1, description="name of the model there")
    key_variable: str | None = Field(
        default="OPENAI_API_KEY",
        description="environment variable with the key; null: the server asks for none",
    )
    temperature: float = Field(default=0.8, ge=0, le=2, description="of sampling")
    reply_tokens: int = Field(default=800, ge=16, le=32_768, description="most tokens of a reply")
    timeout: float = Field(default=60.0, gt=0, le=3600, description="seconds to wait for a reply")
    retries: int = Field(default=4, ge=0, le=20, description="further tries of one question")
    wait: float = Field(default=1.0, ge=0, le=600, description="seconds before the second try; then doubled")
    longest_wait: float = Field(default=60.0, ge=0, le=3600, description="most seconds between two tries")
    calls: int = Field(default=1_000, ge=0, description="budget: requests sent, tries included")
    tokens: int = Field(default=2_000_000, ge=0, description="budget: tokens, questions and replies")
    money: float | None = Field(default=None, ge=0, description="budget in the prices' currency; null: none")
    price_in: float = Field(default=0.0, ge=0, description="of a million tokens of questions")
    price_out: float = Field(default=0.0, ge=0, description="of a million tokens of replies")

    @model_validator(mode="after")
    def _sound(self) -> Self:
        parts = urlsplit(self.base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("base_url must be an http or https address")
        if parts.username or parts.password:
            raise ValueError("base_url must not hold a user or password")
        if parts.scheme == "http" and self.key_variable and not _here(parts.hostname):
            raise ValueError(
                "a key is not sent unencrypted to another machine: use https, or key_variable null"
            )
        if self.money is not None and not (self.price_in or self.price_out):
            raise ValueError("a budget in money needs price_in and price_out")
        return self


def _here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class LanguageModel:
    """Questions and replies, counted and within budgets.

    Args:
        settings: which endpoint.
        environ: where the key is looked up.
        sleep: waits, in seconds.
    """

    def __init__(
        self,
        settings: LanguageSettings,
        *,
        environ: Mapping[str, str] | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.settings = settings
        self._environ = os.environ if environ is None else environ
        self._sleep = sleep
        self._client: OpenAI | None = None
        self.counts: Counter[str] = Counter()

    @property
    def money(self) -> float:
        """Spent so far, by the settings' prices."""
        counts, settings = self.counts, self.settings
        return (
            counts["tokens in"] * settings.price_in + counts["tokens out"] * settings.price_out
        ) / _MILLION

    def affords(self, question: str) -> bool:
        """Whether the budgets hold the worst that this question can cost."""
        counts, settings = self.counts, self.settings
        most_in, most_out = _most_tokens(question), settings.reply_tokens
        worst = self.money + (most_in * settings.price_in + most_out * settings.price_out) / _MILLION
        return (
            not counts["quota spent"]
            and counts["calls"] < settings.calls
            and counts["tokens in"] + counts["tokens out"] + most_in + most_out <= settings.tokens
            and (settings.money is None or worst <= settings.money)
        )

    def ask(self, system: str, user: str) -> str | None:
        """The reply to one question; None where none was to be had (see `counts`).

        Raises:
            ConfigError: the key is missing or refused, the model is not there, or the `openai` client is not
                installed.
        """
        for attempt in range(self.settings.retries + 1):
            if not self.affords(system + user):
                self.counts["over budget"] += 1
                return None
            again, reply, wait = self._try(system, user)
            if not again:
                return reply
            if attempt < self.settings.retries:
                pause = self.settings.wait * 2**attempt if wait is None else wait
                self._sleep(min(pause, self.settings.longest_wait))
        self.counts["given up"] += 1
        return None

    def _try(self, system: str, user: str) -> tuple[bool, str | None, float | None]:
        """One request: whether to try again, the reply, the wait that the server asks for."""
        client = self._connected()
        import openai

        self.counts["calls"] += 1
        try:
            reply = client.chat.completions.create(
                model=self.settings.model,
                messages=[{"role": "system", "content": system}, {"role": "user", "content": user}],
                temperature=self.settings.temperature,
                max_tokens=self.settings.reply_tokens,
            )
        except openai.APITimeoutError:
            self._book(system + user, None)
            return self._failed("time-outs")
        except openai.APIConnectionError:
            return self._failed("lost connections")
        except openai.APIStatusError as error:
            return self._status(error)
        except (openai.APIError, ValueError):  # a body that is no reply of this format
            self._book(system + user, None)
            return self._failed("garbled replies", again=False)
        self._book(system + user, getattr(reply, "usage", None))
        return False, self._content(reply), None

    def _failed(
        self, what: str, *, again: bool = True, wait: float | None = None
    ) -> tuple[bool, str | None, float | None]:
        self.counts[what] += 1
        return again, None, wait

    def _status(self, error: Any) -> tuple[bool, str | None, float | None]:
        """What an error of the server means. Its words are not passed on: some repeat the key."""
        code = int(error.status_code)
        if code == 429:
            if getattr(error, "code", None) == "insufficient_quota":
                self.counts["quota spent"] += 1
                return self._failed("rate limits", again=False)
            return self._failed("rate limits", wait=_retry_after(error.response.headers))
        if code in (401, 403, 404):
            what = "does not know the model" if code == 404 else "refuses the key"
            raise ConfigError(
                f"the endpoint {what} (status {code})",
                where=f"language model {self.settings.model!r}",
                remedy="check base_url, model and the environment variable named by key_variable",
            ) from None
        if code >= 500 or code in (408, 409):
            return self._failed("server errors", wait=_retry_after(error.response.headers))
        return self._failed("rejected questions", again=False)

    def _content(self, reply: Any) -> str | None:
        """The words of a reply. The client does not check what a server sends; nothing is taken for sure."""
        choices = getattr(reply, "choices", None)
        choice = choices[0] if isinstance(choices, list) and choices else None
        message, ended = getattr(choice, "message", None), getattr(choice, "finish_reason", None)
        words = getattr(message, "content", None)
        if message is None:
            self.counts["garbled replies"] += 1
        elif getattr(message, "refusal", None) or ended == "content_filter":
            self.counts["refusals"] += 1
        elif not isinstance(words, str) or not words.strip():
            self.counts["empty replies"] += 1
        else:
            self.counts["replies"] += 1
            self.counts["cut replies"] += ended == "length"
            return words
        return None

    def _book(self, question: str, usage: Any) -> None:
        """What a call used: as told, else the worst."""
        told = (getattr(usage, "prompt_tokens", None), getattr(usage, "completion_tokens", None))
        worst = (_most_tokens(question), self.settings.reply_tokens)
        for key, figure, most in zip(("tokens in", "tokens out"), told, worst, strict=True):
            self.counts[key] += figure if isinstance(figure, int) and figure >= 0 else most

    def _connected(self) -> OpenAI:
        if self._client is not None:
            return self._client
        try:
            from openai import OpenAI
        except ImportError as error:
            raise ConfigError(
                "language models are asked by the openai client, which is not installed",
                where="llm",
                remedy="pip install 'bascule[mining]'",
            ) from error
        name = self.settings.key_variable
        key = "none" if name is None else self._environ.get(name, "")
        if not key:
            raise ConfigError(
                f"the environment variable {name} is not set",
                where=f"language model {self.settings.model!r}",
                remedy="set it to the endpoint's key, or key_variable to null if it asks for none",
            )
        self._client = OpenAI(
            base_url=self.settings.base_url, api_key=key, timeout=self.settings.timeout, max_retries=0
        )
        return self._client

    def state(self) -> State:
        """What was spent; the key is not in it."""
        return {"counts": dict(self.counts)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on with what was spent."""
        self.counts = Counter(state["counts"])

    def statistics(self) -> dict[str, float]:
        """Counts, and money spent."""
        return {name: float(count) for name, count in self.counts.items()} | {"money": self.money}


def _most_tokens(text: str) -> int:
    """No fewer tokens than a text has: every token holds a byte at least; and a frame."""
    return len(text.encode()) + 16


def _retry_after(headers: Mapping[str, str]) -> float | None:
    try:
        wait = float(headers.get("retry-after", ""))
    except ValueError:
        return None
    return wait if math.isfinite(wait) and wait >= 0 else None


class LanguageProposer:
    """Lets a language model refine; where it fails, the grammar's own proposer does.

    It is asked for a remark on what to change first, and then for the formulae (2505.11122).

    Args:
        model: who is asked.
        grammar: what may be written.
        fallback: who steps in; None = `GrammarProposer`.
        several: formulae asked for at once; those not used at once answer the next tries of the same request.
    """

    def __init__(
        self, model: LanguageModel, grammar: Grammar, fallback: Proposer | None = None, several: int = 3
    ) -> None:
        self._model, self._grammar, self._several = model, grammar, several
        self._fallback: Proposer = fallback or GrammarProposer(grammar)
        self._system = described(grammar)
        self._waiting: dict[str, list[str]] = {}

    def propose(self, request: Request, rng: np.random.Generator) -> Node | None:
        """One formula."""
        key = f"{request.node}|{request.aspect}"
        waiting = self._waiting.pop(key, [])
        if not waiting:
            reply = self._model.ask(self._system, self._question(request))
            nodes = (
                [] if reply is None else factor_texts(reply, self._grammar, self._several, self._model.counts)
            )
            waiting = [str(node) for node in nodes]
        if not waiting:
            self._model.counts["written without the model"] += 1
            return self._fallback.propose(request, rng)
        if waiting[1:]:
            self._waiting = {key: waiting[1:]}  # of one request only
        return parse(waiting[0])

    def _question(self, request: Request) -> str:
        lines = []
        if request.node is None:
            lines.append("Write new factors, each after an idea of its own.")
        else:
            lines.append(
                f"Refine this factor so that its {request.aspect} improves: {quoted([str(request.node)])}"
            )
        if request.ranks:
            told = ", ".join(f"{name} {rank:.2f}" for name, rank in request.ranks.items())
            lines.append(f"It ranks (0 worst, 1 best): {told}.")
        if request.examples:
            lines.append(f"In use already, to complement and not to repeat: {quoted(request.examples)}")
        if request.avoid:
            lines.append(f"Do not use these sub-expressions, whatever their windows: {quoted(request.avoid)}")
        if request.tried:
            lines.append(f"Tried already: {quoted(request.tried[-8:])}")
        lines.append(f'Answer: {{"remark": "what to change and why", "factors": [{self._several} texts]}}')
        return "\n".join(lines)

    def state(self) -> State:
        """Model, fallback, and formulae that wait."""
        return {
            "model": self._model.state(), "fallback": self._fallback.state(), "waiting": self._waiting
        }  # fmt: skip

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self._model.restore(state["model"])
        self._fallback.restore(state["fallback"])
        self._waiting = {key: list(texts) for key, texts in state["waiting"].items()}

    def statistics(self) -> dict[str, float]:
        """Of the model and of the fallback."""
        return self._fallback.statistics() | self._model.statistics()
