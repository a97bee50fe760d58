"""What hgweb's shipped styles show of pushes: woven into their templates.

A style that names ``pushid`` itself is left as it is.
"""

from __future__ import annotations

from typing import Any

from .. import config

#: In JSON the fields follow the others of an object.
_FIELDS = (
    b',\n"pushid": {pushid|json},\n'
    b'"pushuser": {if(pushid, \'{pushuser|utf8|json}\', \'null\')},\n'
    b'"pushdate": {pushdate|json}\n}'
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
                _weave(made, name, lambda text: text.rpartition(b'}')[0].rstrip() + _FIELDS)
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
    made.load(name)
    text = made.cache[name]
    if b'pushid' not in text:
        made.cache[name] = change(text)
