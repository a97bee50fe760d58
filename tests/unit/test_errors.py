"""What an error says of a file."""

from __future__ import annotations

import errno
import os

import pytest

from hgext_headless.errors import counted, of_file


@pytest.mark.parametrize(
    ('number', 'args', 'said'),
    [
        (errno.ENOENT, ('/srv/x',), '/srv/x: No such file or directory'),
        (errno.EACCES, (b'/srv/\xff',), '/srv/\udcff: Permission denied'),
        # A write does not name its file: the disk is that of the folder.
        (errno.ENOSPC, (), '/tmp/folder: No space left on device'),
        (errno.EDQUOT, ('/srv/x',), '/srv/x: Disk quota exceeded'),
        # This is about the network.
        (errno.ECONNRESET, (), 'Connection reset by peer'),
    ],
)
def test_of_file(number, args, said):
    assert of_file(OSError(number, os.strerror(number), *args), '/tmp/folder') == said


def test_without_a_reason():
    assert of_file(TimeoutError(), '/tmp/folder') == 'TimeoutError'


def test_counted():
    assert [counted(number, 'push') for number in (0, 1, 2)] == ['0 pushes', '1 push', '2 pushes']
    assert counted(2, 'entry') == '2 entries' and counted(2, 'day') == '2 days'
