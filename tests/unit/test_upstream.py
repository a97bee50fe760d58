"""What `upstream` makes of the results of Mercurial's own tests."""

from __future__ import annotations

import pytest
import upstream


class Runs:
    """Mercurial's tests, of which each run with and without extensions has its results."""

    def __init__(self, loaded: list[dict[str, str]], plain: dict[str, str]) -> None:
        self._loaded = iter(loaded)
        self._plain = plain

    def run(self, tests, extensions):
        return next(self._loaded) if extensions else self._plain

    def expected(self, name):
        return 'a\nb\n'


@pytest.mark.parametrize(
    ('loaded', 'plain', 'code'),
    [
        (['success'], '', 0),
        (['skip'], '', 0),
        (['a\nc\n', 'a\nc\n'], 'success', 1),
        (['a\nc\n', 'success'], 'success', 0),
        (['a\nc\n', 'a\nd\n'], 'a\nb\ne\n', 1),  # that line "b" is not there
        (['a\nc\n'], 'a\nc\n', 0),
        (['a\nb\nlisted 1\n'], 'success', 0),
        (['a\nb\nlisted 1\nc\n', 'a\nb\nlisted 1\nc\n'], 'success', 1),
    ],
)
def test_compare(loaded, plain, code):
    runs = Runs([{'test-a.t#b': result} for result in loaded], {'test-a.t#b': plain})
    assert upstream.compare(runs, ['test-a.t'], {'test-a.t': ['+listed *']}) == code


def test_no_result():
    assert upstream.compare(Runs([{}], {}), ['test-a.t'], {}) == 1


def test_accepted():
    """The list can be read, and each entry has a test."""
    assert all(name.endswith('.t') for name in upstream.accepted())
