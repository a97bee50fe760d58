"""What templates show is escaped, and markup stays markup."""

from __future__ import annotations

import re

import pytest
from mercurial import encoding, templater, templateutil

from hgext_headless import hgcompat
from hgext_headless.hgweb.pushlog import decorate

EVIL = b'"><svg onload=alert(1)>\'&'
SAFE = b'&quot;&gt;&lt;svg onload=alert(1)&gt;\'&amp;'


def shown(text: bytes, **mapping: object) -> bytes:
    made = templater.templater(cache={b'page': text, b'item': b'<b>{name}</b>', b'part': b'<i>'})
    hgcompat.add_template_function(made, b'pushlogescaped', decorate._escaped)
    hgcompat.change_template_trees(made, decorate._protected)
    made._filters[b'colorize'] = lambda value: b'<u>' + value
    values = {b'x': EVIL, b'empty': b'', **{k.encode(): v for k, v in mapping.items()}}
    return made.render(b'page', values)


@pytest.mark.parametrize(
    'text',
    [
        b'{x}',
        b'{x|escape}',
        b'{x|strip|escape|nonempty}',
        b'{x|escape|strip|firstline|addbreaks}',
        b'{x|firstline}',
        b"{strip(x|escape, '!')}",
        b'{strip(x)}',
        b"{if(x, x)}",
        b"{if(empty, '', '{x}')}",
        b"{ifeq(x, empty, '', x)}",
        b'{get(dict(a=x), "a")}',
        b'{join(list, "")}',
        b'{list}',
        b'{separate("", x, empty)}',
        b"{sub('nothing', '', x)}",
        b'{x|lower|lower}',
        b'{wrapped}',
    ],
)
def test_escaped(text):
    found = templateutil.hybridlist([EVIL], name=b'name')
    assert shown(text, list=found, wrapped=templateutil.wrappedvalue(EVIL)) == SAFE


def test_names_of_users():
    assert shown(b'{x|person}') == SAFE
    names = templateutil.hybridlist([b'ann', b'<bob>'], name=b'name')
    assert shown(b"{join(list, ', ')}", list=names) == b'ann, &lt;bob&gt;'
    assert b'<' not in shown(b'{x|obfuscate}') + shown(b'{x|urlescape}') + shown(b'{x|json}')


def test_markup():
    items = templateutil.mappinglist([{b'name': EVIL}])
    assert shown(b'{part}{items%item}', items=items) == b'<i><b>' + SAFE + b'</b>'
    assert shown(b"{items%'<s>{name}'}", items=items) == b'<s>' + SAFE
    assert shown(b"{if(x, part)}{join(items%item, '<br>')}", items=items) == (
        b'<i><b>' + SAFE + b'</b>'
    )
    made = templateutil.mappedgenerator(lambda context: iter([b'<pre>']))
    assert shown(b'{diff}', diff=made) == b'<pre>'
    assert shown(b"{motd}", motd=lambda context, mapping: iter([b'<em>'])) == b'<em>'
    # A filter that an extension has added, such as highlight.
    assert shown(b'{x|escape|colorize}') == b'<u>' + SAFE


def test_control_characters_in_feeds():
    escape = decorate._for_xml(lambda text: text)
    assert escape(b'a\x00\x0b\x1f\t\n\xef\xbf\xbe\xed\xa0\x80z') == b'a???\t\n??z'


@pytest.mark.parametrize(
    ('name', 'expected'), [(b'UTF-8', 'caf\ufffd é'.encode()), (b'ascii', b'caf? ??')]
)
def test_other_encodings_in_feeds(monkeypatch, name, expected):
    monkeypatch.setattr(encoding, 'encoding', name)
    escape = decorate._for_xml(lambda text: text)
    assert escape(b'caf\xe9 \xc3\xa9') == expected


def test_no_fragment_has_the_name_of_another():
    """The second would take the place of the first."""
    names = re.findall(rb'^(\w+) = ', decorate._read('map'), re.MULTILINE)
    assert sorted(names) == sorted(decorate.fragments())
