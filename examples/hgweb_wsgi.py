"""hgweb for gunicorn: ``hgweb_wsgi:application``."""

import os
import threading

from mercurial import demandimport

demandimport.enable()
from mercurial import error  # noqa: E402
from mercurial.hgweb import hgweb  # noqa: E402


class Opened:
    """hgweb of a repository. While that does not open, each request is told why, and tries again.

    gunicorn ends if its workers fail at their start.
    """

    def __init__(self, path):
        self._path = path
        self._lock = threading.Lock()
        self._hgweb = None
        self._open()

    def _open(self):
        """Return why the repository does not open, or None."""
        with self._lock:
            try:
                self._hgweb = self._hgweb or hgweb(self._path)
            except OSError as exc:
                return f'{os.fsdecode(exc.filename or self._path)}: {exc.strerror}'
            except (error.Abort, error.RepoError) as exc:
                # The text of some is bytes.
                why = ' '.join(bytes(exc).decode('utf-8', 'replace').split())
                if type(exc) is error.RequirementError:
                    why += ': can the user of this server read its .hg/hgrc, and trust its owner?'
                return why
        return None

    def __call__(self, environ, start_response):
        if self._hgweb is None and (why := self._open()):
            if environ.get('PATH_INFO', '').rstrip('/') == '/headless-health':  # the process lives
                start_response('200 OK', [('Content-Type', 'application/json')])
                return [b'{"status": "ok"}\n']
            print(why, file=environ['wsgi.errors'])
            start_response(f'503 {why}', [('Content-Type', 'text/plain'), ('Retry-After', '10')])
            return [f'{why}\n'.encode()]
        return self._hgweb(environ, start_response)


class RemoteUser:
    """Take the user from the header that nginx sets, and from nobody else."""

    def __init__(self, application):
        self._application = application

    def __call__(self, environ, start_response):
        user = environ.pop('HTTP_X_REMOTE_USER', '')
        environ.pop('REMOTE_USER', None)
        if user:
            environ['REMOTE_USER'] = user
        # Links and the address of a push begin with what the client sees.
        environ['wsgi.url_scheme'] = environ.get('HTTP_X_FORWARDED_PROTO', 'http')
        return self._application(environ, start_response)


application = RemoteUser(Opened(b'/srv/hg/try'))
