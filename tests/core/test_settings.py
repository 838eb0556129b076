import pickle

import pytest
from pydantic import Field, field_validator

from bascule.core import BasculeError, ConfigError, Settings, moment


class Inner(Settings):
    horizon: int = Field(24, ge=1)


class Span(Settings):
    start: str

    @field_validator("start")
    @classmethod
    def _time(cls, value: str) -> str:
        return str(moment(value))


class Server(Settings):
    api_key: str = ""
    depth: int = 1


class Outer(Settings):
    name: str
    label: Inner = Inner()


def test_a_typo_is_named_with_its_place_and_the_nearest_key() -> None:
    with pytest.raises(ConfigError) as caught:
        Outer.read({"name": "x", "label": {"horizn": 3}}, where="run.yaml")
    assert str(caught.value) == "run.yaml: label.horizn: unknown key\n  remedy: did you mean 'horizon'?"


def test_a_bad_value_and_a_missing_key_are_named() -> None:
    with pytest.raises(ConfigError, match=r"label\.horizon: Input should be greater.*received 0"):
        Outer.read({"name": "x", "label": {"horizon": 0}})
    with pytest.raises(ConfigError, match="name: this key is required"):
        Outer.read({})


def test_an_error_of_ours_in_a_validator_keeps_its_remedy_and_gets_the_place() -> None:
    with pytest.raises(ConfigError) as caught:
        Span.read({"start": "soon"}, where="run.yaml")
    assert str(caught.value).startswith("run.yaml: start: 'soon' is no time\n  remedy: write 2024-01-31")


def test_no_secret_and_no_page_of_text_is_shown() -> None:
    with pytest.raises(ConfigError, match=r"received a int \(not shown\)") as caught:
        Server.read({"api_key": 123_456_789})
    assert "123456789" not in str(caught.value)
    with pytest.raises(ConfigError) as caught:
        Server.read({"depth": "9" * 10_000 + "x"})
    assert "received '9999" in caught.value.message and len(str(caught.value)) < 500


def test_errors_travel_between_processes() -> None:
    error = ConfigError("m", where="w", remedy="r")
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), type(copy)) == (str(error), ConfigError)
    assert isinstance(copy, BasculeError)
