"""A complete freqtrade user folder for rehearsal, dry run and live trading.

1. `prepare` writes, into one folder:

   ================  =====================================================================================
   ``config.json``   the whole configuration; no secret
   ``strategies/``   a strategy file of a few lines
   ``current``       link to the bundle that is in force; a promotion turns it, the bot follows
   ``.env.example``  the environment variables that hold the secrets, empty
   ``.gitignore``    keeps ``.env``, databases and logs out of version control
   ``logs/``         freqtrade's rotating log, secrets taken out (`secrets.Redact`)
   ================  =====================================================================================

2. The configuration is checked by freqtrade's own validation before anything is written (`validate`).
3. ``rehearse`` trades against the replay exchange with fake keys, orders and all; ``dry`` against the real
   exchange's prices with freqtrade's own wallet; ``live`` is live. The three differ in the exchange section,
   in ``dry_run`` and in the database's name, and in nothing else.
4. Running it again brings configuration and strategy up to date and keeps database, logs and ``.env``.
   A rehearsal's ``.env`` is made up where there is none: its secrets open nothing.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from bascule.bridge.exchange import exchange_config
from bascule.bridge.freqtrade import config as base
from bascule.bridge.freqtrade import credentials
from bascule.bridge.freqtrade.config import TradeSettings
from bascule.bridge.freqtrade.run import STRATEGY, Workspace, workspace
from bascule.core import BridgeError, Settings, SetupError
from bascule.core.files import atomic_file, point

if TYPE_CHECKING:
    from bascule.signals import Bundle

Mode = Literal["rehearse", "dry", "live"]
Role = Literal["alone", "producer", "consumer"]
LINK = "current"
_STRATEGY = '''\
"""Trades the signal bundle that `current` leads to. Written by `bascule trade prepare`."""

from bascule.bridge.freqtrade.{module} import {base}


class {name}({base}):
    """The signals' own rules, with the guards of a live run."""
'''


class PrepareSettings(Settings):
    """What kind of bot the folder is for."""

    mode: Mode = Field(default="dry", description="rehearse: replay exchange; dry: real prices; live")
    exchange: str = Field(default="binance", description="ccxt's name of the exchange of dry and live runs")
    replay_url: str = Field(
        default="http://127.0.0.1:8765", pattern=r"https?://\S+", description="replay exchange of rehearsals"
    )
    dry_rehearsal: bool = Field(
        default=False, description="rehearse with freqtrade's dry wallet instead of orders with fake keys"
    )
    trade: TradeSettings = Field(default=TradeSettings(), description="wallet and costs")
    capital: float | None = Field(
        default=None,
        gt=0,
        description="live: most of the account that the bot may use, in the stake currency",
    )
    pairs: tuple[str, ...] | None = Field(default=None, description="traded pairs; default the universe")
    stop_on_exchange: bool = Field(
        default=True, description="keep every stop as an order on the exchange, for when the bot is down"
    )
    trusted_keys: tuple[Path, ...] = Field(
        default=(), description="live: public keys (signing.pub) of those whose bundles are traded"
    )
    unsigned: bool = Field(default=False, description="live: trade bundles that nobody has signed, too")
    api_port: int = Field(default=8080, ge=1024, le=65535, description="of freqtrade's REST server")
    api_user: str = Field(default="bascule", min_length=1, description="user of the REST server")
    telegram: bool = Field(default=False, description="report over Telegram")
    role: Role = Field(
        default="alone",
        description="producer: sends its signals to others; consumer: takes signals from producers",
    )
    consumer: dict[str, Any] = Field(
        default={}, description="of a consumer: what it does without producers (`ConsumerSettings`)"
    )
    websockets: bool = Field(default=False, description="candles over the exchange's websockets")
    guard: dict[str, Any] = Field(
        default={}, description="settings of safe mode and data failover (`GuardSettings`)"
    )
    reconcile: dict[str, Any] = Field(
        default={}, description="orders and positions that the bot does not know (`ReconcileSettings`)"
    )


def build(
    bundle: Bundle, folder: Path, settings: PrepareSettings, *, link: Path | None = None
) -> dict[str, Any]:
    """The configuration, without secrets.

    Args:
        bundle: gives timeframe, market and pairs.
        folder: the user folder, for the paths of database and log.
        settings: what kind of bot.
        link: what the bot opens as its bundle; default ``folder/current``.

    Raises:
        BridgeError: a pair is not of the bundle, or does not fit the exchange.
        ConfigError: guard or reconcile settings are wrong.
    """
    from bascule.bridge.freqtrade.failover import GuardSettings
    from bascule.bridge.freqtrade.strays import ReconcileSettings

    guard = GuardSettings.read(settings.guard, where="guard")
    reconcile = ReconcileSettings.read(settings.reconcile, where="reconcile")
    home = folder.resolve()
    dry = settings.mode == "dry" or settings.dry_rehearsal
    values = base.build(
        bundle,
        settings.trade.model_copy(update={"mode": "computed"}),
        exchange=_exchange(settings, bundle.spec.market),
        pairs=settings.pairs,
        strategy=STRATEGY,
        # an exchange that is asked with keys tells its own tiers
        assume_tiers=settings.mode == "rehearse",
        follow=link or home / LINK,
    )
    values |= {
        "bot_name": f"bascule-{settings.mode}",
        "dry_run": dry,
        "db_url": f"sqlite:///{home / _database(settings)}",
        "order_types": {
            **values["order_types"],
            "stoploss_on_exchange": settings.stop_on_exchange
            or values["order_types"]["stoploss_on_exchange"],
            "stoploss_on_exchange_interval": 60,
            "emergency_exit": "market",
        },
        "unfilledtimeout": {"entry": 5, "exit": 5, "exit_timeout_count": 3, "unit": "minutes"},
        "cancel_open_orders_on_exit": False,
        "internals": {"process_throttle_secs": 5, "heartbeat_interval": 60},
        "api_server": {
            "enabled": True,
            "listen_ip_address": "127.0.0.1",
            "listen_port": settings.api_port,
            "verbosity": "error",
            "enable_openapi": False,
            "CORS_origins": [],
            "username": settings.api_user,
        },
        "log_config": _logging(home / "logs" / "freqtrade.log"),
    }
    # in a dry run slippage comes from the order book; live, costs are the exchange's
    values["fee"] = settings.trade.fee
    if not dry:
        del values["fee"], values["dry_run_wallet"]
    if settings.capital is not None:
        values["available_capital"] = settings.capital
    if settings.telegram:
        values["telegram"] = {"enabled": True}
    if settings.role == "consumer":
        values["external_message_consumer"] = {
            "enabled": True,
            "remove_entry_exit_signals": True,
            "initial_candle_limit": 100,
        }
        values["bascule"]["consumer"] = dict(settings.consumer)
    if settings.role == "producer":
        values["bascule"]["role"] = settings.role
    values["bascule"] |= {
        "guard": guard.model_dump(mode="json"),
        "reconcile": reconcile.model_dump(mode="json"),
        "trusted_keys": [str(path.resolve()) for path in settings.trusted_keys],
        # a rehearsal has nothing to lose
        "unsigned": settings.unsigned or settings.mode == "rehearse",
    }
    return values


def _exchange(settings: PrepareSettings, market: str) -> dict[str, Any]:
    if settings.mode == "rehearse":
        found = exchange_config(settings.replay_url, "spot" if market == "spot" else "futures")
        return {**found, "enable_ws": settings.websockets}
    # the bot's own pause between calls is what keeps the address from being banned
    limited = {"enableRateLimit": True}
    return {"name": settings.exchange, "enable_ws": settings.websockets, "ccxt_config": limited}


def _database(settings: PrepareSettings) -> str:
    """One database a mode: a dry run's trades must never be taken for real ones."""
    kind = f"{settings.mode}-dry" if settings.mode == "rehearse" and settings.dry_rehearsal else settings.mode
    return f"trades-{kind}.sqlite"


def _logging(path: Path) -> dict[str, Any]:
    handlers = {
        "console": {"class": "logging.StreamHandler", "formatter": "plain", "filters": ["redact"]},
        "file": {
            "class": "logging.handlers.RotatingFileHandler",
            "formatter": "plain",
            "filters": ["redact"],
            "filename": str(path),
            "maxBytes": 10 * 2**20,
            "backupCount": 10,
            "encoding": "utf-8",
        },
    }
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"redact": {"()": "bascule.bridge.freqtrade.secrets.Redact"}},
        "formatters": {"plain": {"format": "%(asctime)s - %(name)s - %(levelname)s - %(message)s"}},
        "handlers": handlers,
        "root": {"handlers": list(handlers), "level": "INFO"},
    }


def prepare(
    bundles: Path, folder: Path, settings: PrepareSettings | None = None, *, source: str | None = None
) -> Workspace:
    """Write the folder, or bring an existing one up to date.

    Args:
        bundles: a bundle, or a folder with a ``current`` one; then the bot follows that ``current``.
        folder: the user folder.
        settings: what kind of bot.
        source: text of the strategy file; default one that names the guarded strategy.

    Raises:
        BundleError: there is no good bundle.
        BridgeError: the bundle cannot be traded so, or freqtrade refuses the configuration.
    """
    from bascule.signals import Bundle, unavailable_live
    from bascule.signals.bundle import CURRENT

    settings = settings or PrepareSettings()
    bundle = Bundle.open(bundles)
    missing = unavailable_live(bundle.spec)
    if missing:
        raise SetupError(
            f"the factors read {', '.join(missing)}, which the exchange's candles do not give",
            where=str(bundle.path),
            remedy="train with factors of open, high, low, close, volume and typical vwap",
        )
    values = build(bundle, folder, settings)
    validate(values, credentials.placeholders(settings))
    if source is None:
        kind = (
            ("consumer", "ConsumerStrategy")
            if settings.role == "consumer"
            else ("guarded", "GuardedStrategy")
        )
        source = _STRATEGY.format(module=kind[0], base=kind[1], name=STRATEGY)
    folder.mkdir(parents=True, exist_ok=True)
    # the folder itself, not a name that a later run may give to another one
    follows = bundles.resolve() / CURRENT
    point(folder / LINK, (follows if follows.exists() else bundle.path).absolute())
    space = workspace(folder, values, source=source)
    _write(folder / credentials.EXAMPLE, credentials.example(settings))
    if settings.mode == "rehearse":
        credentials.make_up(folder / ".env", settings)
    _write(folder / ".gitignore", ".env\n*.sqlite*\nlogs/\n")
    return space


def _write(path: Path, text: str) -> None:
    with atomic_file(path) as aside:
        aside.write_text(text, "utf-8")


def validate(values: Mapping[str, Any], environment: Mapping[str, str]) -> None:
    """Freqtrade's own checks of a configuration, as at the start of ``freqtrade trade``.

    Args:
        values: the configuration.
        environment: variables; those of freqtrade are merged in as it does.

    Raises:
        BridgeError: freqtrade is not installed, or says no; with its own words.
    """
    try:
        from freqtrade.configuration.config_validation import validate_config_consistency
        from freqtrade.configuration.environment_vars import _flat_vars_to_nested_dict
        from freqtrade.enums import RunMode
        from freqtrade.exceptions import OperationalException
        from freqtrade.exchange.check_exchange import check_exchange
        from freqtrade.misc import deep_merge_dicts
    except ImportError as error:
        raise SetupError(
            f"freqtrade cannot be used: {error}", where="freqtrade", remedy="pip install freqtrade==2026.9"
        ) from None
    own = {name: value for name, value in environment.items() if name.startswith("FREQTRADE__")}
    merged: dict[str, Any] = deep_merge_dicts(
        _flat_vars_to_nested_dict(own, "FREQTRADE__"), json.loads(json.dumps(values))
    )
    merged["runmode"] = RunMode.DRY_RUN if values.get("dry_run") else RunMode.LIVE
    # what the strategy brings, and freqtrade asks for
    merged |= {"stoploss": -0.99, "minimal_roi": {"0": 100.0}}
    merged.setdefault("dry_run_wallet", 1000)
    merged.setdefault("last_stake_amount_min_ratio", 0.5)
    # it logs the whole schema beside its error
    talk = logging.getLogger("freqtrade.configuration.config_validation")
    before, talk.disabled = talk.disabled, True
    try:
        check_exchange(merged, False)
        validate_config_consistency(merged)
    except OperationalException as error:
        raise BridgeError(
            f"freqtrade refuses the configuration: {error}",
            where="config.json",
            remedy="change the settings that it names",
        ) from None
    finally:
        talk.disabled = before
