"""What the JSON API answers and takes. Times are seconds since 1970 (UTC) where they are numbers."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Mode = Literal["run", "halt", "hedge", "flatten"]


class Reply(BaseModel):
    """Base of all answers."""

    model_config = ConfigDict(extra="ignore", ser_json_inf_nan="null")


class Problem(Reply):
    """Why a request failed, and what to do about it."""

    error: str
    where: str | None = None
    remedy: str | None = None


class Me(Reply):
    """Who asks."""

    user: str
    role: Literal["viewer", "operator"]


class FactorRow(Reply):
    """A factor; measurements are null where the newest run did not measure its text."""

    library: str
    name: str
    family: str
    text: str
    note: str
    source: str
    fields: list[str]
    lookback: int | None = Field(description="bars of history, null = all")
    horizon: int
    tags: list[str]
    rank_ic: float | None
    t: float | None
    turnover: float | None
    sheet: bool = Field(description="a tear sheet is there")


class FactorList(Reply):
    """Factors, and the run and horizon of their measurements."""

    run: str
    horizon: int
    items: list[FactorRow]


class RunRow(Reply):
    """A run in short."""

    name: str
    finished: bool
    synthetic: bool
    stages: list[str]
    changed: datetime
    rank_ic: float | None
    rank_ic_t: float | None
    trades: int | None
    total: float | None
    sharpe: float | None
    max_drawdown: float | None
    calmar: float | None
    volatility: float | None


class Curves(Reply):
    """Named curves over common times."""

    time: list[str]
    values: dict[str, list[float | None]]


class Trade(Reply):
    """A closed trade of a backtest."""

    pair: str
    is_short: bool
    open_date: str
    close_date: str
    open_rate: float
    close_rate: float
    stake_amount: float
    leverage: float | None
    profit_ratio: float
    profit_abs: float
    exit_reason: str
    enter_tag: str | None


class Trades(Reply):
    """A part of all trades."""

    total: int
    items: list[Trade]


class Weight(Reply):
    """An instrument of a portfolio."""

    instrument: str
    target_weight: float | None
    alpha_rank: float | None
    expected_return: float | None
    risk_score: float | None
    stop_distance: float | None


class Portfolio(Reply):
    """The newest target weights of a run."""

    time: str
    model: str
    gross: float
    net: float
    positions: int
    portfolio_risk: float | None
    regime: int | None
    weights: list[Weight]


class LookRow(Reply):
    """A point of a learning curve."""

    proposals: int
    trials: int
    cpu_seconds: float
    members: int
    train: float | None
    valid: float | None


class SearchRow(Reply):
    """A search for factors."""

    id: str
    searcher: str
    seed: int | None
    status: Literal["waiting", "running", "stopped", "done"]
    proposals: int
    budget: int | None
    trials: int
    cpu_seconds: float
    members: int
    best_valid: float | None
    found: bool | None
    changed: float
    looks: list[LookRow]


class EventRow(Reply):
    """A change of the model that serves."""

    number: int
    action: str
    model: str
    before: str
    at: str
    reason: str


class StoreRow(Reply):
    """A store of models."""

    name: str
    serving: str
    finished: int
    history: list[EventRow]
    problem: str


class ScoreRow(Reply):
    """A model of a leaderboard."""

    name: str
    ic: float | None
    icir: float | None
    rank_ic: float | None
    rank_icir: float | None
    rank_t: float | None
    low: float | None
    high: float | None
    sharpe: float | None
    turnover: float | None
    train_seconds: float | None
    predict_seconds: float | None
    rows: int


class BoardRow(Reply):
    """A leaderboard; statements with whether they are significant."""

    run: str
    id: str
    made: datetime
    horizon: int
    cost: float
    scores: list[ScoreRow]
    statements: list[tuple[str, bool]]


class Models(Reply):
    """Stores and leaderboards."""

    stores: list[StoreRow]
    boards: list[BoardRow]


class BotRow(Reply):
    """A bot in short; ``state`` as freqtrade says, or ``unreachable``."""

    name: str
    state: str
    problem: str
    strategy: str
    exchange: str
    dry_run: bool
    currency: str
    open_trades: int
    profit: float | None
    profit_ratio: float | None
    drawdown: float | None
    total: float | None


class LogLine(Reply):
    """A line of a bot's log."""

    time: str
    logger: str
    level: str
    message: str


class BotDetail(BotRow):
    """A bot with its open trades, as freqtrade tells them, and its newest log lines."""

    trades: list[dict[str, Any]]
    logs: list[LogLine]


class AlertRow(Reply):
    """An alert."""

    id: int
    at: float
    level: str
    rule: str
    text: str
    open: bool


class DeedRow(Reply):
    """An action of the monitor."""

    id: int
    at: float
    action: str
    target: str
    reason: str
    outcome: str


class SeriesRow(Reply):
    """A figure over time."""

    name: str
    times: list[float]
    values: list[float | None]
    low: float | None
    high: float | None


class BrakeRow(Reply):
    """What is in force for a bot."""

    bot: str
    mode: str
    reason: str
    by: str
    at: str
    obeyed: str
    way: str


class Order(BaseModel):
    """An emergency command for all bots."""

    model_config = ConfigDict(extra="forbid")

    mode: Mode
    confirm: Mode = Field(description="the mode again")
    reason: Annotated[str, Field(min_length=3, max_length=200, pattern=r"\S.*\S.*\S")]


class BrakeAnswer(Reply):
    """How an order went; problem is empty where the bot took it."""

    bot: str
    problem: str


class JobRow(Reply):
    """Slow work."""

    id: int
    kind: str
    target: str
    who: str
    state: Literal["waiting", "running", "done", "failed"]
    asked: float
    began: float
    ended: float
    message: str


class AuditRow(Reply):
    """An action of somebody."""

    id: int
    at: float
    who: str
    address: str
    action: str
    target: str
    detail: str
    outcome: str


class Done(Reply):
    """It was done."""

    message: str
