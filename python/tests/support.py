"""Drives `slipstream_host` as its executor does: orders on stdin, answers on file descriptor 3, and the API on a Unix socket."""

import contextlib
import importlib.util
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
import unittest

from api_server import ApiServer

PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FIXTURES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "fixtures")
# Whoever runs the tests says which real packages this interpreter has: `slipstream`, `nuvla`, `engine`, `elasticsearch`.
REAL = frozenset(os.environ.get("SLIPSTREAM_TEST_PACKAGES", "").split())
# No answer takes that long, in seconds.
LIMIT = 60
URL = "https://nuv.la"
TOKEN = "9f3c0d"


def needs(*packages):
    """A test that the named real packages are for."""
    return unittest.skipUnless(REAL.issuperset(packages), "is for an interpreter with " + ", ".join(packages))


class Program:
    """A process of the host."""

    def __init__(self, arguments, environment=None, setup=None, directory=None, stacks=None):
        self._log = tempfile.TemporaryFile()
        orders, self._orders = os.pipe()
        self._reports, reports = os.pipe()
        environment = dict(self.environment(), **(environment or {}))
        self.process = subprocess.Popen(
            [sys.executable, "-u", "-m", "slipstream_host"] + arguments,
            stdin=orders,
            stdout=self._log,
            stderr=self._log,
            cwd=directory,
            env=environment,
            pass_fds=(reports, 3) if stacks is None else (reports, 3, 4),
            preexec_fn=lambda: self._number(reports, stacks),
            start_new_session=True,
        )
        os.close(orders)
        os.close(reports)
        self._bytes = b""
        if setup is not None:
            self.order("setup", setup)

    @staticmethod
    def _number(reports, stacks):
        """Gives descriptors the numbers that the program expects."""
        copies = [os.dup(one) for one in (reports, stacks) if one is not None]
        while min(copies) <= 4:
            copies = [os.dup(one) for one in copies]
        for number, copy in enumerate(copies, 3):
            os.dup2(copy, number)

    @staticmethod
    def environment():
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        return dict(kept, PYTHONPATH=PACKAGE, PYTHONDONTWRITEBYTECODE="1")

    def order(self, kind, members):
        self.write(json.dumps({kind: members}).encode() + b"\n")

    def write(self, line):
        os.write(self._orders, line)

    def answer(self, kind, limit=LIMIT):
        """The next line, which must be of this kind."""
        line = self.line(limit)
        if line is None:
            raise AssertionError("no %s: %s" % (kind, self.log()))
        ((found, members),) = json.loads(line).items()
        if found != kind:
            raise AssertionError("%s instead of %s: %s\n%s" % (found, kind, members, self.log()))
        return members

    def line(self, limit=LIMIT):
        """The next line; None at the end."""
        while b"\n" not in self._bytes:
            ready, _, _ = select.select([self._reports], [], [], limit)
            if not ready:
                raise AssertionError("nothing in %s s: %s" % (limit, self.log()))
            more = os.read(self._reports, 65536)
            if not more:
                return None
            self._bytes += more
        line, self._bytes = self._bytes.split(b"\n", 1)
        return line

    def log(self):
        self._log.seek(0)
        return self._log.read().decode("utf-8", "replace")

    def wait_for(self, text):
        """Waits until the log has the text."""
        until(lambda: text in self.log(), lambda: "no %r in the log: %s" % (text, self.log()))

    def signal(self, number=signal.SIGTERM):
        self.process.send_signal(number)

    def end(self):
        """Closes stdin, and answers how the program ended."""
        if self._orders is not None:
            os.close(self._orders)
            self._orders = None
        return self.process.wait(LIMIT)

    def close(self):
        if self._orders is not None:
            os.close(self._orders)
            self._orders = None
        with contextlib.suppress(OSError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(LIMIT)
        os.close(self._reports)
        self._log.close()


def until(condition, problem):
    """Waits until it holds."""
    end = time.monotonic() + LIMIT
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(problem())
        select.select([], [], [], 0.01)


class HostTest(unittest.TestCase):
    """A test with a folder of its own, and an API."""

    server_dialect = "slipstream"

    def setUp(self):
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder)
        self.directory = os.path.join(self.folder, "work")
        os.mkdir(self.directory)
        self.api = ApiServer(os.path.join(self.folder, "api"))
        self.addCleanup(self.api.close)
        self.number = 0

    def setup_order(self, **members):
        order = {
            "protocols": [1],
            "engine": "slipstream-job 0.2.0",
            "executor": "Kenny",
            "url": URL,
            "insecure": False,
            "dialect": self.server_dialect,
            "threads": 4,
            "es-hosts": [],
            "socket": self.api.path,
        }
        return dict(order, **members)

    def write(self, name, source, folder="actions"):
        """Writes a class file; answers its folder."""
        folder = os.path.join(self.folder, folder)
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, name), "w") as file:
            file.write(textwrap.dedent(source))
        return folder

    def program(self, arguments, environment=None, setup=None, stacks=None):
        program = Program(arguments, environment, self.setup_order(**(setup or {})), self.directory, stacks)
        self.addCleanup(program.close)
        return program

    def host(self, folder, *options, **settings):
        """A host that has said hello, and what it said."""
        arguments = ["actions"] + list(options) + [folder]
        program = self.program(arguments, settings.get("environment"), settings.get("setup"), settings.get("stacks"))
        self.hello = program.answer("hello")
        return program

    def host_of(self, source, *options, **settings):
        """A host of one class file, all of whose actions must have been loaded."""
        host = self.host(self.write("one.py", source), *options, **settings)
        self.assertEqual(self.hello["failed"], [])
        return host

    def begin(self, host, action, job=None, **members):
        self.number += 1
        document = dict({"id": "job/1", "state": "QUEUED", "action": action, "targetResource": {"href": "dummy"}}, **(job or {}))
        self.api.documents[document["id"]] = dict(document, state="RUNNING")
        order = {
            "number": self.number,
            "job": document,
            "rerun": document["state"] == "RUNNING",
            "deadline": None,
            "api": "http://%s/api" % TOKEN,
            "directory": self.directory,
        }
        host.order("run", dict(order, **members))

    def run_job(self, host, action, job=None, **members):
        """Runs a job to its end; answers the end without its number."""
        self.begin(host, action, job, **members)
        return self.ended(host)

    def ended(self, host):
        end = host.answer("end")
        self.assertEqual(end.pop("number"), self.number)
        return end

    def do(self, body, action="one", **settings):
        """Runs the body of a `do_work` in SlipStream's dialect."""
        source = "from ..actions import action\nimport os, sys, time, signal, threading, subprocess, logging\n\n"
        source += "@action(%r)\nclass One(object):\n    def __init__(self, executor, job):\n" % action
        source += "        self.executor = executor\n        self.job = job\n\n    def do_work(self):\n"
        return self.host_of(source + textwrap.indent(textwrap.dedent(body), "        "), **settings)


def installed(package):
    try:
        return importlib.util.find_spec(package) is not None
    except ImportError:
        return False
