"""Actions in Nuvla's dialect: `Class(job)` (specification 9.3 and 9.4)."""

import importlib
import json
import logging

from ..spelling import camel_case, kebab_case
from .slipstream import EditRefused, JobUpdateError, checked_return_code, fits
from .util import status_message_from_exception

JOB_QUEUED, JOB_RUNNING, JOB_SUCCESS, JOB_FAILED, JOB_CANCELED = "QUEUED", "RUNNING", "SUCCESS", "FAILED", "CANCELED"
STATES = (JOB_QUEUED, JOB_RUNNING, JOB_FAILED, JOB_SUCCESS, JOB_CANCELED)
SHARED_PATH = "/srv/nuvlaedge/shared/"
# The version of job documents that the engine of 5.1.4 does. Servers that do not have versions mean this one.
VERSION = 2
_log = logging.getLogger("job")


class JobNotFoundError(Exception):
    """There is no such job."""


class JobRetrievedInFinalState(Exception):
    """The job has ended already."""


class UnexpectedJobRetrieveError(Exception):
    """The job could not be read."""


class JobVersionNotYetSupported(Exception):
    """The job is for a newer engine."""


class JobVersionIsNoMoreSupported(Exception):
    """The job is of an older engine."""


class Job(dict):
    """The job's document. Each setter is an edit, which the server has answered when it returns."""

    def __init__(self, id, api, nuvlaedge_shared_path=None, run=None):
        super().__init__()
        self.id, self.nuvlaedge_shared_path = id, nuvlaedge_shared_path
        self._run, self._api, self._context = run, api, None
        self.cimi_job = self.get_cimi_job(id)
        self.update(self.cimi_job.data)

    @property
    def api(self):
        return self._api if self._run is None else self._run.nuvla_api()

    def get_cimi_job(self, job_uri):
        """Reads a job; that of the run under way is known already."""
        if self._run is not None and job_uri == self._run.document.get("id"):
            return Known(self._run.document, self._run)
        return self.api.get(job_uri)

    def is_in_final_state(self):
        return self.get("state") in (JOB_SUCCESS, JOB_FAILED, JOB_CANCELED)

    def set_progress(self, progress):
        self._edit({"progress": progress})

    def set_status_message(self, status_message):
        self._edit({"status-message": str(status_message) if status_message else "< status message empty >"})

    def set_return_code(self, return_code):
        self._edit({"return-code": checked_return_code(return_code)})

    def set_state(self, state):
        if state not in STATES:
            raise ValueError("state should be one of %s" % (STATES,))
        self._edit({"state": state})

    def add_affected_resource(self, affected_resource):
        self.add_affected_resources([affected_resource])

    def add_affected_resources(self, affected_resources):
        known = [one["href"] for one in self.get("affected-resources", ())]
        ids = list(dict.fromkeys(known + list(affected_resources)))
        if len(ids) > len(known):
            self._edit({"affected-resources": [{"href": one} for one in ids]})

    def add_nested_job(self, nested_job):
        self.add_nested_jobs([nested_job])

    def add_nested_jobs(self, nested_jobs):
        known = list(self.get("nested-jobs", ()))
        ids = list(dict.fromkeys(known + list(nested_jobs)))
        if len(ids) > len(known):
            self._edit({"nested-jobs": ids})

    def update_job(self, state=None, return_code=None, status_message=None, progress=None, execution_mode=None, tags=None):
        given = {
            "state": state,
            "return-code": return_code,
            "status-message": status_message,
            "progress": progress,
            "execution-mode": execution_mode,
            "tags": tags,
        }
        given = {name: value for name, value in given.items() if value is not None}
        if given:
            self._edit(given)

    def _edit(self, attributes):
        try:
            if self._run is None:
                self.update(self.api.edit(self.id, attributes).data)
            else:
                spelled = {spelling_for(self._run.setup)(name): value for name, value in attributes.items()}
                self.update(view(self._run.edit(self.id, spelled), self._run.setup))
        except EditRefused as error:
            _log.error("cannot edit %s of %s: %s", ", ".join(attributes), self.id, error)
            raise JobUpdateError("cannot edit %s of %s: %s" % (", ".join(attributes), self.id, error)) from error

    @property
    def context(self):
        """What the server's operation `get-context` answers, asked once."""
        if self._context is None:
            self._context = self.api.operation(self.cimi_job, "get-context").data
        return self._context

    @property
    def is_in_pull_mode(self):
        return self.cimi_job.data.get("execution-mode", "push") == "pull"

    @property
    def payload(self):
        text = self.cimi_job.data.get("payload")
        return json.loads(text) if text else None

    @property
    def target_resource_href(self):
        return self["target-resource"]["href"]

    def get_api(self, authn_info):
        """A client that acts for somebody else."""
        claims = " ".join(authn_info["claims"])
        header = "%s %s %s" % (authn_info["user-id"], authn_info["active-claim"], claims)
        from nuvla.api import Api

        insecure = not self.api.session.verify
        return Api(self.api.endpoint, insecure=insecure, persist_cookie=False, reauthenticate=True, authn_header=header)

    def get_user_api(self):
        return self.get_api(self.payload["authn-info"])

    def __setitem__(self, key, value):
        raise TypeError("%r does not support item assignment" % type(self).__name__)

    def __delitem__(self, key):
        raise TypeError("%r does not support item deletion" % type(self).__name__)

    def __getattr__(self, name):
        return self[name]


class Known:
    """The document of the run under way, as the client answers documents."""

    def __init__(self, document, run):
        self.data = view(document, run.setup)
        self.id, self.resource_type = self.data.get("id"), self.data.get("resource-type", "job")

    @property
    def operations(self):
        return {one["rel"]: one for one in self.data.get("operations", ()) if "rel" in one}


def view(document, setup):
    """A document as class files of this dialect read it: on a server of the other dialect, with its names in both."""
    if setup.get("dialect") != "nuvla":
        document = dict({kebab_case(name): value for name, value in document.items()}, **document)
    return document if "version" in document else dict(document, version=VERSION)


def spelling_for(setup):
    """Spells an attribute as the server does."""
    return str if setup.get("dialect") == "nuvla" else camel_case


_real = None


def _job_class():
    """The class of job objects: the real engine's where it is installed, ours elsewhere."""
    global _real
    if _real is None:
        module = importlib.import_module("nuvla.job_engine.job.job")
        _real = Job if module.Job is Job else _hosted(module.Job)
    return _real


def _hosted(real):
    """The real class, but that it knows the run's document already, and spells edits as the server does."""

    class HostedJob(real):
        def __init__(self, id, api, nuvlaedge_shared_path=None, run=None):
            self._run = run
            super().__init__(id, api, nuvlaedge_shared_path)

        def get_cimi_job(self, job_uri):
            if job_uri == self._run.document.get("id"):
                return Known(self._run.document, self._run)
            return super().get_cimi_job(job_uri)

        def _edit_job(self, attribute_name, attribute_value):
            super()._edit_job(spelling_for(self._run.setup)(attribute_name), attribute_value)

        def _edit_job_multi(self, attributes):
            spell = spelling_for(self._run.setup)
            super()._edit_job_multi({spell(name): value for name, value in attributes.items()})

        def update(self, *args, **kwargs):
            super().update(view(dict(*args, **kwargs), self._run.setup))

    HostedJob.__name__ = real.__name__
    return HostedJob


def make(action, run):
    """Makes the object that does the work."""
    job_class = _job_class()
    api = None if job_class is Job else run.nuvla_api()
    run.job = job_class(run.document.get("id"), api, SHARED_PATH, run)
    return action(run.job)


def returned(value, run):
    """What becomes of a job whose action returned."""
    if value is None:
        return {"state": "FAILED", "message": _said(run) or "the action returned nothing, and only 0 is success"}
    if type(value) is int and fits(value):
        if value == 0:
            return {"state": "SUCCESS", "return-code": 0}
        message = _said(run) or "the action returned %d, and only 0 is success" % value
        return {"state": "FAILED", "return-code": value, "message": message}
    return {"state": "FAILED", "message": "the action returned %.200r, which is no return code" % (value,)}


def _said(run):
    """The message that the action has set, which most likely says why it failed."""
    message = run.job.get("status-message")
    return message if message != view(run.document, run.setup).get("status-message") else None


def raised(error, run):
    """What becomes of a job whose action raised; called while the exception is being handled."""
    kind = type(error).__name__
    if kind == "UnfinishedBulkActionToMonitor":
        return {"state": "LEFT"}
    message = status_message_from_exception()
    if (run.job.get("execution-mode") or "").lower() != "mixed":
        return _failed(error, message)
    message = "Re-running job in pull mode after failed first attempt: " + message
    try:
        run.job.update_job(state=JOB_QUEUED, status_message=message, execution_mode="pull")
    except Exception as refused:
        return {"state": "RELEASED", "message": "cannot hand the job over to pull mode: %s" % refused}
    return {"state": "LEFT"}


def not_made(error):
    """What becomes of a job whose action's constructor raised; called while the exception is being handled."""
    if type(error).__name__ == "JobVersionNotYetSupported":
        return {"state": "RELEASED", "message": "the job is for a newer engine"}
    return _failed(error, status_message_from_exception())


def _failed(error, message):
    _log.error("the action failed", exc_info=error)
    return {"state": "FAILED", "return-code": 1, "message": message}
