"""Mercurial's own tests with both extensions loaded, where no repository is headless.

    python tests/upstream.py [-j JOBS] [--folder DIR] [test-NAME.t ...]

They have to print what they print without the extensions, but for the lines in
``upstream_accepted.txt``. Mercurial is the installed one; its tests come from its source
distribution. A test that fails is run again without the extensions, and what it prints then is
the measure: faults of the machine do not count. One that still differs is run a third time, with
them, and only what differs both times is reported. The exit code is 1 where anything is.

Other options, as ``--with-chg=PROGRAM`` (three times as fast), go to Mercurial's ``run-tests.py``.
"""

from __future__ import annotations

import argparse
import difflib
import importlib.metadata
import json
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

EXTENSIONS = ('hgext_headless.push', 'hgext_headless.web')

#: How the names of the tests begin.
FAMILIES = (
    *('push', 'pull', 'clone', 'phase', 'bookmarks', 'bundle', 'hook', 'largefiles', 'lfconvert'),
    *('http', 'ssh', 'hgweb', 'wireproto', 'obsolete', 'obsmarker', 'obshistory', 'subrepo'),
    *('exchange', 'getbundle', 'incoming', 'identify', 'known', 'unbundlehash', 'stream-bundle'),
    *('setdiscovery', 'treediscovery', 'remote-hidden', 'static-http', 'share', 'requires'),
    *('upgrade-repo', 'admin', 'blackbox'),
)

ACCEPTED = Path(__file__).with_name('upstream_accepted.txt')


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('-j', '--jobs', type=int, default=2)
    parser.add_argument('--timeout', type=int, default=900, help='seconds for one test')
    parser.add_argument('--folder', type=Path, help='where the source distribution is, or goes')
    parser.add_argument('tests', nargs='*', help='instead of all families')
    options, others = parser.parse_known_args()
    options.others = others
    with tempfile.TemporaryDirectory(prefix='upstream-') as temporary:
        folder = (options.folder or Path(temporary)).resolve()
        runner = Runner(unpacked(folder), Path(temporary).resolve(), options)
        return compare(runner, options.tests or runner.of_families(), accepted())


def unpacked(folder: Path) -> Path:
    """The tests of the Mercurial that is installed."""
    name = f'mercurial-{importlib.metadata.version("mercurial")}'
    archive = folder / f'{name}.tar.gz'
    if not (folder / name).exists():
        if not archive.exists():
            requirement = name.replace('-', '==')
            command = [sys.executable, '-m', 'pip', 'download', '--quiet', '--no-deps']
            command += ['--no-binary', 'mercurial', '--dest', str(folder), requirement]
            subprocess.run(command, check=True)
        with tarfile.open(archive) as opened:
            opened.extractall(folder)
    return folder / name / 'tests'


def accepted() -> dict[str, list[str]]:
    """What may differ: lines of diffs, in which ``*`` is anything, by the name of the test."""
    found: dict[str, list[str]] = {}
    name = ''
    for line in ACCEPTED.read_text(encoding='utf-8').splitlines():
        if line.startswith('test-'):
            name = line
        elif line.startswith(('+', '-')):
            found.setdefault(name, []).append(line)
    return found


def fits(pattern: str, line: str) -> bool:
    return re.fullmatch('.*'.join(map(re.escape, pattern.split('*'))), line) is not None


class Runner:
    """Mercurial's ``run-tests.py``."""

    def __init__(self, tests: Path, temporary: Path, options: argparse.Namespace) -> None:
        self._tests = tests
        self._temporary = temporary
        self._options = options

    def of_families(self) -> list[str]:
        found = {name: list(self._tests.glob(f'test-{name}*.t')) for name in FAMILIES}
        missing = [name for name in FAMILIES if not found[name]]
        if missing:
            sys.exit(f'this Mercurial has no tests of {", ".join(missing)}')
        return sorted({path.name for paths in found.values() for path in paths})

    def run(self, tests: Iterable[str], extensions: Iterable[str]) -> dict[str, str]:
        """Each test, and each variant of it: "success", "skip", or what it printed."""
        output = Path(tempfile.mkdtemp(dir=self._temporary))
        hg = Path(sys.executable).with_name('hg')
        command = [sys.executable, 'run-tests.py', '--with-hg', str(hg), '--json', '--nodiff']
        command += ['--outputdir', str(output), '--noskips', '--jobs', str(self._options.jobs)]
        for option in ('--timeout', '--slowtimeout'):
            command += [option, str(self._options.timeout)]
        for name in extensions:
            command += ['--extra-config-opt', f'extensions.{name}=']
        command += self._options.others
        subprocess.run([*command, *tests], cwd=self._tests, env=environment(), check=False)
        _, _, text = (output / 'report.json').read_text(encoding='utf-8').partition('=')
        return dict(self._results(json.loads(text), output))

    @staticmethod
    def _results(report: dict[str, dict[str, str]], output: Path) -> Iterator[tuple[str, str]]:
        for name, facts in report.items():
            result = facts['result']
            if result == 'failure':
                printed = output / f'{name}.err'
                result = read(printed) if printed.exists() else 'nothing: it took too long\n'
            yield name, result

    def expected(self, name: str) -> str:
        return read(self._tests / script(name))


def environment() -> dict[str, str]:
    """Some helpers of the tests run a link to this Python, which knows no virtual environment."""
    paths = [os.environ.get('PYTHONPATH'), *(sysconfig.get_path(p) for p in ('purelib', 'platlib'))]
    return {**os.environ, 'PYTHONPATH': os.pathsep.join(filter(None, paths))}


def read(path: Path) -> str:
    return path.read_text(encoding='utf-8', errors='backslashreplace')


def script(name: str) -> str:
    """The file of a test, of which the name may be that of a variant: ``test-a.t#b``."""
    return name.partition('#')[0]


def scripts(names: Iterable[str]) -> list[str]:
    return sorted(set(map(script, names)))


def compare(runner: Runner, tests: list[str], allowed: dict[str, list[str]]) -> int:
    """Run the tests and print what differs; the exit code."""

    def differences(results: dict[str, str]) -> dict[str, list[str]]:
        """For each test that failed, the diff from what it prints without the extensions."""
        found = {}
        for name in failed & results.keys():
            measure, printed = plain.get(name, 'success'), results[name]
            if 'skip' not in (measure, printed):
                texts = (t if t != 'success' else runner.expected(name) for t in (measure, printed))
                found[name] = list(diff(*texts))
        return found

    def is_accepted(name: str, lines: list[str]) -> bool:
        patterns = allowed.get(script(name), ())
        return all(any(fits(pattern, line) for pattern in patterns) for line in lines)

    results = runner.run(tests, EXTENSIONS)
    failed = {name for name, result in results.items() if result not in ('success', 'skip')}
    plain = runner.run(scripts(failed), ()) if failed else {}
    first = differences(results)
    doubtful = [name for name in sorted(first) if not is_accepted(name, first[name])]
    second = differences(runner.run(scripts(doubtful), EXTENSIONS)) if doubtful else {}

    unexpected = sorted(set(tests) - set(scripts(results)))
    for name in unexpected:
        print(f'\n{name} has no result')
    for name in doubtful:
        both = [line for line in first[name] if line in second.get(name, ())]
        if is_accepted(name, both):
            print(f'\n{name} differed once, and not again')
        else:
            unexpected.append(name)
            print(f'\n{name} differs:', *both, sep='\n')
    for name, patterns in allowed.items():
        lines = [line for n, found in first.items() if script(n) == name for line in found]
        unused = [p for p in patterns if not any(fits(p, line) for line in lines)]
        if name in scripts(results) and unused:
            print(f'\n{name}, accepted and no longer there:', *unused, sep='\n')
    skipped = sorted(name for name, result in results.items() if result == 'skip')
    print(f'\nskipped ({len(skipped)}):', *skipped)
    print(
        f'{len(results)} tests of {len(scripts(results))} files: {len(failed)} failed,',
        f'{len(unexpected)} of them not as without the extensions',
    )
    return 1 if unexpected else 0


def diff(measure: str, printed: str) -> Iterator[str]:
    lines = difflib.unified_diff(measure.splitlines(), printed.splitlines(), lineterm='', n=0)
    for number, line in enumerate(lines):
        if number > 1 and not line.startswith('@@'):
            yield line


if __name__ == '__main__':
    sys.exit(main())
