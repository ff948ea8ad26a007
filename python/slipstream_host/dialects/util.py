"""The module `util` of both dialects."""

import functools
import importlib
import logging
import os
import random
import sys
import threading
import time
import traceback
import uuid
import warnings

PY2 = False

# Cloud connectors of the original product, by the type of their cloud. They are never ours.
connector_classes = {
    kind: "slipstream_%s.%sClientCloud" % names
    for kind, names in {
        "azure": ("azure", "Azure"),
        "cloudstack": ("cloudstack", "CloudStack"),
        "cloudstackadvancedzone": ("cloudstack", "CloudStackAdvancedZone"),
        "ec2": ("ec2", "Ec2"),
        "exoscale": ("exoscale", "Exoscale"),
        "nuvlabox": ("nuvlabox", "NuvlaBox"),
        "opennebula": ("opennebula", "OpenNebula"),
        "openstack": ("openstack", "OpenStack"),
        "otc": ("otc", "OpenTelekom"),
        "softlayer": ("nativesoftlayer", "NativeSoftLayer"),
    }.items()
}


class InterruptException(Exception):
    """For class files that raise it themselves."""


def wait(secs):
    """Waits that many seconds."""
    threading.Event().wait(timeout=secs)


def random_wait(secs_min, secs_max):
    """Waits a random number of seconds, uniform, with fractions."""
    time.sleep(random.uniform(secs_min, secs_max))


def override(func):
    """Marks a method that overrides one of its base class; warns, when it is called, if there is none."""

    @functools.wraps(func)
    def checked(self, *args, **kwargs):
        if not any(hasattr(base, func.__name__) for base in type(self).__bases__):
            warnings.warn("no base class has the method %r" % func.__name__, category=SyntaxWarning, stacklevel=2)
        return func(self, *args, **kwargs)

    return checked


def load_module(module_name):
    """Imports a module by its name and answers it, not its package."""
    return importlib.import_module(module_name)


def classlogger(cls):
    """Gives a class a `logger` of its own name, as class files before release 3.53 have it."""
    cls.logger = logging.getLogger(cls.__name__)
    return cls


def assure_path_exists(path):
    """Makes the folder that a file is to be in."""
    folder = os.path.dirname(path)
    if folder:
        os.makedirs(folder, exist_ok=True)


def retry_kazoo_queue_op(queue, function_name):
    """Does an operation of a queue until it has been done."""
    while not getattr(queue, function_name)():
        wait(5)


def kazoo_execute_action_if_needed(queue, function_name):
    """Does an operation of a queue if it holds an entry."""
    if queue.processing_element:
        getattr(queue, function_name)()


def from_data_uuid(text):
    """The UUID of a text: version 3 without a namespace, as the Java of the original server makes it."""
    namespace = type("Nothing", (), {"bytes": b""})
    return str(uuid.uuid3(namespace, text))


def status_message_from_exception():
    """The exception that is being handled, as `<type>-<traceback>`."""
    kind, error, where = sys.exc_info()
    return "%s-%s" % (kind.__name__, "".join(traceback.format_exception(kind, error, where)))


def mapv(func, iter1):
    """Calls a function with each item, now."""
    for item in iter1:
        func(item)
