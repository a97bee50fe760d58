"""What hgweb's shipped styles show of pushes, and how all of their pages are escaped.

On a headless server everybody can push, so that names of files, authors and branches come from
anybody, and Mercurial's templates leave some of them as they are. All values that a template of
HTML or XML has are escaped here, unless the template does it.

The links, rows and hints of pushes are added to the templates when these are loaded. A template
that shows pushes itself is left alone; added lines contain ``pushlog``. A search that finds
nothing says where else to look.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Iterator
from typing import Any

from mercurial import (
    config as configuration,
    encoding,
    pycompat,
    registrar,
    templatefilters,
    templatefuncs,
    templater as templating,
    templateutil,
)
from mercurial.hgweb import common

from ... import config, hgcompat
from . import keywords

_FOLDER = os.path.join(os.path.dirname(__file__), 'templates')
#: The shipped styles that have a frame of their own; other HTML styles use paper's.
_FRAMES = ('paper', 'gitweb', 'monoblue', 'spartan', 'atom')


def _read(*path: str) -> bytes:
    with open(os.path.join(_FOLDER, *path), 'rb') as file:
        return file.read()


#: Fields in JSON, after the others of an object.
_FIELDS = (
    b',\n"pushid": {pushid|json},\n'
    b"\"pushuser\": {if(pushid, '{pushuser|utf8|json}', 'null')},\n"
    b'"pushdate": {pushdate|json}'
)
#: Fields of a changeset's own page only: finding out whether it was backed out takes long.
_OWN_FIELDS = (
    b',\n"backedoutby": "{backedoutby}",\n'
    b'"git_commit": {ifcontains("git_commit", extras,'
    b' get(extras, "git_commit")|utf8|json, "null")},\n'
    b'"landingsystem": {ifcontains("moz-landing-system", extras,'
    b' get(extras, "moz-landing-system")|utf8|json, "null")},\n'
    b'"obsolete": {if(fates, "true", "false")},\n'
    b'"replacedby": {replacedby|json},\n'
    b'"relandedby": {relandedby|json},\n'
    b'"replaces": {replaces|json}'
)
#: The templates of the style ``json`` that show one changeset each.
_OBJECTS = (b'changeset', b'changelistentry', b'filelogentry', b'graphentry')

#: The push of a changeset, among its tags.
_TITLE = b'pushed by {pushuser|escape} on {pushdate|isodate}'
_TAG = b'{if(pushid, \'<span class="%s" title="' + _TITLE + b'">push {pushid}</span> \')}'
_LINK_TAG = (
    b'{if(pushid, \'<a class="%s" href="{pushlogaddress}" title="'
    + _TITLE
    + b'">push {pushid}</a> \')}'
)

#: Rows on the page of a changeset: (keyword that must not be empty, label, value).
_FACTS = (
    (b'pushid', b'push', b'{pushlogofchangeset}'),
    (b'bugs', b'bugs', b'{join(bugs%pushlognamed, ", ")}'),
    (b'reviewers', b'reviewers', b'{join(reviewers%pushlognamed, ", ")}'),
    (b'backsoutnodes', b'backs&nbsp;out', b'{join(backsoutnodes%pushlogchangesetlink, ", ")}'),
    (b'replaces', b'replaces', b'{join(replaces%pushlogchangesetlink, ", ")}'),
    (b'descriptionlinks', b'links', b'{join(descriptionlinks%pushlognamed, ", ")}'),
    (b'pushlinks', b'see', b'{join(pushlinks%pushlognamed, ", ")}'),
)
_ROW = b'<tr class="pushlogfact"><th>%s</th><td>%s</td></tr>'
_ROWS = {
    b'paper': _ROW,
    b'coal': _ROW,
    b'gitweb': b'<tr class="pushlogfact"><td>%s</td><td>%s</td></tr>',
    b'monoblue': b'<dt class="pushlogfact">%s</dt><dd class="pushlogfact">%s</dd>',
    b'spartan': b'<tr class="pushlogfact"><th>%s:</th><td>%s</td></tr>',
}
#: The page of a changeset, and the entries of spartan's log, which are similar.
_WITH_ROWS = (b'changeset', b'changelogentry')
#: The rows are added before the one that says whether the changeset is obsolete. Stock's keywords
#: know neither the markers of drafts nor successors that are not in the repository.
_ROWS_BEFORE = b'{if(obsolete, '
_OBSOLETE = ((_ROWS_BEFORE, b'{if(fates, '), (b'succsandmarkers%', b'fates%'))
_TAG_CLASSES = {b'paper': b'tag', b'coal': b'tag', b'gitweb': b'tagtag', b'monoblue': b'tagtag'}

#: The line of a style's menu before which the pushlog comes: the graph, which is not a link on
#: its own page, or, where there is none, the tags.
_MENU_LINE = re.compile(
    rb'^(?P<before> *(?:<li)?)(?: class="\w+")?(?P<end>>?)'
    rb'(?:<a href="\{url\|urlescape\}(?P<page>graph|tags)(/\{symrev\})?'
    rb'\{sessionvars%urlparameter\}">(?P=page)</a>|graph)(?P<after>(?:</li>| \|)?)\n',
    re.MULTILINE,
)
_MENU_LINK = rb'\g<before>\g<end><a href="{pushlogmenu}">pushlog</a>\g<after>\n\g<0>'

#: What the page of a changeset shows first, after its title.
_FIRST = re.compile(
    rb'<div class="description">|<div>\n <a class="title"|<h3 class="changeset">'
    rb'|<table id="changesetEntry">'
)
#: The first line of a description, which labels may follow: a mark in it that turns the direction
#: of writing ends with it.
_FIRST_LINE = re.compile(rb'\{desc\|[^}]*firstline[^}]*\}')
#: Places of revision numbers. Those of drafts are valid for one request only.
_NUMBERS = (
    (re.compile(rb' \{rev\}:(?=<a |\{node)'), rb"{pushlogifpublic(rev, ' {rev}:', ' ')}"),
    (re.compile(rb'(?<=\w) \{rev\}'), rb"{pushlogifpublic(rev, ' {rev}')}"),
    (
        re.compile(
            rb'(?<=annotate/\{node\|short\}/\{file\|urlescape\}'
            rb'\{sessionvars%urlparameter\}">)\{rev\}'
        ),
        rb'{pushlogifpublic(rev, rev, node|short)}',
    ),
    (re.compile(rb'(?<=\n)\{rev\}(?=\n)'), rb'{pushlogifpublic(rev, rev, node|short)}'),
    (re.compile(rb'\{(left|right)rev\}:'), rb"{pushlogifpublic(\1rev, '{\1rev}:')}"),
    # The word before it goes with it.
    (
        re.compile(rb" rev\{pushlogifpublic\(rev, ' \{rev\}'\)\}(:?)"),
        rb"{pushlogifpublic(rev, ' rev {rev}\1')}",
    ),
)
_IF_PUBLIC = b'pushlogifpublic'

#: The phase of a changeset: stock names it unless it is public.
_PHASES = (
    (b'{alltags}', b'{pushlogphase}{alltags}'),
    (b"{ifeq(phase, 'public', '', ", b'{if(phase, '),
)

#: The results of a search, with the end of the table that some styles have around them.
_ENTRIES = re.compile(rb'\{entries%changelogentry\}(\s*</tbody>\s*</table>)?')
_SEARCHED = b'pushlogsearched'
_SEARCH = rb"{%s(entries%%changelogentry, '\1', pushlognothing, pushlogdrafts)}" % _SEARCHED
#: The pages of bookmarks and branches, which are those of public history, with the end of the list.
_LISTED = re.compile(rb'\{entries ?% ?(?:bookmark|branch)entry\}(?:\s*</(?:tbody|table|ul)>)+')
_ERROR = re.compile(rb'\{error\|escape\}(\s*</p>)?')

#: Filters after which a value can stand in HTML and XML, and a function that makes HTML.
_ESCAPING = {b'escape', b'xmlescape', b'urlescape', b'revescape', b'obfuscate', b'json', b'rstdoc'}
#: Filters that leave what is escaped escaped.
_KEEPING = {
    b'addbreaks',
    b'firstline',
    b'mozlink',
    b'nonempty',
    b'stringify',
    b'strip',
    b'utf8',
    b'websub',
}
#: Functions that return some of their arguments: all from this one on.
_CHOOSING = {
    b'if': 1,
    b'ifcontains': 2,
    b'ifeq': 2,
    b'join': 0,
    b'separate': 0,
    b'strip': 0,
    b'sub': 2,
    b'pushlogifpublic': 1,
}
#: Our function that escapes a value.
_ESCAPED = b'pushlogescaped'
#: Values that are not markup.
_DATA = (
    bytes,
    templateutil.hybrid,
    templateutil.hybriditem,
    templateutil.wrappedbytes,
    templateutil.wrappedvalue,
)
#: Characters that XML cannot contain, in UTF-8.
_NOT_XML = re.compile(b'[\x00-\x08\x0b\x0c\x0e-\x1f]|\xed[\xa0-\xbf].|\xef\xbf[\xbe\xbf]', re.S)


def templater(orig: Any, request: Any, req: Any) -> Any:
    """Return a templater with our additions. ``orig`` is hgweb's ``requestcontext.templater``."""
    if not config.participates(request.repo):
        return orig(request, req)
    if not request.reponame:
        # Mercurial would show the path of the repository on the server.
        named = request.config(b'web', b'name', b'') or req.reponame
        request.reponame = named or request.repo.headless.settings.repository.encode('ascii')
    made = orig(request, req)
    style = made.defaults[b'style']
    made.defaults.update(keywords.of_pages())
    # The absolute URLs of feeds: behind a proxy, the name of this process leads nowhere.
    made.defaults[b'urlbase'] = hgcompat.request_host(request.repo, req)
    filters = hgcompat.template_filters(made)
    # The style of hg.mozilla.org needs this filter, which another extension has.
    filters.setdefault(b'mozlink', filters[b'websub'])
    mimetype = made.cache.get(b'mimetype', b'')
    is_html = b'html' in mimetype
    is_xml = b'xml' in mimetype
    if is_html or is_xml:
        hgcompat.add_template_function(made, _ESCAPED, _escaped)
    if is_xml and not is_html:
        for name in (b'escape', b'obfuscate'):
            filters[name] = _for_xml(filters[name])
    if style == b'json':
        hgcompat.weave_templates(made, _with_fields)
    elif style in _ROWS:
        hgcompat.weave_templates(made, functools.partial(_with_push, style))
        hgcompat.add_template_function(made, _IF_PUBLIC, _choosing(len(request.repo.changelog)))
        hgcompat.add_template_function(made, _SEARCHED, _searched)
        add(made, fragments())
        if style in _TAG_CLASSES:
            _add_tags(made, style)
    hgcompat.change_template_trees(made, _protected if is_html or is_xml else pycompat.identity)
    return made


def _protected(tree: Any) -> Any:
    """Return the tree of a template's expression such that what it shows is escaped."""
    kind = tree[0]
    if kind == b'template':
        return (kind, *map(_protected, tree[1:]))
    if kind in (b'string', b'integer'):
        return tree
    if kind == b'%':
        # What is mapped to a template is escaped there.
        return (kind, tree[1], _protected(tree[2]) if tree[2][0] == b'template' else tree[2])
    if kind == b'|' and tree[2][0] == b'symbol':
        if tree[2][1] in _ESCAPING or _is_foreign(tree[2][1]):
            return tree
        if tree[2][1] in _KEEPING:
            return (kind, _protected(tree[1]), tree[2])
    if kind == b'func' and tree[1][0] == b'symbol':
        if tree[1][1] in _ESCAPING:
            return tree
        if tree[1][1] == b'join' and templating.getlist(tree[2])[0][0] != b'%':
            # A list that is not mapped to a template: what it is joined to is escaped.
            tree = (b'|', tree, (b'symbol', b'stringify'))
        elif tree[1][1] in _CHOOSING:
            return (kind, tree[1], _arguments(tree[2], _CHOOSING[tree[1][1]]))
    return (b'func', (b'symbol', _ESCAPED), tree)


def _is_foreign(name: bytes) -> bool:
    """Return whether a filter is that of an extension, such as highlight: it may make markup."""
    made = templatefilters.filters.get(name)
    return name not in templatefuncs.funcs and (
        made is None or made.__module__ != templatefilters.__name__
    )


def _arguments(tree: Any, first: int) -> Any:
    """Return the arguments of a function, those from ``first`` on protected."""
    found = [
        argument if place < first else _protected(argument)
        for place, argument in enumerate(templating.getlist(tree))
    ]
    return functools.reduce(lambda left, right: (b'list', left, right), found)


@registrar.templatefunc()(_ESCAPED)
def _escaped(context: Any, mapping: Any, args: Any) -> Any:
    """Escape a value, but not what other templates have made."""
    function, data = args[0]
    value = function(context, mapping, data)
    if isinstance(value, _DATA):
        text = templateutil.stringify(context, mapping, value)
        return hgcompat.template_filters(context)[b'escape'](text)
    return value


def _choosing(public: int) -> Any:
    """Return the function of templates that returns its second argument, or else its third.

    It is the second if the first is the number of a revision below ``public``.
    """

    @registrar.templatefunc()(_IF_PUBLIC)
    def choose(context: Any, mapping: Any, args: Any) -> Any:
        rev = templateutil.evalrawexp(context, mapping, args[0])
        is_public = isinstance(rev, int) and rev < public
        chosen = args[1:2] if is_public else args[2:3]
        return templateutil.evalrawexp(context, mapping, chosen[0]) if chosen else b''

    return choose


def _for_xml(escape: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    @registrar.templatefilter()(b'escape', intype=bytes)
    def escaped(text: bytes) -> bytes:
        return escape(_readable(_NOT_XML.sub(b'?', text)))

    return escaped


def _readable(text: bytes) -> bytes:
    """Return what a feed can have of a text: the name of a file may be in any encoding."""
    name = pycompat.sysstr(encoding.encoding)
    return text.decode(name, 'replace').encode(name, 'replace')


@registrar.templatefunc()(_SEARCHED)
def _searched(context: Any, mapping: Any, args: Any) -> Iterator[bytes]:
    """Yield the results of a search, what comes after them, and one of two hints: nothing, or more.

    hgweb's search is of public history only. Drafts are searched by ``pushloghtml``.
    """
    results, end, nothing, more = args
    found = templateutil.evalrawexp(context, mapping, results)
    chunks = templateutil.flatten(context, mapping, found)
    first = next(chunks, b'')
    yield first
    yield from chunks
    yield templateutil.evalstring(context, mapping, end)
    yield templateutil.evalstring(context, mapping, more if first else nothing)


def _with_fields(name: bytes, text: bytes) -> bytes:
    if name not in _OBJECTS or b'pushid' in text:
        return text
    fields = _FIELDS + (_OWN_FIELDS if name == b'changeset' else b'') + b'\n}'
    return text.rpartition(b'}')[0].rstrip() + fields


@functools.lru_cache(1000)
def _with_push(style: bytes, name: bytes, text: bytes) -> bytes:
    """Return an HTML template with our additions."""
    if b'pushlog' in text or b'pushid' in text:
        return text
    text = _MENU_LINE.sub(_MENU_LINK, text, count=1)
    for place, instead in _NUMBERS:
        text = place.sub(instead, text)
    text = _FIRST_LINE.sub(rb'<bdi>\g<0></bdi>', text)
    if name == b'changeset':
        text = _FIRST.sub(rb'{pushlogwasbackedout}\g<0>', text, count=1)
        for stock, ours in _PHASES:
            text = text.replace(stock, ours, 1)
    if name in _WITH_ROWS:
        text = text.replace(_ROWS_BEFORE, _rows(style) + _ROWS_BEFORE, 1)
    for stock, ours in _OBSOLETE:
        text = text.replace(stock, ours)
    if name in (b'bookmarks', b'branches'):
        text = _LISTED.sub(rb'\g<0>{pushlogunlisted}', text)
    elif name == b'search':
        text = _ENTRIES.sub(_SEARCH, text, count=1)
    elif name == b'error':
        text = _ERROR.sub(rb'\g<0>\n<p class="pushloghint normal">{pushloghint}</p>', text)
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
    # Where they are inside a link, one of them cannot be another link.
    tag = _TAG if style in (b'gitweb', b'monoblue') else _LINK_TAG
    made.cache[b'alltags'] = tags[: len(tags) - len(closing)] + tag % _TAG_CLASSES[style] + closing


@functools.cache
def fragments() -> dict[bytes, bytes]:
    """Return the templates of ``templates/map``, a file like the maps of Mercurial's styles."""
    table = configuration.config()
    table.parse(b'map', _read('map'), remap={b'': b'templates'})
    return {
        name: templating.unquotestring(value) if value[:1] == b"'" else _read(value.decode('ascii'))
        for name, value in table.items(b'templates')
    }


@functools.cache
def _frame(style: str) -> dict[bytes, bytes]:
    names = sorted(os.listdir(os.path.join(_FOLDER, style)))
    return {name.rpartition('.')[0].encode('ascii'): _read(style, name) for name in names}


def add(made: Any, texts: dict[bytes, bytes]) -> None:
    """Add templates to a templater; those that its style has stay."""
    for name, text in texts.items():
        if name not in made:
            made.cache[name] = text


def add_pushlog(made: Any) -> None:
    """Add the templates of the pushlog to the templater of a request.

    Raise hgweb's `ErrorResponse` if the style is neither HTML nor Atom.
    """
    style = made.defaults[b'style'].decode('latin-1')
    if style not in _FRAMES:
        if b'text/html' not in made.render(b'mimetype', {b'encoding': encoding.encoding}):
            raise common.ErrorResponse(common.HTTP_NOT_FOUND, b'no pushlog in this style')
        style = 'paper'
    add(made, _frame(style))
    add(made, fragments())
