"""``bascule factor explain --graph``: the plan as a picture."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from bascule import engine
from bascule.app.cli import app
from bascule.app.planpage import drawing


def test_every_value_has_a_box_and_every_operand_an_arrow() -> None:
    graph = engine.compile(["Mean($close,5)/$close", "Std($close,5)"]).graph()
    notes = drawing(graph).layout.annotations
    boxes, arrows = [n for n in notes if not n.showarrow], [n for n in notes if n.showarrow]
    assert sorted(box.text for box in boxes) == sorted(map(str, graph.families))
    assert len(arrows) == len(graph.edges) == 4
    assert all(arrow.ax < arrow.x for arrow in arrows)  # from left to right
    assert len({(box.x, box.y) for box in boxes}) == len(boxes)


def test_the_command_writes_a_page_or_a_text_for_graphviz(tmp_path: Path) -> None:
    for name, beginning in (("plan.html", "<!doctype html>"), ("plan.dot", "digraph plan {")):
        words = ["factor", "explain", "Mean($close,5)/$close", "--graph", str(tmp_path / name)]
        done = CliRunner().invoke(app, words, catch_exceptions=False)
        assert done.exit_code == 0
        assert (tmp_path / name).read_text("utf-8").lower().startswith(beginning)
