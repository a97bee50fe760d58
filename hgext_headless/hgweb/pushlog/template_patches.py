"""What hgweb's shipped styles show of pushes: added to their templates when these are loaded.

A template that shows pushes itself gets only what helps screen readers. Other added lines
contain ``pushlog``.
"""

from __future__ import annotations

import functools
import re
from typing import Any

from ... import config, hgcompat
from . import templates

#: Fields in JSON, after the others of an object.
_FIELDS = (
    b',\n"pushid": {pushid|json},\n'
    b'"pushuser": {if(pushid, \'{pushuser|utf8|json}\', \'null\')},\n'
    b'"pushdate": {pushdate|json}'
)
#: Fields of a changeset's own page only: finding out whether it was backed out takes long.
_OWN_FIELDS = (
    b',\n"backedoutby": {backedoutby|json},\n'
    b'"git_commit": {ifcontains("git_commit", extras,'
    b' get(extras, "git_commit")|utf8|json, "null")},\n'
    b'"landingsystem": {ifcontains("moz-landing-system", extras,'
    b' get(extras, "moz-landing-system")|utf8|json, "null")}'
)
#: The templates of the style ``json`` that show one changeset each.
_OBJECTS = (b'changeset', b'changelistentry', b'filelogentry', b'graphentry')

#: The push of a changeset, among its tags. It cannot be a link if they are inside a link.
_TITLE = b'pushed by {pushuser|escape} on {pushdate|isodate}'
_TAG = b'{if(pushid, \'<span class="%s" title="' + _TITLE + b'">push {pushid}</span> \')}'
_LINK_TAG = (
    b'{if(pushid, \'<a class="%s" href="{pushloglink}changeset={node}" title="'
    + _TITLE
    + b'">push {pushid}</a> \')}'
)
_LINKED_TAGS = b'pushlogalltags'
_TAGS_IN_LINK = re.compile(rb'\s*\{alltags\}\s*</a>')

#: Rows on the page of a changeset: (keyword that must not be empty, label, value).
_FACTS = (
    (b'pushid', b'push', b'{pushlogofchangeset}'),
    (b'pushid', b'pushed by', b'{pushlogbyuser}'),
    (b'pushid', b'pushed', b'{pushlogtime}'),
    (b'bugs', b'bugs', b'{join(bugs%pushlognamed, ", ")}'),
    (b'reviewers', b'reviewers', b'{join(reviewers%pushlognamed, ", ")}'),
    (b'descriptionlinks', b'links', b'{join(descriptionlinks%pushlognamed, ", ")}'),
    (b'pushlinks', b'see', b'{join(pushlinks%pushlognamed, ", ")}'),
)
_ROW = b'<tr class="pushlogfact"><th scope="row">%s</th><td>%s</td></tr>'
_ROWS = {
    b'paper': _ROW,
    b'coal': _ROW,
    b'gitweb': _ROW,
    b'monoblue': b'<dt class="pushlogfact">%s</dt><dd class="pushlogfact">%s</dd>',
    b'spartan': b'<tr class="pushlogfact"><th scope="row">%s:</th><td>%s</td></tr>',
}
#: The page of a changeset, and the entries of spartan's log, which are similar.
_WITH_ROWS = (b'changeset', b'changelogentry')
#: The rows are added before the one that says whether the changeset is obsolete.
_ROWS_BEFORE = b'{if(obsolete, '
_TAG_CLASSES = {b'paper': b'tag', b'coal': b'tag', b'gitweb': b'tagtag', b'monoblue': b'tagtag'}

#: A line of a style's menu that links to the graph or, on the page of the graph, to the tags.
_MENU_LINE = re.compile(
    rb'^(?P<before>.*)<a href="\{url\|urlescape\}(?P<page>graph|tags)(/\{symrev\})?'
    rb'\{sessionvars%urlparameter\}">(?P=page)</a>(?P<after>.*)\n',
    re.MULTILINE,
)
_MENU_LINK = rb'\g<before><a href="{pushlogmenu}">pushlog</a>\g<after>\n\g<0>'

#: The results of a search, with the end of the table that some styles have around them.
_ENTRIES = re.compile(rb'\{entries%changelogentry\}(\s*</tbody>\s*</table>)?')
_ERROR = re.compile(rb'\{error\|escape\}(\s*</p>)?')
#: What screen readers need in the shipped styles: (text, replacement).
_NAMELESS = (
    (b' xml:lang="en-US">', b' xml:lang="en-US" lang="en-US">'),
    (b'<html>\n', b'<html lang="en-US">\n'),
    (b'<input name="rev" ', b'<input name="rev" aria-label="search" '),
    (b'<input type="text" name="rev" ', b'<input type="text" name="rev" aria-label="search" '),
    (b'<div class="main">', b'<div class="main" role="main">'),
    (b'<div class="menu">', b'<div class="menu" role="navigation" aria-label="repository">'),
    *(
        (b'%s" type="checkbox" />' % box, b'%s" type="checkbox" aria-label="%s" />' % (box, label))
        for box, label in (
            (b'ignorews-checkbox', b'ignore whitespace changes everywhere'),
            (b'ignorewsamount-checkbox', b'ignore changes within whitespace'),
            (b'ignorewseol-checkbox', b'ignore whitespace at end of lines'),
        )
    ),
    (b'<a href="#{lineid}"></a>', b'<a href="#{lineid}" aria-label="{lineid}"></a>'),
)
#: Templates of pages with styles for phones, screen readers and dark mode.
_STYLED = (
    b'changeset',
    b'error',
    b'fileannotate',
    b'filelog',
    b'filerevision',
    b'manifest',
    b'search',
)


def templater(orig: Any, request: Any, req: Any) -> Any:
    """Return a templater with our additions. ``orig`` is hgweb's ``requestcontext.templater``."""
    made = orig(request, req)
    if config.participates(request.repo):
        style = made.defaults[b'style']
        # The absolute URLs of feeds: behind a proxy, the name of this process leads nowhere.
        made.defaults[b'urlbase'] = hgcompat.request_host(request.repo, req)
        # The style of hg.mozilla.org needs this filter, which another extension has.
        hgcompat.add_template_filter(made, b'mozlink', like=b'websub')
        if style == b'json':
            hgcompat.weave_templates(made, _with_fields)
        elif style in _ROWS:
            hgcompat.weave_templates(made, functools.partial(_with_push, style))
            templates.add(made, templates.fragments())
            if style in _TAG_CLASSES:
                _add_tags(made, style)
        elif b'text/html' in made.cache.get(b'mimetype', b''):
            hgcompat.weave_templates(made, _with_names_escaped)
    return made


def _with_names_escaped(name: bytes, text: bytes) -> bytes:
    """Return an HTML template that escapes the names of authors, which Mercurial's do not."""
    return text.replace(b'|person}', b'|person|escape}')


def _with_fields(name: bytes, text: bytes) -> bytes:
    if name not in _OBJECTS or b'pushid' in text:
        return text
    fields = _FIELDS + (_OWN_FIELDS if name == b'changeset' else b'') + b'\n}'
    return text.rpartition(b'}')[0].rstrip() + fields


@functools.lru_cache(1000)  # each request loads its templates anew
def _with_push(style: bytes, name: bytes, text: bytes) -> bytes:
    """Return an HTML template with our additions."""
    text = _with_names_escaped(name, text)
    for nameless, named in _NAMELESS:
        text = text.replace(nameless, named)
    if b'pushlog' in text or b'pushid' in text:
        return text
    text = _MENU_LINE.sub(_MENU_LINK, text, count=1)
    if name in _WITH_ROWS:
        text = text.replace(_ROWS_BEFORE, _rows(style) + _ROWS_BEFORE, 1)
        text = _TAGS_IN_LINK.sub(b'</a>\n{%s}' % _LINKED_TAGS, text)
    elif name == b'search':
        text = _ENTRIES.sub(rb"\g<0>\n{if(nothing, pushlognothing)}", text, count=1)
    elif name == b'error':
        text = _ERROR.sub(rb'\g<0>\n<p class="pushloghint">{pushloghint}</p>', text)
    if name in _STYLED:
        text = text.replace(b'</head>', b'{pushlogstyle}</head>', 1)
    return text


@functools.cache
def _rows(style: bytes) -> bytes:
    return b''.join(
        b"{if(%s, '%s\\n')}" % (needed, _ROWS[style] % (label, value))
        for needed, label, value in _FACTS
    )


def _add_tags(made: Any, style: bytes) -> None:
    tags = made.cache.get(b'alltags', b'')
    if b'pushid' in tags:
        return
    closing = b'</span>' if tags.endswith(b'</span>') else b''
    inner = tags[: len(tags) - len(closing)]
    is_linked = style in (b'gitweb', b'monoblue')
    tag, linked = (text % _TAG_CLASSES[style] for text in (_TAG, _LINK_TAG))
    made.cache[b'alltags'] = inner + (tag if is_linked else linked) + closing
    made.cache[_LINKED_TAGS] = inner + linked + closing
