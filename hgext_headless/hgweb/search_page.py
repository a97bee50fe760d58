"""hgweb's own search, where it finds nothing: it looks at public history.

What the page says then is woven into its template by `pushlog.template_patches`.
"""

from __future__ import annotations

import itertools
from typing import Any

from mercurial import templateutil

from .. import config


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
    return orig(request, name, **kwargs)
