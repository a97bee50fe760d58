"""What hgweb's shipped styles show of pushes: woven into their templates.

A style that names ``pushid`` itself is left as it is.
"""

from __future__ import annotations

from typing import Any

from ... import config

#: In JSON the fields follow the others of an object.
_FIELDS = (
    b',\n"pushid": {pushid|json},\n'
    b'"pushuser": {if(pushid, \'{pushuser|utf8|json}\', \'null\')},\n'
    b'"pushdate": {pushdate|json}'
)
#: Of a changeset's own page only: whether it was backed out takes some looking.
_OWN_FIELDS = (
    b',\n"backedoutby": {backedoutby|json},\n'
    b'"git_commit": {ifcontains("git_commit", extras,'
    b' get(extras, "git_commit")|utf8|json, "null")},\n'
    b'"landingsystem": {ifcontains("moz-landing-system", extras,'
    b' get(extras, "moz-landing-system")|utf8|json, "null")}'
)
#: The templates of the style ``json`` that are one changeset each.
_OBJECTS = (b'changeset', b'changelistentry', b'filelogentry', b'graphentry')

#: Among the tags of a changeset: its push.
_TAG = (
    b'{if(pushid, \'<span class="%s" title="pushed by {pushuser|escape}'
    b' on {pushdate|isodate}">push {pushid}</span> \')}'
)
_TAG_CLASSES = {b'paper': b'tag', b'coal': b'tag', b'gitweb': b'tagtag', b'monoblue': b'tagtag'}

#: The style ``spartan`` has a table row for each fact.
_ROW = (
    b'{if(pushid, \'<tr><th class="date">push:</th><td class="date">{pushid} by '
    b'{pushuser|escape} ({pushdate|isodate})</td></tr>\')}\n'
)
_ROW_BEFORE = b'<tr>\n <th class="files">'


def templater(orig: Any, request: Any, req: Any) -> Any:
    """hgweb's ``requestcontext.templater``."""
    made = orig(request, req)
    if config.participates(request.repo):
        style = made.defaults[b'style']
        if style == b'json':
            for name in _OBJECTS:
                fields = _FIELDS + (_OWN_FIELDS if name == b'changeset' else b'') + b'\n}'
                _weave(made, name, lambda text, f=fields: text.rpartition(b'}')[0].rstrip() + f)
        elif style in _TAG_CLASSES:
            tag = _TAG % _TAG_CLASSES[style]
            closing = b'</span>' if style in (b'gitweb', b'monoblue') else b''
            _weave(made, b'alltags', lambda text: text[: len(text) - len(closing)] + tag + closing)
        elif style == b'spartan':
            for name in (b'changeset', b'changelogentry'):
                _weave(made, name, lambda text: text.replace(_ROW_BEFORE, _ROW + _ROW_BEFORE, 1))
    return made


def _weave(made: Any, name: bytes, change: Any) -> None:
    if name not in made:
        return
    if name not in made.cache:  # it is a file; what is a line of the map need not be parsed now
        made.load(name)
    text = made.cache[name]
    if b'pushid' not in text:
        made.cache[name] = change(text)
