"""One freqtrade bot over its REST API, logged in by token.

1. The first request logs in with user and password (``/token/login``) and gets an access token, which
   freqtrade lets live for 15 minutes, and a refresh token.
2. When the bot answers 401, the access token is renewed by the refresh token, else by a new login, and the
   request is sent once more.
3. Whatever goes wrong is one `BridgeError` with the bot's name; passwords and tokens are in no message.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import httpx

from bascule.bridge.freqtrade import emergency
from bascule.core import BridgeError

_TIMEOUT = 10.0


class BotApi:
    """A bot.

    Args:
        name: for messages.
        url: of the API server.
        user: of the API server.
        password: of the API server.
        timeout: seconds for one answer.
    """

    def __init__(self, name: str, url: str, user: str, password: str, timeout: float = _TIMEOUT) -> None:
        self.name = name
        self.url = url.rstrip("/")
        self._login = (user, password)
        self._access: str | None = None
        self._refresh: str | None = None
        self._client = httpx.Client(base_url=f"{self.url}/api/v1", timeout=timeout, trust_env=False)

    def get(self, path: str, **query: Any) -> Any:
        """The answer to a GET, from JSON.

        Raises:
            BridgeError: there is none, or not the one asked for.
        """
        return self._ask("GET", path, params=query or None)

    def post(self, path: str, body: Any = None) -> Any:
        """The answer to a POST, from JSON.

        Raises:
            BridgeError: there is none, or the bot refused.
        """
        return self._ask("POST", path, json=body)

    def command(self, state: emergency.State, reason: str, now: datetime) -> None:
        """Give an emergency command (`emergency.send`).

        Raises:
            BridgeError: the bot did not take it.
        """
        user, password = self._login
        emergency.send(self.url, state, reason=reason, user=user, password=password, now=now)

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

    def _ask(self, method: str, path: str, **arguments: Any) -> Any:
        try:
            if self._access is None:
                self._log_in()
            answer = self._send(method, path, arguments)
            if answer.status_code == httpx.codes.UNAUTHORIZED:
                self._renew()
                answer = self._send(method, path, arguments)
            if answer.is_error:
                raise self._problem(f"{method} {path}: status {answer.status_code}{_detail(answer)}")
            return answer.json()
        except httpx.HTTPError as error:
            raise self._problem(f"{method} {path}: {type(error).__name__}") from None
        except ValueError:
            raise self._problem(f"{method} {path}: the answer is not JSON") from None

    def _send(self, method: str, path: str, arguments: dict[str, Any]) -> httpx.Response:
        return self._client.request(
            method, path, headers={"Authorization": f"Bearer {self._access}"}, **arguments
        )

    def _log_in(self) -> None:
        answer = self._client.post("/token/login", auth=self._login)
        if answer.is_error:
            raise self._problem(f"login: status {answer.status_code}")
        found = answer.json()
        if not _has_token(found):
            raise self._problem("login: the answer holds no token")
        self._access, self._refresh = found["access_token"], found.get("refresh_token")

    def _renew(self) -> None:
        if self._refresh is not None:
            answer = self._client.post("/token/refresh", headers={"Authorization": f"Bearer {self._refresh}"})
            if answer.is_success and _has_token(found := answer.json()):
                self._access = found["access_token"]
                return
        self._log_in()

    def _problem(self, message: str) -> BridgeError:
        return BridgeError(
            message,
            where=f"bot {self.name} ({self.url})",
            remedy="check that it runs, its address, and user and password of its api_server",
        )


def _has_token(answer: Any) -> bool:
    return isinstance(answer, dict) and "access_token" in answer


def _detail(answer: httpx.Response) -> str:
    """What freqtrade says of an error."""
    try:
        found = answer.json()
    except ValueError:
        return ""
    told = found.get("error") or found.get("detail") if isinstance(found, dict) else None
    return f", {str(told)[:200]}" if told else ""
