"""Requests to the API without any library: over the executor's socket, or by TCP to another server."""

import contextlib
import http.client
import json
import socket
import threading
from http.cookies import SimpleCookie
from urllib.parse import urlencode, urlsplit

from . import access as ways

# As long as the real clients wait.
TIMEOUT = 120
# How a connection ends that was closed before anything was answered; `http.client.RemoteDisconnected` is a reset, too.
ENDED = (BrokenPipeError, ConnectionResetError, ConnectionAbortedError)


class SocketConnection(http.client.HTTPConnection):
    """A connection over a Unix socket."""

    def __init__(self, path, host, timeout=TIMEOUT):
        super().__init__(host, timeout=timeout)
        self._path = path

    def connect(self):
        self.sock = connect(self._path, self.timeout)


def connect(path, timeout):
    """A socket that is connected, or `OSError`."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        made.settimeout(timeout)
        made.connect(path)
    except BaseException:
        made.close()
        raise
    return made


class Response:
    """What was answered; as much of `requests.Response` as class files look at."""

    def __init__(self, status_code, headers, content):
        self.status_code, self.headers, self.content = status_code, headers, content

    @property
    def text(self):
        return self.content.decode("utf-8", "replace")

    @property
    def ok(self):
        return self.status_code < 400

    def json(self):
        return json.loads(self.content)


class Session:
    """Sends requests to one endpoint. May be used by several threads at once."""

    def __init__(self, endpoint, insecure, headers=None):
        self.endpoint, self.verify, self.headers = endpoint.rstrip("/"), not insecure, headers or {}
        way = ways.current
        self._access = way if way is not None and way.serves(endpoint) else None
        self._cookies = SimpleCookie()
        self._lock = threading.Lock()

    def send(self, method, place, body=None, form=None, params=None, headers=None):
        """Answers a `Response` of any status. Raises `OSError` or `http.client.HTTPException` if there is none."""
        sent = {"Accept": "application/json", "Connection": "close"}
        data = None
        if body is not None:
            data, sent["Content-Type"] = json.dumps(body).encode(), "application/json"
        elif form is not None:
            data, sent["Content-Type"] = _encoded(form).encode(), "application/x-www-form-urlencoded"
        with self._lock:
            if self._cookies:
                sent["Cookie"] = "; ".join("%s=%s" % (name, one.value) for name, one in self._cookies.items())
        sent.update(self.headers, **(headers or {}))
        path = "/api/" + place.lstrip("/") + ("?" + _encoded(params) if params else "")
        with contextlib.closing(self._connection()) as connection:
            answer = self._answer(connection, method, path, data, sent)
            content = answer.read()
        with self._lock:
            for cookie in answer.headers.get_all("Set-Cookie") or ():
                self._cookies.load(cookie)
        return Response(answer.status, answer.headers, content)

    def _answer(self, connection, *request):
        try:
            connection.request(*request)
            return connection.getresponse()
        except ENDED:
            # The executor closes connections of a job that has ended, and has sent nothing on. On a new one it says so.
            if self._access is None:
                raise
            connection.close()
            connection.request(*request)
            return connection.getresponse()

    def _connection(self):
        if self._access is not None:
            return SocketConnection(self._access.socket, self._access.token)
        url = urlsplit(self.endpoint)
        if url.scheme != "https":
            return http.client.HTTPConnection(url.netloc, timeout=TIMEOUT)
        import ssl

        context = ssl.create_default_context() if self.verify else ssl._create_unverified_context()
        return http.client.HTTPSConnection(url.netloc, timeout=TIMEOUT, context=context)


def _encoded(form):
    return urlencode({name: value for name, value in form.items() if value is not None}, doseq=True)


def reason_of(response):
    """What an answer says went wrong."""
    try:
        said = response.json()
        message = said.get("message")
        return message if message is not None else "%(code)s - %(reason)s" % said["error"]
    except (ValueError, AttributeError, KeyError, TypeError):
        return response.text or "status %d" % response.status_code
