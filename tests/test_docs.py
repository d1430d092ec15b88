"""What the documents promise of the tests is there."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
ROWS = [
    line
    for line in (TESTS.parent / "docs/security.md").read_text().partition("| who has |")[2].splitlines()[2:]
    if line.startswith("|")
]
CITED = re.findall(r"`([\w/]+\.py)::(\w+)(?:\[(.+?)\])?`", "\n".join(ROWS))


@cache
def names(file: str) -> tuple[frozenset[str], frozenset[str]]:
    """The tests of a file, and all text in it: the names of a table's rows are there."""
    nodes = list(ast.walk(ast.parse((TESTS / file).read_text())))
    tests = {node.name for node in nodes if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}
    texts = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return frozenset(tests), frozenset(texts)


def test_every_claim_on_security_names_a_test() -> None:
    assert len(ROWS) > 30
    assert not [row for row in ROWS if ".py::test_" not in row.split("|")[-2]]
    assert sum(row.count(".py::") for row in ROWS) == len(CITED)


@pytest.mark.parametrize(("file", "test", "case"), sorted(set(CITED)))
def test_a_test_that_is_named_is_there(file: str, test: str, case: str) -> None:
    tests, texts = names(file)
    assert test in tests
    assert not case or case in texts
