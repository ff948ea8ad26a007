"""Actions in SlipStream's dialect: `Class(executor, job)` (specification 9.3 and 9.4)."""

import logging
import threading
from types import SimpleNamespace

STATES = ("QUEUED", "RUNNING", "FAILED", "SUCCESS", "STOPPING", "STOPPED")
_log = logging.getLogger("job")


class NonexistentJobError(Exception):
    """There is no such job."""

    def __init__(self, reason):
        super().__init__(reason)
        self.reason = reason


class JobUpdateError(Exception):
    """An edit of the job did not succeed: the job is given back."""


class Job(dict):
    """The job's document. Each setter is an edit, which the server has answered when it returns."""

    nothing_to_do = False

    def __init__(self, document, run):
        super().__init__(document)
        self.id, self._run = document.get("id"), run
        self.queue, self.logger = Queue(self.id), _log

    @property
    def ss_api(self):
        return self._run.slipstream_api()

    def get_cimi_job(self, job_uri):
        """Reads a job from the server."""
        from slipstream.api import SlipStreamError

        try:
            return self.ss_api.cimi_get(job_uri).json
        except SlipStreamError as error:
            if error.response is not None and error.response.status_code == 404:
                raise NonexistentJobError(error.reason) from error
            raise

    def is_in_final_state(self):
        return self.get("state") in ("SUCCESS", "FAILED")

    def set_progress(self, progress):
        self._edit({"progress": checked_progress(progress)})

    def set_status_message(self, status_message):
        self._edit({"statusMessage": str(status_message)})

    def set_return_code(self, return_code):
        self._edit({"returnCode": checked_return_code(return_code)})

    def set_state(self, state):
        if state not in STATES:
            raise ValueError("state should be one of %s" % (STATES,))
        self._edit({"state": state})

    def add_affected_resource(self, affected_resource):
        self.add_affected_resources([affected_resource])

    def add_affected_resources(self, affected_resources):
        known = [one["href"] for one in self.get("affectedResources", ())]
        ids = list(dict.fromkeys(known + list(affected_resources)))
        if len(ids) > len(known):
            self._edit({"affectedResources": [{"href": one} for one in ids]})

    def update_job(self, state=None, return_code=None, status_message=None):
        given = {"state": state, "returnCode": return_code, "statusMessage": status_message}
        given = {name: value for name, value in given.items() if value is not None}
        if given:
            self._edit(given)

    def consume_when_final_state(self):
        """The executor consumes the entry of a job when its action ends."""

    def _edit(self, attributes):
        try:
            self.update(self._run.edit(self.id, attributes))
        except EditRefused as error:
            _log.error("cannot edit %s of %s: %s", ", ".join(attributes), self.id, error)
            raise JobUpdateError("cannot edit %s of %s: %s" % (", ".join(attributes), self.id, error)) from error

    def __setitem__(self, key, value):
        raise TypeError("%r does not support item assignment" % type(self).__name__)

    def __delitem__(self, key):
        raise TypeError("%r does not support item deletion" % type(self).__name__)

    def __getattr__(self, name):
        return self[name]


class EditRefused(Exception):
    """The server refused an edit of the job, or was not reached."""


class Queue:
    """Stands for the queue, which is the executor's: nothing that is asked of this one does anything."""

    def __init__(self, processing_element):
        self.processing_element = processing_element

    def get(self, *_args, **_kwargs):
        return self.processing_element

    def consume(self):
        return True

    def release(self):
        return True


class Executor:
    """The executor, as far as actions use it. What is expensive is made at its first use."""

    def __init__(self, run):
        self._run, self._es, self._stop_event = run, None, None
        self.name = run.setup.get("executor") or "slipstream"
        self.logger = _log

    @property
    def ss_api(self):
        return self._run.slipstream_api()

    @property
    def es(self):
        if self._es is None:
            from .elastic import connect

            self._es = connect(self.args.es_hosts_list)
        return self._es

    @property
    def args(self):
        return arguments(self._run.setup)

    @property
    def stop_event(self):
        """Set when the job is to stop."""
        if self._stop_event is None:
            self._stop_event = threading.Event()
            if self._run.stopped:
                self._stop_event.set()
        return self._stop_event

    def stop(self):
        if self._stop_event is not None:
            self._stop_event.set()


def arguments(setup):
    """What the original's command line holds. There is no user and no password: requests go out with the executor's."""
    return SimpleNamespace(
        ss_url=setup.get("url"),
        ss_user=None,
        ss_pass=None,
        ss_insecure=bool(setup.get("insecure")),
        zk_hosts=None,
        name=setup.get("executor"),
        number_of_thread=setup.get("threads") or 1,
        es_hosts_list=setup.get("es-hosts") or ["localhost"],
    )


def make(action, run):
    """Makes the object that does the work."""
    executor = Executor(run)
    run.on_stop = executor.stop
    return action(executor, Job(run.document, run))


def returned(value, _run):
    """What becomes of a job whose action returned."""
    if value is None:
        return {"state": "SUCCESS"}
    if type(value) is int and fits(value):
        return {"state": "SUCCESS", "return-code": value}
    return {"state": "FAILED", "message": "the action returned %.200r, which is no return code" % (value,)}


def raised(error, _run):
    """What becomes of a job whose action raised."""
    if isinstance(error, JobUpdateError):
        return {"state": "RELEASED", "message": str(error)}
    return not_made(error)


def not_made(error):
    """What becomes of a job whose action's constructor raised."""
    _log.error("the action failed", exc_info=error)
    return {"state": "FAILED", "message": str(error) or type(error).__name__}


def fits(number):
    """Whether a return code is one that every server can store."""
    return -(2**31) <= number < 2**31


def checked_progress(progress):
    if not isinstance(progress, int):
        raise TypeError("progress should be int not %s" % type(progress))
    if not 0 <= progress <= 100:
        raise ValueError("progress should be between 0 and 100 not %s" % progress)
    return progress


def checked_return_code(return_code):
    if not isinstance(return_code, int):
        raise TypeError("return_code should be int not %s" % type(return_code))
    return return_code
