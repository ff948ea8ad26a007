"""An API on a Unix socket, of both dialects, that keeps what it was asked."""

import json
import os
import socketserver
import threading
from collections import namedtuple
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, urlsplit

Request = namedtuple("Request", "method path query host headers body")

COLLECTIONS = {
    "jobs": "job",
    "sessions": "session",
    "credentials": "credential",
    "virtualMachines": "virtual-machine",
    "nuvlaboxRecords": "nuvlabox-record",
    "nuvlaboxStates": "nuvlabox-state",
}


class ApiServer:
    """Answers from `documents`; what a search of a collection finds is in `found`, and `answers` holds what is answered instead.

    `drop(n)` closes the connections of the next n requests without an answer.
    """

    def __init__(self, path):
        self.path = path
        self.requests, self.documents, self.found, self.answers = [], {}, {}, {}
        self._drops = 0
        self._lock = threading.Lock()
        self._server = _Server(path, _Handler)
        self._server.api = self
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def close(self):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        if os.path.exists(self.path):
            os.unlink(self.path)

    def asked(self, method, path=None):
        """The requests of this method, and of this path if one is given, below `/api/`."""
        with self._lock:
            return [one for one in self.requests if one.method == method and path in (None, one.path)]

    def drop(self, count):
        with self._lock:
            self._drops = count

    def drops(self):
        """Whether the next request is dropped."""
        with self._lock:
            self._drops -= 1
            return self._drops >= 0

    def answer(self, request):
        with self._lock:
            self.requests.append(request)
            answer = self.answers.get((request.method, request.path))
            if answer is not None:
                return answer
            return self._answer(request)

    def _answer(self, request):
        method, path = request.method, request.path
        if path == "cloud-entry-point":
            entry = {name: {"href": href} for name, href in COLLECTIONS.items()}
            return 200, dict(entry, **{"baseURI": "x/api/", "base-uri": "x/api/", "collections": {}})
        if method == "PUT" and path in COLLECTIONS.values():
            return 200, self._search(path, request)
        if method == "POST" and path in COLLECTIONS.values():
            return 201, {"status": 201, "resource-id": path + "/new", "message": path + "/new created"}
        if method == "DELETE" and path in COLLECTIONS.values():
            return 200, {"deleted": 3}
        if method == "POST" or method == "PATCH":
            return 200, {"status": 200, "message": "done", "asked": request.body}
        document = self.documents.get(path)
        if document is None:
            return 404, {"status": 404, "message": path + " not found"}
        if method == "DELETE":
            del self.documents[path]
            return 200, {"status": 200, "message": path + " deleted"}
        if method == "PUT":
            document.update(request.body)
        operations = [{"rel": rel, "href": path} for rel in ("edit", "delete")]
        return 200, dict(document, operations=operations)

    def _search(self, kind, request):
        found = self.found.get(kind, [])
        if callable(found):
            found = found(request.body or {})
        plural = next(name for name, href in COLLECTIONS.items() if href == kind)
        asked = request.body or {}
        members = [] if asked.get("$last", asked.get("last")) == "0" else found
        operations = [{"rel": "add", "href": kind}]
        return {"count": len(found), plural: members, "resources": members, "operations": operations, "id": kind}


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 64


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def setup(self):
        super().setup()
        self.client_address = ("unix", 0)

    def handle_any(self):
        if self.server.api.drops():
            self.close_connection = True
            return
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        kind = self.headers.get("Content-Type") or ""
        if kind.startswith("application/x-www-form-urlencoded"):
            body = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        else:
            body = json.loads(body) if body else None
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        path = url.path[len("/api/") :] if url.path.startswith("/api/") else url.path
        request = Request(self.command, path, query, self.headers.get("Host"), dict(self.headers.items()), body)
        status, answer = self.server.api.answer(request)
        answer = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        if request.path == "session":
            self.send_header("Set-Cookie", "com.sixsq.slipstream.cookie=secret; Path=/; HttpOnly")
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_PUT = do_POST = do_DELETE = do_PATCH = handle_any

    def log_message(self, *_arguments):
        """Tests look at `requests`."""
