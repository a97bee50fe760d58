"""The fuzzer, for some seconds; what it has found, for good."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from helpers.forge import NULL
from helpers.lying import forged, honest, refuse, server

__all__ = ['forged', 'honest', 'server']


@pytest.mark.slow
@pytest.mark.parametrize('seconds', [5, 300])
def test_fuzz(world, seconds):
    program = Path(__file__).parent.parent / 'fuzzing.py'
    # What runs by default is nearly the same each time; the others are for new finds.
    seed = ['--seed', '1'] if seconds < 60 else []
    done = subprocess.run(
        [sys.executable, program, '--seconds', str(seconds), *seed],
        env=world.env,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert 'push: refused' in done.stdout


def test_long_words(server, forged):
    """What is refused is named, in the 255 bytes that an error may have."""
    forged.files[b'../' + b'x' * 400] = forged.files[b'a']
    refuse(server, forged, "file name '../xxx")


def test_delta_that_does_not_fit(server, forged):
    entry = forged.files[b'a'][0]
    forged.files[b'a'][0] = entry._replace(delta=b'\0\0\0\0\0\0\xff\xff\0\0\0\1x')
    refuse(server, forged, 'does not fit its hash')


@pytest.mark.parametrize('field', ['p1', 'p2', 'base', 'link', 'node'])
@pytest.mark.parametrize('of', ['changesets', 'manifests', 'files'])
def test_fields(server, forged, of, field):
    group = forged.files[b'a'] if of == 'files' else getattr(forged, of)
    group[0] = group[0]._replace(**{field: b'\x11' * 20})
    refuse(server, forged, 'headless: refused')
    assert NULL not in {entry.node for entry in group}
