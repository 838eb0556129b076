"""Importing a floor stays light."""

import subprocess
import sys

import pytest

HEAVY = ("qlib", "mlflow", "lightgbm", "sklearn", "statsmodels", "scipy", "pandas", "freqtrade", "plotly")


@pytest.mark.parametrize("package", ["evaluate", "models", "risk", "portfolio"])
def test_importing_a_floor_imports_no_heavy_library(package: str) -> None:
    code = f"import sys, bascule.{package}; print(*[m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
