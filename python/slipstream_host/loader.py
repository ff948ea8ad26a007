"""Finds the actions in folders of class files."""

import importlib
import logging
import os
import re
import sys
import traceback
from types import FunctionType, SimpleNamespace

from . import names
from .dialects import registry
from .names import PACKAGES

# Only the package of Nuvla is deep enough for three dots.
NEEDS_NUVLA = re.compile(rb"^[ \t]*(from[ \t]+\.\.\.|(from|import)[ \t]+nuvla\b)", re.MULTILINE)

# Classes that were written for Python 2 and do harm or fail under Python 3 (specification 9.9).
PYTHON_2 = {
    "collect_virtual_machines": "under Python 3 it handles no machine and then deletes every one that it knew",
    "collect_quotas": "it calls methods that dictionaries of Python 3 do not have",
    "collect_storage_buckets": "under Python 3 its progress is a fraction, which jobs refuse",
    "start_deployment": "under Python 3 it fails half way and leaves its deployment in ERROR",
    "stop_deployment": "it calls methods that dictionaries of Python 3 do not have",
}


def load(folders, dialect, ported, left_out):
    """Imports every class file of the folders, and never more than one fails by a failure.

    Answers the actions by name, each with `make`, `dialect` and `file`, and what failed as pairs of file and reason.
    `dialect` is that of all files, None if they tell it themselves; `ported` holds the actions of `PYTHON_2` that the
    site has ported, and `left_out` the names of files that are no class files.
    """
    folders = [os.path.abspath(folder) for folder in folders]
    names.install(folders)
    offered, failed = {}, []
    for folder in folders:
        try:
            files = sorted(os.listdir(folder))
        except OSError as error:
            failed.append((folder, error.strerror or str(error)))
            continue
        for file in files:
            stem, extension = os.path.splitext(file)
            if extension == ".py" and stem[:1] not in ("_", ".") and file not in left_out:
                _load_file(os.path.join(folder, file), stem, dialect or _dialect_of(folder), dialect)
    for action in registry.registered():
        problem = _examine(action, ported)
        if problem:
            failed.append((action.file, problem))
        else:
            offered[action.name] = SimpleNamespace(make=action.make, dialect=action.dialect, file=action.file)
    failed.extend(registry.failed())
    return offered, failed


def _dialect_of(folder):
    return "nuvla" if folder.replace(os.sep, ".").endswith("." + PACKAGES["nuvla"]) else None


def _load_file(path, stem, dialect, forced):
    """Imports one file as a module of the package that it was written for."""
    try:
        with open(path, "rb") as file:
            source = file.read()
        if dialect is None:
            dialect = "nuvla" if NEEDS_NUVLA.search(source) else "slipstream"
        package = importlib.import_module(PACKAGES[dialect])
        own = vars(package).get(stem)
        with registry.loading(path, dialect):
            module = importlib.import_module("%s.%s" % (PACKAGES[dialect], stem))
        if own is not None:
            # what others import from the package: a module of its name, such as `action`, has just replaced it
            setattr(package, stem, own)
        found = os.path.realpath(module.__file__ or "")
        if found != os.path.realpath(path):
            registry.fail(path, "%s has the same name" % found)
    except Exception as error:
        registry.fail(path, _reason(path, error))
    except SystemExit:
        registry.fail(path, "it ends the program while it is loaded")


def _reason(path, error):
    """Where in the file it failed, and why, in one line."""
    line = None
    if isinstance(error, SyntaxError) and error.filename == path:
        line, text = error.lineno, error.msg
    else:
        for frame, number in traceback.walk_tb(error.__traceback__):
            if frame.f_code.co_filename == path:
                line = number
        text = str(error) or type(error).__name__
        if not isinstance(error, ImportError):
            text = "%s: %s" % (type(error).__name__, text)
    logging.getLogger(__name__).debug("cannot load %s", path, exc_info=error)
    return " ".join(text.split()) if line is None else "line %d: %s" % (line, " ".join(text.split()))


def _examine(action, ported):
    """Finds out how an action is called; answers what keeps it from being offered."""
    try:
        takes = _takes(action.make)
    except (TypeError, ValueError):
        return "action %s cannot be called" % action.name
    if not any(takes):
        return "action %s takes neither (executor, job) nor (job)" % action.name
    if not all(takes):
        action.dialect = "nuvla" if takes[0] else "slipstream"
    if action.dialect == "slipstream" and action.name in PYTHON_2 and action.name not in ported:
        return (
            "action %s was written for Python 2: %s. If yours is ported, say actions.%s.python3 = true in [python] of a manifest"
            % (action.name, PYTHON_2[action.name], action.name)
        )
    return None


def _takes(make):
    """Whether it can be called with one argument, and whether with two."""
    is_class = type(make) is type and make.__new__ is object.__new__
    function = make.__init__ if is_class else make
    if type(function) is not FunctionType or function.__kwdefaults__ or hasattr(function, "__wrapped__"):
        return _takes_by_signature(make)
    code = function.__code__
    if code.co_kwonlyargcount or code.co_flags & 0x04:
        return _takes_by_signature(make)
    most = code.co_argcount - is_class
    return [most - len(function.__defaults__ or ()) <= count <= most for count in (1, 2)]


def _takes_by_signature(make):
    """The same for whatever can be called. Most are plain classes, for which this import would take longer than all else."""
    import inspect

    signature, takes = inspect.signature(make), []
    for count in (1, 2):
        try:
            signature.bind(*range(count))
            takes.append(True)
        except TypeError:
            takes.append(False)
    return takes
