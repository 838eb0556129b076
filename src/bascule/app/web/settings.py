"""Settings of the dashboard, read from a YAML file or from the command line."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from typing import Self

from pydantic import Field, field_validator, model_validator

from bascule.core import Settings

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]", "::1")


class BotSettings(Settings):
    """A freqtrade bot that is shown, by its REST API."""

    name: str = Field(pattern=r"^[A-Za-z0-9][\w.-]{0,63}$", description="what it is called here")
    url: str = Field(pattern=r"^https?://[^/\s@]+/?$", description="of its API server: http://127.0.0.1:8080")
    username: str = Field(min_length=1, description="of its API server")
    password_env: str = Field(
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", description="environment variable that holds the password"
    )
    folder: Path | None = Field(
        default=None, description="its user_data, if it is on this machine: the emergency brake's short way"
    )


class SessionSettings(Settings):
    """How long a login lasts, and how many attempts there are."""

    idle_minutes: float = Field(default=60, gt=0, le=1440, description="a session ends after this rest")
    hours: float = Field(default=12, gt=0, le=168, description="and after this time in any case")
    attempts: int = Field(default=5, ge=1, le=100, description="failed logins of a name from one address")
    attempts_address: int = Field(default=20, ge=1, le=1000, description="failed logins from one address")
    attempts_name: int = Field(default=50, ge=1, le=1000, description="failed logins of a name, from all")
    window_minutes: float = Field(default=15, gt=0, le=1440, description="time that attempts count")


class WebSettings(Settings):
    """The dashboard."""

    home: Path = Field(default=Path(), description="folder that the folders below lie in")
    runs: Path = Field(default=Path("runs"), description="folder of runs")
    mined: Path = Field(default=Path("mined"), description="folder of searches (bascule mine)")
    sheets: Path = Field(default=Path("reports/sheets"), description="folder of tear sheets made from here")
    stores: tuple[Path, ...] = Field(default=(), description="further stores of models (champions)")
    factors: tuple[Path, ...] = Field(default=(), description="YAML files of your own factors")
    data: Path | None = Field(
        default=None,
        description="candles of tear sheets: a store, a run's YAML or a panel; default synthetic market",
    )
    timeframe: str = Field(default="1h", pattern=r"^\d+[mhd]$", description="candle length of a store")
    state: Path = Field(default=Path("runs/web.sqlite"), description="users, sessions and the audit log")
    host: str = Field(default="127.0.0.1", description="address to listen on")
    port: int = Field(default=8050, ge=0, le=65535, description="0: any free one")
    names: tuple[str, ...] = Field(default=(), description="host names under which browsers may ask")
    https: bool = Field(default=False, description="a proxy in front speaks TLS: cookies only over TLS")
    proxies: tuple[str, ...] = Field(default=(), description="addresses of proxies whose headers count")
    login: bool = Field(default=True, description="false: no login, read only, and only on loopback")
    session: SessionSettings = Field(default=SessionSettings(), description="logins: their length and limits")
    bots: tuple[BotSettings, ...] = Field(default=(), description="freqtrade bots")
    monitor: str | None = Field(default=None, description="the monitor's database: URL or path")
    refresh: float = Field(default=2.0, ge=0.1, le=60, description="seconds between looks at what changes")
    nice: int = Field(default=10, ge=0, le=19, description="priority given up to the bots (0: none)")

    @field_validator("bots")
    @classmethod
    def _unlike(cls, value: tuple[BotSettings, ...]) -> tuple[BotSettings, ...]:
        if len({bot.name for bot in value}) < len(value):
            raise ValueError("two bots share a name")
        return value

    @model_validator(mode="after")
    def _guarded(self) -> Self:
        if not self.login and not self.loopback:
            raise ValueError(f"without login only loopback may be listened on, not {self.host}")
        return self

    @property
    def loopback(self) -> bool:
        """True if only this machine can ask."""
        if self.host in LOOPBACK_NAMES:
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def allowed_hosts(self) -> frozenset[str]:
        """Host names that requests may carry (a page of another name that points here is refused)."""
        own = () if self.host in ("0.0.0.0", "::") else (self.host,)  # noqa: S104
        return frozenset(name.lower() for name in (*LOOPBACK_NAMES, *own, *self.names))

    def within(self, path: Path) -> Path:
        """A path of these settings, seen from ``home``."""
        return self.home / path.expanduser()
