"""The actions that class files register, for the module `actions` of both dialects.

The first of two equal names wins, and the second is told in the log (specification 9.4).
"""

import logging
import os
import sys
from contextlib import contextmanager

_log = logging.getLogger("actions")
_failed = {}
_files = []


class Registered:
    """An action as its file registered it; `dialect` is the file's until the loader knows better."""

    def __init__(self, name, make, file, dialect):
        self.name, self.make, self.file, self.dialect = name, make, file, dialect


class ActionNotImplemented(Exception):
    """Nobody has registered the action."""


class Actions:
    """All actions by name."""

    actions = {}
    _registered = {}

    @classmethod
    def get_action(cls, action_name):
        return cls.actions.get(action_name)

    @classmethod
    def register_action(cls, action_name, action):
        file, dialect = _where(sys._getframe(1))
        cls.actions[action_name] = action
        cls._registered[action_name] = Registered(action_name, action, file, dialect)

    @classmethod
    def action(cls, action_name=None, pull_mode_support=False):
        """Decorates a class, or whatever is called like one; without a name its own counts."""

        def register(make):
            name = action_name or make.__name__
            if name in cls.actions:
                _log.error('action "%s" of %s is already defined in %s', name, *_both(name, make, cls))
            elif pull_mode_support or os.environ.get("IMAGE_NAME") != "job-lite":
                cls.register_action(name, make)
            return make

        return register


action = Actions.action
get_action = Actions.get_action
register_action = Actions.register_action


@contextmanager
def loading(file, dialect):
    """While a file is imported, what is registered is its own."""
    _files.append((file, dialect))
    try:
        yield
    finally:
        _files.pop()


def fail(file, reason):
    """A file could not be imported: what it registered before it failed is not offered."""
    _failed[file] = reason
    for name, one in list(Actions._registered.items()):
        if one.file == file:
            del Actions._registered[name], Actions.actions[name]


def registered():
    return list(Actions._registered.values())


def failed():
    return list(_failed.items())


def _where(frame):
    """The class file that registers: it may be imported by another one, or call a helper of its own that registers."""
    own = {__file__}
    while frame is not None and frame.f_code.co_filename in own:
        frame = frame.f_back
    file, dialect = _files[-1] if _files else (None, "slipstream")
    if frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module.startswith("nuvla."):
            dialect = "nuvla"
        elif module.startswith("slipstream."):
            dialect = "slipstream"
        file = frame.f_globals.get("__file__") or file
    return file, dialect


def _both(name, make, actions):
    return getattr(sys.modules.get(make.__module__), "__file__", "?"), actions._registered[name].file
