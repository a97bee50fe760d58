"""What is wrapped of Mercurial, or private there, has the parameters that we count on."""

from __future__ import annotations

import importlib
import inspect
import io

import pytest
from mercurial import bundle2, changegroup, obsolete, revlog, ui as uis, wireprotov1server

from hgext_headless import hgcompat

PARAMETERS = {
    'mercurial.localrepo:localpeer.local': 'self',
    'mercurial.localrepo:localrepository.peer': 'self path remotehidden',
    'mercurial.localrepo:localpeer.listkeys': 'self namespace',
    'mercurial.localrepo:localrepository.lookup': 'self key',
    'mercurial.localrepo:localrepository.pushkey': 'self namespace key old new',
    'mercurial.exchange:unbundle': 'repo cg heads source url',
    'mercurial.exchange:getbundlechunks': (
        'repo source heads common bundlecaps remote_sidedata kwargs'
    ),
    'mercurial.exchange:push': 'repo remote force revs newbranch bookmarks publish opargs',
    'mercurial.bundle2:processparts': 'repo op unbundler',
    'mercurial.bundle2:interrupthandler.__call__': 'self',
    'mercurial.upgrade_utils.actions:preservedrequirements': 'repo',
    'mercurial.upgrade_utils.actions:supporteddestrequirements': 'repo',
    'mercurial.wireprotoserver:_runsshserver': 'ui repo fin fout ev accesshidden',
    'mercurial.wireprotov1server:_capabilities': 'repo proto',
    'mercurial.wireprotov1server:wireprotocommand': 'name args permission',
    'mercurial.archival:archive': 'repo dest node kind decode match prefix mtime subrepos',
    'mercurial.hgweb.common:checkauthz': 'hgweb req op',
    'mercurial.hgweb.webutil:commonentry': 'repo ctx',
    'mercurial.hgweb.webutil:getwebsubs': 'repo',
    'mercurial.changegroup:cg1unpacker._chunklength': 'self',
    'mercurial.bookmarks:bmstore.applychanges': 'self repo tr changes',
    'mercurial.worker:countcpus': '',
    'mercurial.phases:advanceboundary': 'repo tr targetphase nodes revs dryrun',
}


def parameters(function) -> str:
    return ' '.join(inspect.signature(function).parameters)


def _of(name: str) -> str:
    module, _colon, path = name.partition(':')
    found = importlib.import_module(module)
    for part in path.split('.'):
        found = getattr(found, part)
    return parameters(found)


COMMANDS = {
    b'batch': 'repo proto cmds others',
    b'getbundle': 'repo proto others',
    b'known': 'repo proto nodes others',
    b'listkeys': 'repo proto namespace',
    b'pushkey': 'repo proto namespace key old new',
    b'unbundle': 'repo proto heads',
}
HGWEB = [
    (hgcompat.hgwebdir_class().__init__, 'self conf baseui'),
    (hgcompat.hgweb_class().run_wsgi, 'self req res'),
    (hgcompat.request_context_class().templater, 'self req'),
    (hgcompat.request_context_class().sendtemplate, 'self name kwargs'),
]
# Read before any test of this process opens a repository, which loads the extensions.
FOUND = {name: _of(name) for name in PARAMETERS}
FOUND_COMMANDS = {name: parameters(wireprotov1server.commands[name].func) for name in COMMANDS}
FOUND_HGWEB = [(parameters(function), expected) for function, expected in HGWEB]


@pytest.mark.parametrize('name', PARAMETERS)
def test_functions(name):
    assert FOUND[name] == PARAMETERS[name]


@pytest.mark.parametrize('command', COMMANDS)
def test_wire_commands(command):
    assert FOUND_COMMANDS[command] == COMMANDS[command]


def test_hgweb():
    for found, expected in FOUND_HGWEB:
        assert found == expected


def test_private_attributes():
    """Those that `hgcompat` reads and sets."""

    assert callable(obsolete._readmarkers)
    assert parameters(obsolete._readmarkerversion) == 'data'
    assert parameters(obsolete._fm1purereadmarkers) == 'data off stop'
    assert obsolete._fm1version == 1
    assert callable(revlog._InnerRevlog.clear_cache)
    assert changegroup._CHANGEGROUPV2_DELTA_HEADER.size == 100
    stream = io.BytesIO()
    unpacker = changegroup.cg1unpacker(stream, b'UN')
    assert (unpacker._stream, unpacker._type) == (stream, b'UN')
    assert bundle2.unbundle20(uis.ui(), stream)._fp is stream
    assert bundle2.interrupthandler(uis.ui(), stream)._fp is stream
