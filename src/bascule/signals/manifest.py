"""What a bundle says of itself: ``manifest.json``."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
from typing import Self

import numpy as np
from pydantic import Field, model_validator

from bascule.core import BundleError, ConfigError, ExtensionRecord, Moment, Settings, moment
from bascule.core.timeframe import TimeArray
from bascule.signals.spec import SignalSpec

SCHEMA = 1
MANIFEST = "manifest.json"
SIGNATURE = "manifest.sig"
MODELS = "models"


def stamp(time: Moment) -> str:
    """A UTC time to the second, ISO 8601."""
    return f"{moment(time).astype('datetime64[s]')}Z"


def unstamp(text: str) -> np.datetime64:
    """The time behind a `stamp`."""
    return moment(text.removesuffix("Z"))


class Span(Settings):
    """A half-open range of candle open times, ``[start, end)``."""

    start: str = Field(description="UTC, ISO 8601")
    end: str = Field(description="UTC, ISO 8601, excluded")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        start, end = self.times
        if not start < end:
            raise ValueError(f"{self.start} is not before {self.end}")
        return self

    @property
    def times(self) -> tuple[np.datetime64, np.datetime64]:
        """Both ends."""
        return unstamp(self.start), unstamp(self.end)

    @classmethod
    def of(cls, start: Moment, end: Moment) -> Self:
        """From any two times."""
        return cls(start=stamp(start), end=stamp(end))


class ModelWindow(Settings):
    """A fitted model. It is in charge from the start of its test window until the next one is."""

    id: str = Field(min_length=1, description="unique name of the model")
    path: str = Field(description="folder of the model, relative to the bundle")
    train: Span = Field(description="rows it was fitted on")
    valid: Span = Field(description="rows that stopped the fitting")
    test: Span = Field(description="out-of-sample rows")
    purge: int = Field(ge=0, description="bars kept free before valid and test because labels overlap")
    embargo: int = Field(ge=0, description="further bars kept free")

    @classmethod
    def describe(cls, folder: Path) -> Self:
        """The window of a fitted model's folder (`models.train_walk_forward`).

        Raises:
            BundleError: it holds no model.
        """
        from bascule.models.predictor import read_meta

        meta = read_meta(folder)
        spans = {name: Span.of(*meta["windows"][name]) for name in ("train", "valid", "test")}
        name = str(meta["model_id"])
        return cls(
            id=name, path=f"{MODELS}/{name}", purge=meta["purge_bars"], embargo=meta["embargo_bars"], **spans
        )


class DataRecord(Settings):
    """The data that the signals came from."""

    fingerprint: str = Field(min_length=1, description="digest of the panel")
    first: str = Field(description="open time of the first candle")
    last: str = Field(description="open time of the last candle")


class Manifest(Settings):
    """The whole manifest."""

    schema_version: int = Field(description="version of this layout")
    created: str = Field(description="UTC time of writing")
    spec: SignalSpec = Field(description="the recipe")
    lookback: int = Field(ge=0, description="bars of history before a row that its signals need")
    universe: tuple[str, ...] = Field(min_length=1, description="store ids, sorted")
    listed: dict[str, str] = Field(description="store id → open time of its first candle ever")
    models: tuple[ModelWindow, ...] = Field(min_length=1, description="by start of their test window")
    data: DataRecord = Field(description="where the signals came from")
    signals: Span = Field(description="rows of signals.parquet")
    rows: int = Field(ge=1, description="number of rows of signals.parquet")
    versions: dict[str, str] = Field(description="package → version at the time of writing")
    extensions: tuple[ExtensionRecord, ...] = Field(
        default=(), description="the user's own operators and models that it was made with"
    )
    files: dict[str, str] = Field(description="relative path → SHA-256, of every other file")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if list(self.universe) != sorted(set(self.universe)):
            raise ValueError("the universe is not sorted and unique")
        strangers = set(self.listed) - set(self.universe)
        if strangers:
            raise ValueError(f"listed names instruments outside the universe: {', '.join(sorted(strangers))}")
        starts = [unstamp(model.test.start) for model in self.models]
        if starts != sorted(set(starts)) or len({model.id for model in self.models}) != len(self.models):
            raise ValueError("models must have unique ids and increasing test windows")
        for name in [*self.files, *(model.path for model in self.models)]:
            parts = PurePosixPath(name)
            if parts.is_absolute() or ".." in parts.parts or "\\" in name:
                raise ValueError(f"{name!r} leads out of the bundle")
        return self

    @property
    def listed_times(self) -> TimeArray:
        """First candle of each instrument of the universe, NaT = never ``[N]``."""
        never = np.datetime64("NaT", "ns")
        times = [unstamp(self.listed[name]) if name in self.listed else never for name in self.universe]
        return np.array(times, "datetime64[ns]")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read a bundle's manifest.

        Raises:
            BundleError: it is missing, not JSON, of another schema version, or inconsistent.
        """
        path = folder / MANIFEST
        try:
            values = json.loads(path.read_text("utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise BundleError(
                f"there is no readable manifest: {error}",
                where=str(folder),
                remedy="name a bundle folder, or the folder that holds 'current'",
            ) from None
        except json.JSONDecodeError as error:
            raise BundleError(
                f"not JSON: {error}", where=str(path), remedy="the bundle is damaged; write it anew"
            ) from None
        version = values.get("schema_version") if isinstance(values, dict) else None
        if version != SCHEMA:
            raise BundleError(
                f"schema version {version!r}, this Bascule reads {SCHEMA}",
                where=str(path),
                remedy="write the bundle anew with this version of Bascule",
            )
        try:
            return cls.read(values, where=str(path))
        except ConfigError as error:
            raise BundleError(
                error.message, where=error.where, remedy="the bundle is damaged; write it anew"
            ) from None
