"""The code loads in Python 3.9, the oldest that is supported; other tests run in newer ones."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator
from pathlib import Path

import pytest

import hgext_headless


def unions(tree: ast.AST) -> Iterator[str]:
    """``X | None`` and the like where they are evaluated, which takes Python 3.10."""
    unevaluated = {
        id(part)
        for node in ast.walk(tree)
        for name in ('annotation', 'returns')
        if isinstance(annotation := getattr(node, name, None), ast.AST)
        for part in ast.walk(annotation)
    }
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.BinOp)
            and isinstance(node.op, ast.BitOr)
            and id(node) not in unevaluated
            and (_is_type(node.left) or _is_type(node.right))
        ):
            yield f'line {node.lineno}: {ast.unparse(node)}'


def _is_type(node: ast.expr) -> bool:
    if isinstance(node, ast.Subscript):
        return _is_type(node.value)
    if isinstance(node, ast.Name):
        return isinstance(getattr(builtins, node.id, None), type)
    return isinstance(node, ast.Constant) and node.value is None


@pytest.mark.parametrize(
    'source',
    ['A = tuple[int, bytes | None]', 'isinstance(x, int | str)', 'A = list[int] | B'],
)
def test_found(source):
    assert list(unions(ast.parse(source)))


@pytest.mark.parametrize(
    'source',
    ['def f(x: int | None = a | b) -> int | str: y: int | None', "A = tuple[int, 'int | None']"],
)
def test_harmless(source):
    assert not list(unions(ast.parse(source)))


def test_no_unions():
    folder = Path(hgext_headless.__file__).parent
    found = {
        str(path.relative_to(folder)): lines
        for path in folder.rglob('*.py')
        if (
            lines := list(
                unions(ast.parse(path.read_text(encoding='utf-8'), feature_version=(3, 9)))
            )
        )
    }
    assert not found
