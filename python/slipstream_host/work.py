"""Does one job after the other, in the main thread: only there do signals raise, and only there can an action set alarms."""

import _signal
import _thread
import importlib
import logging
import os
import signal
import sys
import threading
import traceback

from . import access as ways
from . import log
from .wire import VERSION, Breach, shorten

_log = logging.getLogger(__name__)
# What an action may have changed, and what the next one is to find as it was.
SIGNALS = [
    int(one)
    for one in (
        signal.SIGTERM,
        signal.SIGINT,
        signal.SIGALRM,
        signal.SIGHUP,
        signal.SIGCHLD,
        signal.SIGPIPE,
        signal.SIGUSR2,
    )
]
# How long a thread that is ending anyway may take, in seconds.
ENDING = 0.1


class Cancelled(BaseException):
    """The job is to stop. Not an `Exception`, so that loops that try again whatever happens do not eat it."""


class Run:
    """One run of a job."""

    def __init__(self, setup, order):
        self.setup, self.document = setup, order["job"]
        self.access = ways.Access(setup, order.get("api"), order.get("directory"))
        self.stopped, self.on_stop, self.job = False, None, {}
        self._slipstream_api = self._nuvla_api = self._session = None

    def slipstream_api(self):
        """The client for the job, the real one if it is installed."""
        if self._slipstream_api is None:
            module = importlib.import_module("slipstream.api")
            self._slipstream_api = module.Api(self.access.url, insecure=self.access.insecure, reauthenticate=True)
        return self._slipstream_api

    def nuvla_api(self):
        """The client for the job, the real one if it is installed."""
        if self._nuvla_api is None:
            module = importlib.import_module("nuvla.api")
            insecure = self.access.insecure
            self._nuvla_api = module.Api(self.access.url, insecure=insecure, persist_cookie=False, reauthenticate=True)
        return self._nuvla_api

    def close(self):
        """Nobody uses its clients any more: the real ones would keep their connections until they are collected."""
        for api in (self._slipstream_api, self._nuvla_api):
            close = getattr(getattr(api, "session", None), "close", None)
            if close is not None:
                close()

    def edit(self, resource, attributes):
        """Edits a document and answers what it is now; raises `EditRefused`."""
        from .client import Session, reason_of
        from .dialects.slipstream import EditRefused

        if self._session is None:
            self._session = Session(self.access.url, self.access.insecure)
        try:
            response = self._session.send("PUT", resource, body=attributes)
            if response.ok:
                return response.json()
        except Exception as error:
            raise EditRefused(str(error) or type(error).__name__) from error
        raise EditRefused(reason_of(response))


class Worker:
    """Takes orders, runs the actions that they name, and says what became of them."""

    def __init__(self, wire, setup, actions):
        self._wire, self._setup, self._actions = wire, setup, actions
        self._armed, self._stopped, self._run = False, False, None
        self._dialects = {
            name: importlib.import_module(".dialects." + name, __package__)
            for name in {action.dialect for action in actions.values()}
        }
        signal.signal(signal.SIGTERM, self._on_sigterm)
        self._fork = threading.local()
        os.register_at_fork(before=self._hold_sigterm, after_in_parent=self._take_sigterm, after_in_child=self._end_by_sigterm)
        self._surroundings = Surroundings()

    def hello(self, failed):
        """What this program is and has."""
        version = (self._setup.get("engine") or "").rpartition(" ")[2]
        python = "CPython" if sys.implementation.name == "cpython" else sys.implementation.name
        return {
            "protocol": VERSION,
            "program": "slipstream-python %s, %s %d.%d.%d" % ((version, python) + sys.version_info[:3]),
            "actions": [
                {"name": name, "file": action.file, "dialect": action.dialect} for name, action in self._actions.items()
            ],
            "failed": [{"file": file, "reason": reason} for file, reason in failed],
            "stacks": self._wire.has_stacks,
        }

    def work(self):
        """Until no more orders will come."""
        while True:
            order = self._wire.take()
            if order is None:
                return
            kind, order = order
            if kind != "run":
                raise Breach("an order is not run, but %s" % kind)
            self._wire.say("end", self._do(order))

    def leave(self):
        """The exit code, unless a thread would keep the program from ending: then it ends here."""
        if self._surroundings.threads():
            logging.shutdown()
            sys.stdout.flush()
            os._exit(0)
        return 0

    def _do(self, order):
        run = self._run = Run(self._setup, order)
        action = self._actions.get(run.document.get("action"))
        if action is None:
            return self._end(order, {"state": "RELEASED", "message": "this program does not have the action"})
        if not self._surroundings.enter(order.get("directory")):
            return self._end(order, {"state": "RELEASED", "message": "the working directory is not there", "retire": True})
        ways.use(run.access)
        try:
            try:
                self._armed = True
                if self._stopped:
                    raise Cancelled
                end = self._attempt(action, self._dialects[action.dialect], run)
            finally:
                self._armed = False
        except Cancelled:
            if self._stopped:
                end = {"state": "RELEASED", "message": "stopped before it began", "retire": True}
            else:
                end = {"state": "FAILED", "message": "cancelled"}
        except SystemExit as error:
            end = {"state": "FAILED", "message": "the action called sys.exit(%s)" % ("" if error.code is None else error.code)}
        except BaseException as error:
            _log.error("the action failed", exc_info=error)
            end = {"state": "FAILED", "message": str(error) or type(error).__name__}
        log.show_threads(self._wire.stacks)
        if self._surroundings.put_back():
            end["retire"] = True
        else:
            run.close()
        return self._end(order, end)

    def _attempt(self, action, dialect, run):
        try:
            instance = self._as_parent(dialect.make, action.make, run)
        except Exception as error:
            return dialect.not_made(error)
        try:
            return dialect.returned(self._as_parent(instance.do_work), run)
        except Exception as error:
            return dialect.raised(error, run)

    def _as_parent(self, call, *arguments):
        """Calls it, and comes back in this process alone: a child that the action forked ends here."""
        try:
            return call(*arguments)
        except BaseException as error:
            if self._wire.forked:
                self._end_child(error)
            raise
        finally:
            if self._wire.forked:
                self._end_child(None)

    def _end_child(self, error):
        code = 0
        if isinstance(error, SystemExit):
            code = error.code if isinstance(error.code, int) else int(error.code is not None)
        elif error is not None:
            traceback.print_exception(type(error), error, error.__traceback__)
            code = 1
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code & 0xFF)

    @staticmethod
    def _end(order, end):
        if "message" in end:
            end["message"] = shorten(end["message"])
        return dict(end, number=order.get("number"))

    def _hold_sigterm(self):
        """One that comes while a child begins would be lost between the host's handler and the child's."""
        self._fork.mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])

    def _take_sigterm(self):
        signal.pthread_sigmask(signal.SIG_SETMASK, self._fork.mask)

    def _end_by_sigterm(self):
        """A child that an action forks is no host: SIGTERM ends it, also where no handler in Python would get its turn."""
        if signal.getsignal(signal.SIGTERM) == self._on_sigterm:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self._take_sigterm()

    def _on_sigterm(self, _number, _frame):
        if self._armed:
            run = self._run
            run.stopped = True
            if run.on_stop is not None:
                run.on_stop()
            raise Cancelled
        else:
            # For a job that is on its way here. A process that was told to stop gets no other.
            self._stopped = True


class Surroundings:
    """What a job finds in its process, and what it leaves there."""

    def __init__(self):
        self._umask = os.umask(0o022)
        os.umask(self._umask)
        self._directory = os.getcwd()
        self._environment = os.environ.copy()
        self._raw_environment = _raw_environment()
        # `signal.getsignal` would make an enum of each, which takes longer than all else that is done for a job.
        self._handlers = [(one, _signal.getsignal(one)) for one in SIGNALS]
        self._streams = (sys.stdout, sys.stderr)
        # Threads and children that class files start when they are loaded belong to the process.
        self._threads = frozenset(threading.enumerate())
        self._count = _thread._count()
        self._children = _child_runs()

    def enter(self, directory):
        """Goes to the job's directory; answers whether that is possible."""
        try:
            os.chdir(directory or self._directory)
        except OSError as error:
            _log.error("cannot enter %s: %s", directory, error.strerror)
            return False
        return True

    def put_back(self):
        """Puts back what can be; answers whether something is left that cannot: then this process must not do another job."""
        os.umask(self._umask)
        sys.stdout, sys.stderr = self._streams
        sys.stdout.flush()
        signal.setitimer(signal.ITIMER_REAL, 0)
        for one, handler in self._handlers:
            if _signal.getsignal(one) != handler and handler is not None:
                signal.signal(one, handler)
        if _raw_environment() != self._raw_environment:
            for name in set(os.environ) - set(self._environment):
                del os.environ[name]
            os.environ.update(self._environment)
        try:
            os.chdir(self._directory)
        except OSError:
            return True
        return bool(self.threads()) or (_child_runs() and not self._children)

    def threads(self):
        """Threads that a job started and that still run."""
        if _thread._count() <= self._count:
            return []
        left = [thread for thread in threading.enumerate() if thread not in self._threads]
        for thread in left:
            thread.join(ENDING / len(left))
        return [thread for thread in left if thread.is_alive()] or _thread._count() > self._count


def _raw_environment():
    """The environment, cheap to compare: as CPython keeps it, or decoded where it does not."""
    return dict(getattr(os.environ, "_data", os.environ))


def _child_runs():
    """Whether a child runs. Those that have ended are taken leave of: nobody waits for them any more."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True
