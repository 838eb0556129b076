"""The API against its own description: schemathesis sends what a client may send, and what it may not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.core.result import Ok

from bascule.app.web.server import application
from tests.web import office

EXPECTED = 24  # operations


@pytest.fixture(scope="module")
def schema(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The description, bound to a dashboard whose jobs only wait."""
    found = office.services(home, tmp_path_factory.mktemp("schema"))
    app = application(found)
    made = schemathesis.openapi.from_dict(app.openapi())
    made.app = app
    token = found.accounts.add_token("schemathesis", "operator", 1, found.clock())
    made.test_headers = {"Authorization": f"Bearer {token}", "Host": "localhost"}
    return made


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    "mode", [GenerationMode.POSITIVE, pytest.param(GenerationMode.NEGATIVE, marks=pytest.mark.slow)]
)
def test_the_api_keeps_its_description(schema: Any, mode: GenerationMode) -> None:
    seen = 0
    for result in schema.get_all_operations():
        assert isinstance(result, Ok)
        operation = result.ok()

        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(
            max_examples=8, deadline=None, derandomize=True, database=None, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        def attempt(case: Any) -> None:
            answer = case.call(headers=schema.test_headers)
            case.validate_response(
                answer, excluded_checks=[schemathesis.checks.CHECKS.get_one("unsupported_method")]
            )
            assert answer.status_code < 500 or answer.status_code == 502

        try:
            attempt()
        except Unsatisfiable:
            assert mode == GenerationMode.NEGATIVE  # there is nothing wrong that could be sent
            continue
        seen += 1
    assert seen >= (EXPECTED if mode == GenerationMode.POSITIVE else 5)
