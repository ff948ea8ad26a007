"""Sends what clients that are made of `requests` ask the server through the executor's socket.

No URL scheme of its own: the endpoint stays the true one, because actions write it into what they deploy.
"""

import functools
import inspect

from requests.adapters import HTTPAdapter
from requests.exceptions import ConnectionError
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool
from urllib3.exceptions import NewConnectionError

from . import access as ways
from . import client


class Connection(HTTPConnection):
    """A connection over a Unix socket. Its host is the token, so that this is what the `Host` header says."""

    def __init__(self, *args, path=None, **kwargs):
        super().__init__(*args, **kwargs)
        self.path = path

    def _new_conn(self):
        try:
            return client.connect(self.path, client.TIMEOUT)
        except OSError as error:
            raise NewConnectionError(self, "cannot connect to %s: %s" % (self.path, error)) from error


class Pool(HTTPConnectionPool):
    """Connections that are kept for the next request."""

    ConnectionCls = Connection


class SocketAdapter(HTTPAdapter):
    """Mounted at the endpoint, it wins over what is mounted at `https://`, also later."""

    def __init__(self, path, token):
        super().__init__()
        self._pool = Pool(token, maxsize=16, path=path)

    def send(self, request, *arguments, **keywords):
        try:
            return super().send(request, *arguments, **keywords)
        except ConnectionError as error:
            # Kept connections end with their job: see `client.Session`.
            if not _has_ended(error) or not isinstance(request.body, (bytes, str, type(None))):
                raise
            return super().send(request, *arguments, **keywords)

    def get_connection_with_tls_context(self, request, verify, proxies=None, cert=None):
        return self._pool

    def get_connection(self, url, proxies=None):
        return self._pool

    def cert_verify(self, conn, url, verify, cert):
        """There is no certificate on a Unix socket."""

    def request_url(self, request, proxies):
        return request.path_url

    def close(self):
        super().close()
        self._pool.close()


def _has_ended(error):
    """Whether the connection was closed before anything was answered: `ProtocolError("Connection aborted.", cause)`."""
    return any(isinstance(cause, client.ENDED) for reason in error.args[:1] for cause in getattr(reason, "args", ()))


def adapt(module):
    """Makes the sessions of a real client's module go over the socket, also those of clients that actions make."""
    store = module.SessionStore
    original = store.__init__
    signature = inspect.signature(original)

    @functools.wraps(original)
    def made(self, endpoint, *args, **kwargs):
        access = ways.current
        bound = signature.bind(self, endpoint, *args, **kwargs)
        if access is not None and bound.arguments.get("cookie_file") is None:
            bound.arguments["cookie_file"] = access.cookie_file()
        original(*bound.args, **bound.kwargs)
        if access is not None and access.serves(endpoint):
            self.mount(access.url + "/", SocketAdapter(access.socket, access.token))

    store.__init__ = made
