"""What an error says of a file."""

from __future__ import annotations

import errno
import os

import pytest
from mercurial import error, ui

from hgext_headless.errors import (
    Misconfigured,
    Temporary,
    counted,
    file_failed,
    no_traceback,
    of_file,
)


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


@pytest.mark.parametrize(
    ('number', 'kind'),
    [
        (errno.EACCES, Misconfigured),
        (errno.EPERM, Misconfigured),
        (errno.EROFS, Misconfigured),
        (errno.ENOSPC, Temporary),
        (errno.EIO, Temporary),
    ],
)
def test_rights_do_not_come_by_waiting(number, kind):
    exc = file_failed('the push failed', OSError(number, os.strerror(number), '/srv/x'))
    assert type(exc) is kind and str(exc).startswith('the push failed (/srv/x: ')


def test_a_push_that_has_no_right_to_a_file_names_it():
    said = b'headless: misconfigured: the push failed: PermissionError (/srv/x: Permission denied)'
    with pytest.raises(error.Abort) as raised, no_traceback(ui.ui(), 'the push'):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), b'/srv/x')
    assert raised.value.message == said


def test_counted():
    assert [counted(number, 'push') for number in (0, 1, 2)] == ['0 pushes', '1 push', '2 pushes']
    assert counted(2, 'entry') == '2 entries' and counted(2, 'day') == '2 days'
