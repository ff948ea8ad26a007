"""The two ends of the protocol: orders come on stdin, and what is said leaves by file descriptor 3.

An action inherits neither: what it reads from stdin is nothing, and what it prints is the log.
"""

import json
import os
import stat
import sys

VERSION = 1
LONGEST_LINE = 1024 * 1024
# A message of this many characters fits into a line, however it is escaped. More of it nobody reads.
LONGEST_TEXT = 60000
REPORTS = 3
# Where it says where its threads are, if the executor has opened that.
STACKS = 4
ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


class NotStarted(Exception):
    """Nobody listens: this program was not started by an executor."""


class Breach(Exception):
    """The other side does not keep the protocol."""


class Wire:
    """Takes orders and says what became of them. Only the process that made it may."""

    def __init__(self):
        # Before another descriptor gets this number.
        self.has_stacks = _is_pipe(STACKS)
        try:
            if self.has_stacks:
                os.set_inheritable(STACKS, False)
            os.set_inheritable(REPORTS, False)
            self._orders = os.dup(0)
        except OSError:
            raise NotStarted("nobody listens at file descriptor 3") from None
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        # As with a log file: a line is written at once, and no character that cannot be written fails an action.
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True, write_through=False)
        # No buffered file: one that lives until the interpreter ends crashes CPython 3.9.
        self._bytes = b""
        self._process = os.getpid()
        os.register_at_fork(after_in_child=self._close)

    @property
    def stacks(self):
        """The descriptor for where threads are: without one of its own it is the log."""
        return STACKS if self.has_stacks else 2

    @property
    def forked(self):
        """Whether this is a child that an action forked, which has no part in this."""
        return os.getpid() != self._process

    def setup(self):
        """The first order: for whom this program works. None if there is none."""
        order = self.take()
        if order is None:
            return None
        kind, setup = order
        if kind != "setup":
            raise Breach("the first line is not setup, but %s" % kind)
        if VERSION not in setup.get("protocols", ()):
            raise Breach("this program speaks version %d of the protocol alone" % VERSION)
        return setup

    def take(self):
        """The next order as its kind and its members; None when nothing else will come."""
        line = self._line()
        if line is None:
            return None
        try:
            ((kind, members),) = json.loads(line).items()
        except (AttributeError, ValueError):
            raise Breach("a line is no object with one member") from None
        return kind, members

    def say(self, kind, members):
        """Says a line, whole. Raises `ValueError` if the line would be too long, or if JSON does not have such a number."""
        line = ENCODER.encode({kind: members})
        # A lone surrogate is in no UTF-8, so whoever reads the line would refuse it.
        line = line.encode("utf-8", "replace")
        if len(line) > LONGEST_LINE:
            raise ValueError("%s is longer than %d bytes" % (kind, LONGEST_LINE))
        line += b"\n"
        while line and not self.forked:
            line = line[os.write(REPORTS, line) :]

    def _line(self):
        searched = 0
        while True:
            end = self._bytes.find(b"\n", searched)
            if end >= 0:
                line, self._bytes = self._bytes[:end], self._bytes[end + 1 :]
                return line
            searched = len(self._bytes)
            if searched > LONGEST_LINE:
                raise Breach("a line is longer than %d bytes" % LONGEST_LINE)
            more = os.read(self._orders, 65536)
            if not more:
                return None
            self._bytes += more

    def _close(self):
        """A child must not keep the pipes open."""
        for one in (REPORTS, self._orders) + ((STACKS,) if self.has_stacks else ()):
            try:
                os.close(one)
            except OSError:
                pass


def _is_pipe(descriptor):
    try:
        return stat.S_ISFIFO(os.fstat(descriptor).st_mode)
    except OSError:
        return False


def shorten(text):
    """A text for people, cut in its middle if it is too long for a line."""
    if len(text) <= LONGEST_TEXT:
        return text
    half = LONGEST_TEXT // 2
    return "%s\n...\n%s" % (text[:half], text[-half:])
