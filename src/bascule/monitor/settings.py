"""Settings of the monitor, its bots, its messages and its jobs: one YAML file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from pydantic import Field, field_validator, model_validator

from bascule.core import ConfigError, Settings
from bascule.models import DriftSettings
from bascule.monitor.jobs import JobSettings
from bascule.monitor.rules import Duration
from bascule.risk import TailSettings

_NAME = r"^[A-Za-z0-9][\w.-]{0,63}$"
_VARIABLE = r"^[A-Za-z_][A-Za-z0-9_]*$"


class Secret(Settings):
    """A secret, which is never in a settings file: the name of a variable, or of a file that holds it."""

    env: str | None = Field(default=None, pattern=_VARIABLE, description="environment variable")
    file: Path | None = Field(default=None, description="file, e.g. /run/secrets/…; blanks around are cut")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.env is None) == (self.file is None):
            raise ValueError("give either env or file")
        return self

    def value(self, where: str, environment: Mapping[str, str] | None = None) -> str:
        """The secret.

        Raises:
            ConfigError: it is not there.
        """
        if self.file is not None:
            try:
                found = self.file.read_text("utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise ConfigError(
                    f"the secret's file cannot be read ({type(error).__name__})",
                    where=where,
                    remedy=f"put it into {self.file}, readable by this user",
                ) from None
        else:
            assert self.env is not None
            found = (os.environ if environment is None else environment).get(self.env, "").strip()
        if not found:
            raise ConfigError(
                "the secret is empty or not set", where=where, remedy=f"set {self.env or self.file}"
            )
        return found


class BotSettings(Settings):
    """A freqtrade bot."""

    name: str = Field(pattern=_NAME, description="what it is called here")
    url: str = Field(pattern=r"^https?://[^/\s@]+/?$", description="of its API server: http://127.0.0.1:8080")
    username: str = Field(min_length=1, description="of its API server")
    password: Secret = Field(description="of its API server")
    userdir: Path | None = Field(
        default=None,
        description="its user_data folder, for emergency commands; without it they go over the API",
    )


class ResearchSettings(Settings):
    """What is measured from candles and bundle."""

    store: Path = Field(description="the store of candles")
    bundles: Path = Field(description="folder of bundles with `current`, or one bundle")
    every: Duration = Field(default=86_400.0, gt=0, description="time between two measurements")
    recent_days: float = Field(default=14.0, gt=0, description="days that are measured")
    reference_days: float = Field(default=90.0, gt=0, description="days before them that give the interval")
    level: float = Field(default=0.95, gt=0.5, lt=1, description="confidence of the intervals")
    extremes: float = Field(default=0.2, gt=0, le=0.5, description="share of members in a leg (crowding)")
    drift: DriftSettings = Field(default=DriftSettings(), description="what counts as moved")
    exposures: bool = Field(default=True, description="measure exposures to risk factors")
    tail: TailSettings = Field(
        default=TailSettings(window=250), description="value at risk, of daily returns"
    )
    var_limit: float = Field(default=0.05, gt=0, description="largest value at risk over a day")


class DataSettings(Settings):
    """Health of the store's newest candles."""

    store: Path = Field(description="the store of candles")
    timeframe: str = Field(default="1h", description="candle length")
    every: Duration = Field(default=300.0, gt=0, description="time between two looks")
    days: float = Field(default=7.0, gt=0, description="days that are looked at")


class VenueSettings(Settings):
    """An exchange's public clock, asked as a sign of life."""

    name: str = Field(pattern=_NAME, description="what it is called here")
    url: str = Field(pattern=r"^https?://[^\s@]+$", description="e.g. https://api.binance.com/api/v3/time")
    field: str = Field(default="serverTime", description="field of the answer: milliseconds since 1970")
    every: Duration = Field(default=60.0, gt=0, description="time between two questions")
    timeout: Duration = Field(default=10.0, gt=0, description="time for an answer")


class ModelStoreSettings(Settings):
    """A store of champions."""

    name: str = Field(pattern=_NAME, description="what it is called here")
    folder: Path = Field(description="the store's folder")


class NotifySettings(Settings):
    """How messages go out."""

    urls: Secret | None = Field(
        default=None,
        description="Apprise addresses, one a line (tgram://…, mailto://…, json://…); null: none are sent",
    )
    gap: Duration = Field(default=60.0, ge=0, description="least time between two messages")
    hourly: int = Field(default=20, ge=1, le=1000, description="most messages in an hour")
    shown: int = Field(default=5, ge=1, le=50, description="subjects of a rule that a message names")
    attempts: int = Field(default=10, ge=1, le=1000, description="attempts to send a message")


class ActSettings(Settings):
    """How actions are carried out."""

    attempts: int = Field(default=20, ge=1, le=10_000, description="attempts before one is given up")
    retry: Duration = Field(default=5.0, gt=0, description="time before the second attempt; doubles, to 5m")
    candidates: Path | None = Field(
        default=None, description="rotate: YAML list of factors {name, text} that may come in"
    )
    pool: Path | None = Field(
        default=None, description="rotate: YAML list of the factors in use; default those of the bundle"
    )
    rotations: Path = Field(default=Path("rotations"), description="rotate: folder of the lists it writes")


class MonitorSettings(Settings):
    """The monitor."""

    home: Path = Field(default=Path(), description="folder that relative paths start from")
    state: str = Field(
        default="runs/monitor.sqlite",
        description="database: a path, or a URL such as postgresql+psycopg://user@host/name",
    )
    state_password: Secret | None = Field(default=None, description="password of a database URL")
    rules: Path | None = Field(default=None, description="YAML file of rules; default the built-in ones")
    every: Duration = Field(default=15.0, gt=0, description="time between two cycles")
    keep_days: float = Field(default=400.0, gt=0, description="days that samples are kept")
    host: str = Field(default="127.0.0.1", description="address of the metrics")
    port: int = Field(default=9108, ge=0, le=65535, description="of the metrics; 0: any free one")
    bots_every: Duration = Field(default=30.0, gt=0, description="time between two looks at a bot")
    fill_days: float = Field(default=7.0, gt=0, description="days whose fills are measured")
    research: ResearchSettings | None = Field(default=None, description="candles and bundle")
    data: DataSettings | None = Field(default=None, description="health of candles")
    venues: tuple[VenueSettings, ...] = Field(default=(), description="exchanges")
    models: tuple[ModelStoreSettings, ...] = Field(default=(), description="stores of champions")
    bots: tuple[BotSettings, ...] = Field(default=(), description="freqtrade bots")
    notify: NotifySettings = Field(default=NotifySettings(), description="messages")
    act: ActSettings = Field(default=ActSettings(), description="actions")
    jobs: tuple[JobSettings, ...] = Field(default=(), description="what runs by the clock, or when asked for")
    job_logs: Path = Field(default=Path("logs/jobs"), description="folder of the jobs' locks and logs")

    @field_validator("bots", "venues", "models", "jobs")
    @classmethod
    def _unlike(cls, value: tuple[Settings, ...]) -> tuple[Settings, ...]:
        names = [getattr(one, "name", "") for one in value]
        doubled = sorted({name for name in names if names.count(name) > 1})
        if doubled:
            raise ValueError(f"names must be unique; doubled: {', '.join(doubled)}")
        return value

    def within(self, path: Path) -> Path:
        """A path of the settings, from `home`."""
        return path if path.is_absolute() else self.home / path

    @property
    def database(self) -> str:
        """Address of the state, with its password.

        Raises:
            ConfigError: the password cannot be read.
        """
        if "://" not in self.state:
            return str(self.within(Path(self.state)))
        if self.state_password is None:
            return self.state
        from sqlalchemy.engine import make_url

        secret = self.state_password.value("state_password")
        return make_url(self.state).set(password=secret).render_as_string(hide_password=False)
