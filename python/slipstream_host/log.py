"""The log: lines on stderr, with their level in front as systemd has it. The executor adds time, job and name."""

import _signal
import faulthandler
import logging
import os
import sys

LEVELS = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
# As quiet as the original engines keep them.
QUIET = ("elasticsearch", "elastic_transport", "kazoo", "urllib3")


class Lines(logging.Formatter):
    """Each line of a record has the level, since each is read by itself."""

    def format(self, record):
        level = next((level for least, level in LEVELS if record.levelno >= least), 7)
        text = super().format(record)
        if record.name != "root":
            text = "%s: %s" % (record.name, text)
        return "\n".join("<%d>%s" % (level, line) for line in text.splitlines() or [""])


class Stderr(logging.StreamHandler):
    """Goes where `sys.stderr` is now: an action may put another in its place."""

    def __init__(self):
        logging.Handler.__init__(self)

    @property
    def stream(self):
        return sys.stderr


def show_threads(descriptor):
    """SIGUSR1 shows where all threads are, also while the interpreter is busy: on this descriptor. Whatever an action has made of
    the signal, also by `SIG_DFL`, which looks as if nobody had touched it."""
    # Meanwhile there is no handler, and the signal would end the process, whichever thread it finds. `unregister` puts back what
    # there was before.
    _signal.signal(_signal.SIGUSR1, _signal.SIG_IGN)
    faulthandler.unregister(_signal.SIGUSR1)
    _signal.signal(_signal.SIGUSR1, _signal.SIG_IGN)
    faulthandler.register(_signal.SIGUSR1, file=descriptor, all_threads=True)


def begin(descriptor):
    """Sets the root logger up. `JOB_LOG_LEVEL` is its level, as in the original engines. For the descriptor see `show_threads`."""
    show_threads(descriptor)
    handler = Stderr()
    handler.setFormatter(Lines())
    root = logging.getLogger()
    root.addHandler(handler)
    level = os.environ.get("JOB_LOG_LEVEL", "INFO").upper()
    root.setLevel(level if isinstance(logging.getLevelName(level), int) else "INFO")
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
