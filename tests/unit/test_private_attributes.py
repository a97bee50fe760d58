"""What this package touches that is private in Mercurial or another library: listed, and there."""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
from collections import defaultdict
from pathlib import Path

import pytest

import hgext_headless

PACKAGE = Path(hgext_headless.__file__).parent
#: Functions that take the name of an attribute.
BY_NAME = {'wrapfunction', 'wrap_once', 'getattr', 'setattr', 'hasattr', 'safehasattr'}
#: Public in spite of their names: those of named tuples, and ``os._exit``.
PUBLIC = {'_asdict', '_exit', '_replace'}
#: Of our own objects, touched from another one of the same module.
OURS = {'_fails_fast', '_opened', '_turns'}
#: Where each is; some have moved from one module to another. Add one only if there is no public
#: way, and to `hgcompat` if it differs by version.
TOUCHED = {
    '_aliasmap': 'mercurial.templater',
    '_bookmarks': 'mercurial.localrepo',
    '_capabilities': 'mercurial.wireprotov1server',
    '_cgunpacker': 'mercurial.bundlerepo',
    '_chunk': 'mercurial.bundlerepo',
    '_chunklength': 'mercurial.changegroup',
    '_decompressors': 'mercurial.revlog',
    '_dirlogcache': 'mercurial.manifest',
    '_dirmancache': 'mercurial.manifest',
    '_filters': 'mercurial.templater',
    '_fm1purereadmarkers': 'mercurial.obsolete',
    '_fp': 'mercurial.bundle2',
    '_fulltextcache': 'mercurial.manifest',
    '_funcs': 'mercurial.templater',
    '_get_data': 'mercurial.revlog',
    '_getlockprefix': 'mercurial.lock',
    '_inner': 'mercurial.revlog',
    '_load_inner': 'mercurial.revlog',
    '_loader': 'mercurial.templater',
    '_journal': 'mercurial.transaction',
    '_lastrepo': 'mercurial.hgweb.hgweb_mod mercurial.hgweb.hgweb_mod_inner',
    '_obtainrepo': 'mercurial.hgweb.hgweb_mod mercurial.hgweb.hgweb_mod_inner',
    '_opener': 'mercurial.manifest',
    '_parse': 'mercurial.templater',
    '_proc': 'mercurial.templater',
    '_raw_stream': 'botocore.response',
    '_rawtext': 'mercurial.revlog',
    '_readmarkers': 'mercurial.obsolete',
    '_repo': 'mercurial.hg',
    '_resmap': 'mercurial.formatter',
    '_resources': 'mercurial.templater',
    '_revlog': 'mercurial.filelog',
    '_run_exitfuncs': 'atexit',
    '_runsshserver': 'mercurial.wireprotoserver',
    '_search': 'mercurial.hgweb.webcommands',
    '_sock': 'socket',
    '_stream': 'mercurial.changegroup',
    '_type': 'mercurial.changegroup',
}


def touched(package: Path = PACKAGE) -> dict[str, set[str]]:
    """Private names that no class or module of ours defines, by the files that use them."""
    trees = {path: ast.parse(path.read_text()) for path in package.rglob('*.py')}
    ours = {name for tree in trees.values() for name in _defined(tree)}
    found: dict[str, set[str]] = defaultdict(set)
    for path, tree in trees.items():
        for node in ast.walk(tree):
            for name, is_own in _used(node):
                private = name.startswith('_') and not name.startswith('__') and len(name) > 1
                if private and not (is_own and name in ours) and name not in PUBLIC | OURS:
                    found[name].add(str(path.relative_to(package)))
    return found


def _defined(tree: ast.Module) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and _own(node):
            found.add(node.attr)
    return found


def _own(node: ast.Attribute) -> bool:
    return isinstance(node.value, ast.Name) and node.value.id in ('self', 'cls')


def _used(node: ast.AST) -> list[tuple[str, bool]]:
    """Names of attributes, and whether they are those of our own object or module."""
    if isinstance(node, ast.Attribute):
        return [(node.attr, _own(node))]
    if isinstance(node, ast.Call):
        called = node.func
        name = called.attr if isinstance(called, ast.Attribute) else getattr(called, 'id', '')
        if name in BY_NAME:
            values = [arg.value for arg in node.args if isinstance(arg, ast.Constant)]
            texts = [v.decode() if isinstance(v, bytes) else v for v in values]
            return [(text, False) for text in texts if isinstance(text, str)]
    return []


@pytest.mark.slow
def test_each_is_listed() -> None:
    assert {name: sorted(files) for name, files in touched().items() if name not in TOUCHED} == {}
    assert set(TOUCHED) == set(touched())


@pytest.mark.parametrize('name', sorted(TOUCHED))
def test_each_is_there(name: str) -> None:
    """In the version of Mercurial that runs."""
    if TOUCHED[name] in sys.builtin_module_names:
        assert hasattr(importlib.import_module(TOUCHED[name]), name)
        return
    modules = [importlib.util.find_spec(module) for module in TOUCHED[name].split()]
    sources = [Path(found.origin).read_text() for found in modules if found and found.origin]
    assert any(re.search(rf'\b{name}\b', source) for source in sources)


def test_another_is_found(tmp_path: Path) -> None:
    (tmp_path / 'new.py').write_text(
        "def f(repo):\n    repo._secret()\n    getattr(repo, '_hidden')\n"
        "    wrapfunction(repo, b'_wrapped')\n    self._foreign\n    self._own = 1\n"
    )
    assert set(touched(tmp_path)) == {'_secret', '_hidden', '_wrapped', '_foreign'}
