"""The examples are files that the command line takes; each has its page, with its picture, in the gallery."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bascule.factors import load
from tests.app.calls import call

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
GALLERY = ROOT / "docs" / "gallery"
POOL = EXAMPLES / "mined_factors.pool.yaml"
FILES = sorted(path for path in EXAMPLES.glob("*.yaml") if path != POOL)
SHOWN = ("spot_rotation", "market_neutral", "funding_carry", "freqai_qlib", "mined_factors")
LARGEST = 150_000  # bytes of a picture


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_it_passes_the_check(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("check", str(path)) == 0
    assert "good" in capsys.readouterr().out


def test_a_broken_freqai_file_does_not_pass(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text((EXAMPLES / "freqai_qlib.yaml").read_text().replace("horizon: 24", "horizn: 24"))
    assert call("check", str(path)) != 0
    assert "did you mean 'horizon'" in capsys.readouterr().err
    whole = EXAMPLES / "freqai_qlib.yaml"
    assert call("check", whole, "--set", "recipe.horizon=6") == 0
    assert call("check", whole, "--set", "recipe.horizn=6") != 0
    assert "did you mean 'horizon'" in capsys.readouterr().err


def test_the_mined_factors_are_factors() -> None:
    found = load(POOL)
    assert len(found) >= 5 and all("mined by evolution" in factor.source for factor in found)
    # the search saw nothing of what is traded
    assert "--end 2022-08-01" in (EXAMPLES / "mined_factors.yaml").read_text()
    assert "first_test: 2022-08-01" in (EXAMPLES / "mined_factors.yaml").read_text()


@pytest.mark.parametrize("name", SHOWN)
def test_it_has_a_page_and_a_picture(name: str) -> None:
    page = (GALLERY / f"{name}.md").read_text("utf-8")
    picture = ROOT / "docs" / "images" / f"gallery-{name}.png"
    assert f"](../images/{picture.name})" in page and f"examples/{name}.yaml" in page
    assert 5_000 < picture.stat().st_size < LARGEST
    assert "embedded" in page and "```console" in page
    index = (GALLERY / "index.md").read_text("utf-8")
    assert f"]({name}.md)" in index and f"](../images/gallery-{name}.png)" in index


@pytest.mark.parametrize("name", SHOWN)
def test_it_was_tried_on_real_candles(name: str) -> None:
    page = (GALLERY / f"{name}.md").read_text("utf-8")
    told = page[page.index("## With your candles") :]
    assert "held |" in told and "trials counted" in told
    # the table of all repeats what the page says
    rows = (GALLERY / "index.md").read_text("utf-8").splitlines()
    row = next(one for one in rows if re.match(rf"\| \[[^]!]+]\({name}\.md\) \|", one))
    (was, sharpe), (real, real_sharpe) = re.findall(r"(−?\d+\.\d+) %, Sharpe (−?\d+\.\d+)", row)
    assert f"| {was} % | {sharpe} |" in page and f"| {real} % | {real_sharpe} |" in told


def test_links_of_the_gallery_lead_somewhere() -> None:
    for page in GALLERY.glob("*.md"):
        for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text("utf-8")):
            if "://" not in target:
                assert (GALLERY / target).exists(), f"{page.name}: {target}"
