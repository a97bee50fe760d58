"""hgweb for gunicorn: ``hgweb_wsgi:application``."""

from mercurial import demandimport

demandimport.enable()
from mercurial.hgweb import hgweb  # noqa: E402


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


application = RemoteUser(hgweb(b'/srv/hg/try'))
