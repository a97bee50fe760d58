"""The diff of a push: from where, to where, and how much of it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from mercurial import context, hg, templater, ui as uimod
from mercurial.node import nullid

from hgext_headless.hgweb.pushlog import links as configured, push_page, push_rows
from hgext_headless.model import Changeset, Entry


@dataclass
class History:
    """A repository, and the changesets of a push by name."""

    repo: Any
    nodes: dict[str, bytes] = field(default_factory=dict)

    def commit(
        self, name: str, *parents: str, copied: dict[str, bytes] | None = None,
        **files: bytes | None,
    ) -> None:
        above = [self.nodes.get(parent, nullid) for parent in (*parents, '', '')[:2]]

        def content(repo, changed, path):
            data, source = files[path.decode()], (copied or {}).get(path.decode())
            if data is None:
                return None
            return context.memfilectx(repo, changed, path, data, copysource=source)

        names = [path.encode() for path in files]
        made = context.memctx(self.repo, above, name.encode(), names, content, user=b'a')
        self.nodes[name] = self.repo.commitctx(made)

    def pushed(self, names: str) -> list[Changeset]:
        changesets = []
        for name in names.split():
            p1, p2 = (parent.node() for parent in (self.repo[self.nodes[name]].parents() * 2)[:2])
            p2 = nullid if p1 == p2 else p2
            node = self.nodes[name]
            extras = ((b'branch', b''),)
            changesets.append(Changeset(node, p1, p2, b'', b'a', 0, 0, b'', (), extras))
        return changesets

    def base(self, names: str, head: str) -> list[str]:
        """The base of a push, and what it merges."""
        base, merged = push_page._base(self.repo, self.pushed(names), self.nodes[head])
        return [self.repo[node].description().decode() for node in (base, *merged)]


@pytest.fixture
def history(tmp_path):
    found = History(hg.repository(uimod.ui.load(), bytes(tmp_path / 'r'), create=True))
    with found.repo.lock(), found.repo.transaction(b'test'):
        found.commit('p0', a=b'1\n')
        found.commit('p1', 'p0', b=b'1\n')
        found.commit('other', 'p0', c=b'1\n')
        found.commit('a', 'p0', x=b'1\n')
        found.commit('b', 'a', y=b'1\n')
        found.commit('c', 'a', z=b'1\n')
        found.commit('merge', 'b', 'p1', y=b'2\n')
        found.commit('merges', 'other', 'p1', y=b'2\n')
    return found


@pytest.mark.parametrize(
    ('names', 'head', 'base'),
    [
        ('a b', 'b', 'p0'),
        ('b', 'b', 'a'),
        ('a b c', 'c', 'p0'),
        # It does not show what it merges from public history,
        ('a b merge', 'merge', 'p1'),
        ('p1 a b merge', 'merge', 'p0'),
        # but that of the second parent if neither has the other.
        ('merges', 'merges', 'other p1'),
    ],
)
def test_base(history, names, head, base):
    assert history.base(names, head) == base.split()


def test_heads(history):
    found = push_page.heads(history.pushed('a b c'))
    assert found == [history.nodes['c'], history.nodes['b']]
    gone = Changeset(b'x' * 20, history.nodes['c'], nullid, b'', b'', 0, 0, b'', (), ())
    assert push_page.heads([*history.pushed('a c'), gone]) == [history.nodes['c']]
    assert push_page.heads([gone]) == []


def test_bounds(history, monkeypatch):
    with history.repo.lock(), history.repo.transaction(b'test'):
        lines = b'line\n' * 50
        history.commit('large', 'p0', f1=b'1\n', f2=lines, f3=lines, f4=b'\0', f5=b'x' * 5000)
    base, head = (history.repo[history.nodes[name]] for name in ('p0', 'large'))
    made = push_page.Diff(base, head, [], [b'f1', b'f2', b'f3', b'f4', b'f5'])
    monkeypatch.setattr(push_page, '_MOST_LINES', 60)
    monkeypatch.setattr(push_page, '_MOST_BYTES', 4000)
    monkeypatch.setattr(push_page, '_MOST_COUNTED', 5)
    found = push_page.counted(made)
    assert found.counts == {
        b'f1': (1, 0, False),
        b'f2': (50, 0, False),
        b'f3': (50, 0, False),
        b'f4': (0, 0, True),
    }
    assert found.shown == {b'f1': 1, b'f2': 2}
    assert found.lines == 51
    monkeypatch.setattr(push_page, '_MOST_LINES', 1000)
    monkeypatch.setattr(push_page, '_LONGEST_LINE', 20)  # that of a binary file is longer
    assert [*push_page.counted(made).shown] == [b'f1', b'f2', b'f3']
    assert [push_page._note(made, name) for name in (b'f1', b'a', b'gone')] == [
        b'new',
        b'',
        b'removed',
    ]


@pytest.mark.parametrize('is_git', [False, True])
def test_each_file_has_its_place_and_its_name_in_the_diff(history, is_git):
    history.repo.ui.setconfig(b'diff', b'git', is_git)
    with history.repo.lock(), history.repo.transaction(b'test'):
        history.commit('more', 'p0', a=b'2\n', b=b'', c=b'1\n', d=b'\0', e=b'1\n2\n')
    base, head = (history.repo[history.nodes[name]] for name in ('a', 'more'))
    found = push_page.counted(push_page.Diff(base, head, [], [b'a', b'b', b'c', b'd', b'e', b'x']))
    assert found.shown == {b'a': 1, b'b': 2, b'c': 3, b'd': 4, b'e': 5, b'x': 6}
    assert blocks(found) == [b'a', b'b', b'c', b'd', b'e', b'x']
    assert [found.counts[name] for name in (b'd', b'x')] == [(0, 0, True), (0, 1, False)]


def blocks(made: push_page.Diff) -> list[bytes]:
    """The last word of the first line of each block of the diff on the page."""
    web = SimpleNamespace(repo=made.head.repo(), stripecount=1)
    kinds = (b'', b'plus', b'minus', b'at')
    texts = {b'diffline' + kind: b'{lineid} {line}' for kind in kinds}
    texts.update({b'page': b'{diff}', b'diffblock': b'{lines}'})
    page = templater.templater(cache=texts).render(b'page', {b'diff': push_page._shown(web, made)})
    return re.findall(rb'^l\d+\.1 diff .*[ /](.*)$', page, re.M)


@pytest.mark.parametrize('is_git', [False, True])
def test_renames(history, monkeypatch, is_git):
    history.repo.ui.setconfig(b'diff', b'git', is_git)
    lines = b'line\n' * 50
    with history.repo.lock(), history.repo.transaction(b'test'):
        history.commit('old', 'p0', old=lines, kept=lines)
        copied = {'copy': b'kept', 'new': b'old', 'new2': b'old'}
        history.commit(
            'new', 'old', copied=copied, old=None, copy=lines, new=lines + b'1234567\n', new2=lines
        )
    base, head = (history.repo[history.nodes[name]] for name in ('old', 'new'))
    made = push_page.Diff(base, head, [], [b'copy', b'new', b'new2', b'old'])
    found = push_page.counted(made)
    listed = [(name, push_page._note(found, name), found.counts[name][:2]) for name in found.files]
    if not is_git:
        assert [note for _name, note, _counts in listed] == [b'new', b'new', b'new', b'removed']
        return
    assert listed == [
        (b'copy', b'copied from kept', (0, 0)),
        (b'new', b'renamed from old', (1, 0)),
        (b'new2', b'copied from old', (0, 0)),  # as the diff says
    ]
    assert blocks(found) == [b'copy', b'new', b'new2']
    # Of what was renamed and is left out, the diff has no old name either.
    monkeypatch.setattr(push_page, '_LONGEST_LINE', 7)
    found = push_page.counted(made)
    assert [*found.shown] == blocks(found) == [b'copy', b'new2']
    assert push_page._note(found, b'new2') == b'renamed from old'
    # The file that it was copied from is read, too.
    monkeypatch.setattr(push_page, '_MOST_BYTES', 499)
    assert push_page.counted(made).shown == {}


def test_what_is_folded_counts_what_is_left_out():
    """The page has 25 of 55 changesets, and shows 20."""
    links = configured.Links(None, None, (), ())
    listed = push_rows.of_push(links, Entry(1, b'alice', 0), [], [{}] * 25, 30)
    assert (listed[b'foldedcount'], listed[b'omittedcount']) == (35, 30)
    whole = push_rows.of_push(links, Entry(1, b'alice', 0), [], [{}] * 25, 0)
    assert whole[b'foldedcount'] == 5 and not whole[b'omittedcount']


def test_descriptions_on_the_page_are_bounded(monkeypatch):
    links = configured.Links(None, None, (), ())
    monkeypatch.setattr(push_rows, '_MOST_TEXT', 30)
    monkeypatch.setattr(push_rows, '_LONG_LINES', 2)
    said = [b'summary', b'summary\n\n1\n2\n', b'summary\n' + b'line\n' * 8, b'a\nb']
    changesets = [Changeset(b'x' * 20, nullid, nullid, b'', b'a', 0, 0, d, (), ()) for d in said]
    found = [message for _changeset, message in push_rows.messages(links, changesets, {})]
    assert [(m[b'messagelines'], m[b'longmessage'], m[b'cutmessage']) for m in found] == [
        (0, False, False),
        (2, False, False),
        (6, True, True),
        (0, False, True),
    ]
