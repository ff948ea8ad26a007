"""Runs a distributor script: `main(Class)`, with the class's base `Distributor` (specification 9.5, decision 24)."""

import argparse
import logging
import os
import random
import runpy
import signal
import sys
import threading
import time

from . import access as ways
from . import names as modules
from .wire import VERSION, Breach

names = ("Cartman", "Kenny", "Stan", "Kyle", "Butters", "Token", "Timmy", "Wendy", "Chef", "Randy", "Ike", "Tweek", "Craig")
_log = logging.getLogger("distributor")
_wire = None
_setup = {}
# The least time between two calls of a generator that had nothing to add, in seconds.
PAUSE = 0.1


def run(wire, setup, arguments):
    """Runs the script as `__main__`; answers the exit code."""
    global _wire, _setup
    if not arguments:
        print("name the script: distributor FILE [ARGUMENT...]", file=sys.stderr)
        return 2
    _wire, _setup = wire, setup
    file = os.path.abspath(arguments[0])
    ways.use(ways.Access(setup, setup.get("api"), setup.get("directory")))
    modules.install()
    sys.argv[:] = [file] + arguments[1:]
    sys.path.insert(0, os.path.dirname(file))
    try:
        runpy.run_path(file, run_name="__main__")
    except SystemExit:
        raise
    except BaseException:
        _log.exception("the script failed")
        return 1
    return 0


def main(command):
    """Makes the distributor and lets it work; ends the program when it fails."""
    try:
        command().execute()
    except Exception:
        _log.exception("the distributor failed")
        sys.exit(2)


class Base:
    """What scripts know of the original's base class. `name` and `ss_api` are there when work starts."""

    def __init__(self):
        self.args = None
        self._init_args_parser()
        self.name = self.ss_api = self._kz = None
        self.stop_event = threading.Event()
        signal.signal(signal.SIGTERM, self.on_exit)
        signal.signal(signal.SIGINT, self.on_exit)

    def _init_args_parser(self):
        parser = argparse.ArgumentParser(description="Adds SlipStream jobs")
        parser.add_argument("--zk-hosts", dest="zk_hosts", metavar="HOSTS", default=None, help="not used")
        parser.add_argument("--ss-url", dest="ss_url", metavar="URL", default=_setup.get("url"), help="the server")
        parser.add_argument("--ss-user", dest="ss_user", metavar="USERNAME", default=None, help="not used")
        parser.add_argument("--ss-pass", dest="ss_pass", metavar="PASSWORD", default=None, help="not used")
        parser.add_argument(
            "--ss-insecure", dest="ss_insecure", action="store_true", default=bool(_setup.get("insecure")),
            help="do not check the server's certificate"
        )
        parser.add_argument("--name", dest="name", metavar="NAME", default=_setup.get("executor"), help="who this is")
        self._set_command_specific_options(parser)
        self.args = parser.parse_args()

    def _set_command_specific_options(self, parser):
        """For scripts that have options of their own."""

    def _log_msg(self, message, name=None):
        return " %s - %s" % (name or self.name, message)

    def on_exit(self, _signal, _frame):
        self.stop_event.set()
        sys.exit(0)

    def do_work(self):
        raise NotImplementedError()

    def execute(self):
        """Says hello, and works."""
        self.name = self.args.name or random.choice(names)
        from slipstream.api import Api

        self.ss_api = Api(_setup.get("url"), insecure=bool(_setup.get("insecure")), reauthenticate=True)
        self._said_hello()
        self.do_work()

    def _said_hello(self):
        """A distributor says in which election it stands."""


class Distributor(Base):
    """Adds what `job_generator` yields while this process leads the election `_get_jobs_type`."""

    _number = 0

    def job_generator(self):
        raise NotImplementedError()

    def _get_jobs_type(self):
        raise NotImplementedError()

    def do_work(self):
        self._start_distribution()

    def _said_hello(self):
        _wire.say("hello", {"protocol": VERSION, "election": self._get_jobs_type()})

    def _start_distribution(self):
        """Waits until it leads. Who leads no more is killed, so it leads until the end."""
        order = _wire.take()
        if order is None:
            return
        if order[0] != "lead":
            raise Breach("an order is not lead, but %s" % order[0])
        _log.info('leads the distribution of "%s"', self._get_jobs_type())
        self._job_distributor()

    def _job_distributor(self):
        while not self.stop_event.is_set():
            added = self._number
            for job in self.job_generator():
                if not self._add(job):
                    return
            if added == self._number:
                time.sleep(PAUSE)

    def _add(self, job):
        """Adds a job, and goes on when that is answered; answers whether there is anybody who answers."""
        self._number += 1
        try:
            if not isinstance(job, dict):
                raise TypeError("it is no dictionary")
            _wire.say("add", {"number": self._number, "job": job})
        except (TypeError, ValueError) as error:
            _log.error("cannot add %.200r: %s", job, error)
            return True
        while True:
            order = _wire.take()
            if order is None:
                return False
            kind, answer = order
            if kind not in ("added", "refused"):
                raise Breach("an order is neither added nor refused, but %s" % kind)
            if answer.get("number") == self._number:
                break
        if kind == "refused":
            _log.error("job %s was refused: %s", job, answer.get("reason"))
        return True
