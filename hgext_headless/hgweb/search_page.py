"""hgweb's own search, where it finds nothing: it looks at public history."""

from __future__ import annotations

import itertools
from typing import Any

from mercurial import encoding, templateutil

from .. import config

_ENTRIES = b'{entries%changelogentry}'
_HINT = (
    b'{if(nothing, \'<p class="headlessnothing">Nothing found in public history. A draft is found'
    b' by its hash (12 digits or more), and by words, user or date'
    b' <a href="{url|urlescape}pushloghtml?search={query|urlescape}">on the pushlog</a>.</p>\')}'
)
#: The first entries stand in a table.
_TABLE_END = b'</table>'


def send_template(orig: Any, request: Any, name: bytes, **kwargs: Any) -> Any:
    """hgweb's ``requestcontext.sendtemplate``."""
    is_search = name == b'search' and request.req.method != b'HEAD'
    if is_search and config.participates(request.repo):
        entries = kwargs['entries'].itermaps(None)
        first = list(itertools.islice(entries, 1))
        kwargs['nothing'] = not first
        # It goes on from the first one: to look for that may have taken long.
        kwargs['entries'] = templateutil.mappinggenerator(
            lambda context: itertools.chain(first, entries), name=b'searchentry'
        )
        _add_hint(request.tmpl)
    return orig(request, name, **kwargs)


def _add_hint(made: Any) -> None:
    if b'search' not in made.cache:
        made.load(b'search')
    text = made.cache[b'search']
    if b'text/html' not in made.render(b'mimetype', {b'encoding': encoding.encoding}):
        return
    before, entries, after = text.partition(_ENTRIES)
    if not entries or b'nothing' in text:
        return
    table, end, rest = after.partition(_TABLE_END)
    if not end:
        table, rest = b'', after
    made.cache[b'search'] = before + entries + table + end + b'\n' + _HINT + rest
