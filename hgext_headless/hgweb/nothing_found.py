"""hgweb's own search, if it finds nothing: it searches public history only.

Drafts are searched by ``pushloghtml``.

`pushlog.template_patches` adds the text for this case to the template of the page.
"""

from __future__ import annotations

import itertools
from typing import Any

from mercurial import templateutil

from .. import config


def send_template(orig: Any, request: Any, name: bytes, **kwargs: Any) -> Any:
    """Tell the search page if nothing is found. ``orig`` is ``requestcontext.sendtemplate``."""
    is_search = name == b'search' and request.req.method != b'HEAD'
    if is_search and config.participates(request.repo):
        entries = kwargs['entries'].itermaps(None)
        first = list(itertools.islice(entries, 1))
        kwargs['nothing'] = not first
        # Do not search again for the first entry: finding it may have taken long.
        kwargs['entries'] = templateutil.mappinggenerator(
            lambda context: itertools.chain(first, entries), name=b'searchentry'
        )
    return orig(request, name, **kwargs)
