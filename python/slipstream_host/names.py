"""The modules that class files and scripts of the original engines import, under the names that they have there.

Each is made when it is first imported, so that a file pays for what it uses alone. Where the real client or the real
Nuvla engine is installed, that one counts: of it only `job/actions/__init__` is ours.
"""

import importlib
import os
import sys
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import spec_from_file_location, spec_from_loader
from types import ModuleType

_REGISTRY = ("registry", "action get_action register_action Actions ActionNotImplemented")
_UTIL = (
    "wait random_wait override load_module connector_classes assure_path_exists InterruptException retry_kazoo_queue_op PY2 "
    "classlogger mapv from_data_uuid status_message_from_exception kazoo_execute_action_if_needed"
)
_STATES = "JOB_QUEUED JOB_RUNNING JOB_SUCCESS JOB_FAILED JOB_CANCELED STATES"
_ERRORS = "JobNotFoundError JobRetrievedInFinalState UnexpectedJobRetrieveError JobVersionNotYetSupported JobVersionIsNoMoreSupported"
_NUVLA_JOB = "Job JobUpdateError %s %s" % (_STATES, _ERRORS)
_SLIPSTREAM_API = ("slipstream_api", "Api SlipStreamError ConnectionError")
_NUVLA_API = ("nuvla_api", "Api NuvlaError ConnectionError NuvlaResourceOperationNotAvailable")
_MODELS = "CimiResponse CimiResource CimiCollection CloudEntryPoint"

# Module: whether it is a package, and which names of which of our modules are in it.
SLIPSTREAM = {
    "slipstream.job": (True, ()),
    "slipstream.job.actions": (True, (_REGISTRY,)),
    "slipstream.job.util": (False, (("util", _UTIL),)),
    "slipstream.job.base": (False, (("..script", "Base main names"),)),
    "slipstream.job.distributor": (False, (("..script", "Distributor"),)),
    "slipstream.job.executor": (False, (("slipstream", "Executor"),)),
    # A file of Nuvla's that does not need its package belongs to this one, and finds its names here.
    "slipstream.job.job": (
        False,
        (("nuvla", "%s %s" % (_STATES, _ERRORS)), ("slipstream", "Job NonexistentJobError JobUpdateError")),
    ),
}
SLIPSTREAM_CLIENT = {
    "slipstream.api": (True, (_SLIPSTREAM_API,)),
    "slipstream.api.api": (False, (_SLIPSTREAM_API,)),
    "slipstream.api.models": (False, (("slipstream_api", _MODELS),)),
}
# The packages that class files become modules of.
PACKAGES = {"slipstream": "slipstream.job.actions", "nuvla": "nuvla.job_engine.job.actions"}
NUVLA_ACTIONS = {"nuvla.job_engine.job.actions": (True, (_REGISTRY,))}
NUVLA_ENGINE = {
    "nuvla.job_engine": (True, ()),
    "nuvla.job_engine.job": (True, (("nuvla", _NUVLA_JOB),)),
    "nuvla.job_engine.job.job": (False, (("nuvla", _NUVLA_JOB),)),
    "nuvla.job_engine.job.util": (False, (("util", _UTIL),)),
}
NUVLA_CLIENT = {
    "nuvla.api": (True, (_NUVLA_API,)),
    "nuvla.api.api": (False, (_NUVLA_API,)),
    "nuvla.api.models": (False, (("nuvla_api", _MODELS),)),
    "nuvla.api.util": (True, ()),
    "nuvla.api.util.filter": (False, (("nuvla_api", "filter_and filter_or"),)),
}


class Names:
    """Finds our modules, and sees to it that clients of the real packages go over the socket.

    Without the base class that `importlib.abc` has for it: that module alone would take a tenth of the time of a start.
    """

    def __init__(self, folders):
        self.folders = folders
        self.ours = dict(SLIPSTREAM, **NUVLA_ACTIONS)
        self.real = {}
        self.paths = {}

    def find_spec(self, name, path=None, target=None):
        if name in self.ours:
            package, contents = self.ours[name]
            spec = spec_from_loader(name, Ours(contents), is_package=package)
            if package:
                spec.submodule_search_locations.extend(self.paths.get(name, ()))
            return spec
        package, _, stem = name.rpartition(".")
        for folder in self.folders if package in PACKAGES.values() else ():
            file = os.path.join(folder, stem + ".py")
            if os.path.isfile(file):
                return spec_from_file_location(name, file, loader=ClassFile(name, file))
        if name in self.real:
            spec = PathFinder.find_spec(name, path)
            if spec is not None and isinstance(spec.loader, SourceFileLoader):
                return spec_from_file_location(name, spec.origin, loader=Real(name, spec.origin))
        return None


class Ours:
    """Makes a module out of names that other modules of this package have."""

    def __init__(self, contents):
        self.contents = contents

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        for source, words in self.contents:
            source = importlib.import_module("." + source.lstrip("."), _package_of(source))
            for word in words.split():
                setattr(module, word, getattr(source, word))


class ClassFile(SourceFileLoader):
    """A class file. Nothing is written into its folder."""

    def set_data(self, path, data, *, _mode=0o666):
        pass


class Real(SourceFileLoader):
    """A client of the real packages: its sessions go over the socket."""

    def exec_module(self, module):
        super().exec_module(module)
        from .adapter import adapt

        adapt(module)


def install(folders=()):
    """Puts the modules where imports find them; `folders` hold class files, which become modules of both packages."""
    found = Names(list(folders))
    slipstream, nuvla = _root("slipstream"), _root("nuvla")
    for client, module, root in ((SLIPSTREAM_CLIENT, "slipstream.api", slipstream), (NUVLA_CLIENT, "nuvla.api", nuvla)):
        if _in(root, module.partition(".")[2]) is None:
            found.ours.update(client)
        else:
            found.real[module + ".api"] = True
    engine = _in(nuvla, "job_engine/job")
    if engine is None:
        found.ours.update(NUVLA_ENGINE)
    found.paths["slipstream.job.actions"] = list(folders)
    found.paths["nuvla.job_engine.job.actions"] = list(folders) + ([os.path.join(engine, "actions")] if engine else [])
    sys.meta_path.insert(0, found)


def has_real_engine():
    """Whether the real Nuvla engine is installed. Imports it if so."""
    return hasattr(importlib.import_module("nuvla.job_engine.job"), "Executor")


def _root(name):
    """A namespace that several distributions share. It may be there already, with a path that a distribution has set; what
    a distribution has in its `__init__` is not run, because it needs `pkg_resources`, which newer Pythons lack."""
    module = sys.modules.get(name)
    if module is None:
        module = ModuleType(name)
        module.__spec__ = ModuleSpec(name, None, is_package=True)
        module.__path__ = module.__spec__.submodule_search_locations
        sys.modules[name] = module
    path = list(getattr(module, "__path__", ()))
    for entry in sys.path:
        folder = os.path.join(entry or os.getcwd(), name)
        if folder not in path and os.path.isdir(folder):
            path.append(folder)
    module.__path__ = path
    return module


def _in(root, place):
    """The folder of a package below a namespace, if it is installed."""
    folders = (os.path.join(folder, place) for folder in root.__path__)
    return next((folder for folder in folders if os.path.isfile(os.path.join(folder, "__init__.py"))), None)


def _package_of(source):
    return "slipstream_host" if source.startswith("..") else "slipstream_host.dialects"
