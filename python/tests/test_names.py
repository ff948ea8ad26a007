"""What class files and scripts of the originals find when they import: specification 9.4."""

import json
import os
import unittest

from support import PACKAGE, REAL, TOKEN, HostTest, needs

JOB = (
    "Job JOB_QUEUED JOB_RUNNING JOB_SUCCESS JOB_FAILED JOB_CANCELED STATES JobUpdateError JobNotFoundError "
    "JobRetrievedInFinalState UnexpectedJobRetrieveError"
)
REGISTRY = "action get_action register_action Actions ActionNotImplemented"
NAMES = [
    ("slipstream.job.actions", REGISTRY),
    ("slipstream.job.util", "random_wait load_module connector_classes override wait assure_path_exists InterruptException"),
    ("slipstream.job.util", "retry_kazoo_queue_op PY2 classlogger random_wait override mapv from_data_uuid"),
    ("slipstream.job.base", "main Base names"),
    ("slipstream.job.distributor", "Distributor"),
    ("slipstream.job.executor", "Executor"),
    ("slipstream.job.job", "Job NonexistentJobError JobUpdateError"),
    ("slipstream.job.job", JOB),
    ("slipstream.api", "Api SlipStreamError ConnectionError"),
    ("nuvla.job_engine.job", JOB),
    ("nuvla.job_engine.job.job", JOB),
    ("nuvla.job_engine.job.actions", REGISTRY),
    ("nuvla.job_engine.job.util", "random_wait override mapv from_data_uuid assure_path_exists InterruptException"),
    ("nuvla.job_engine.job.util", "status_message_from_exception kazoo_execute_action_if_needed"),
    ("nuvla.api", "Api NuvlaError ConnectionError"),
    ("nuvla.api.api", "Api"),
    ("nuvla.api.util.filter", "filter_and filter_or"),
]
# `slipstream.job.util` in both ways, since a file may import relatively, and `job` as a sibling of `actions`.
RELATIVE = """
from ..actions import action
from ..util import random_wait
from ..job import JobUpdateError
"""


class Names(HostTest):
    def test_each_row(self):
        for row, (module, names) in enumerate(NAMES):
            self.write("row_%02d.py" % row, "from %s import %s\n" % (module, ", ".join(names.split())))
        folder = self.write("relative.py", RELATIVE)
        self.host(folder)
        self.assertEqual(self.hello["failed"], [])

    def test_the_real_package_counts_where_it_is_installed(self):
        rows = [
            ("slipstream", "slipstream.api"),
            ("nuvla", "nuvla.api"),
            ("engine", "nuvla.job_engine.job"),
            ("elasticsearch", "elasticsearch"),
        ]
        for package, module in rows:
            with self.subTest(module):
                source = "try:\n    import %s as m\nexcept ImportError:\n    m = None\n" % module
                source += "print('origin', getattr(m, '__file__', None))\n"
                host = self.host(self.write("one.py", source, package))
                self.assertEqual("origin None\n" not in host.log(), package in REAL, host.log())

    def test_what_is_never_ours_fails_as_without_us(self):
        folder = self.write("one.py", "from slipstream.NodeInstance import NodeInstance\n")
        self.host(folder)
        self.assertEqual(self.hello["failed"][0]["reason"], "line 1: No module named 'slipstream.NodeInstance'")

    def test_an_original_engine_that_is_installed_is_not_used(self):
        """Its `slipstream.job` would start kazoo, and its actions are not those of this folder."""
        installed = os.path.join(self.folder, "site/slipstream/job")
        os.makedirs(installed)
        with open(os.path.join(installed, "__init__.py"), "w") as file:
            file.write("raise RuntimeError('not this one')\n")
        with open(os.path.join(self.folder, "site/slipstream/extra.py"), "w") as file:
            file.write("here = True\n")
        folder = self.write("one.py", "from slipstream.job.util import wait\nfrom slipstream.extra import here\n")
        path = os.pathsep.join([os.path.join(self.folder, "site"), PACKAGE])
        self.host(folder, environment={"PYTHONPATH": path})
        self.assertEqual(self.hello["failed"], [])

    def test_a_namespace_that_was_there_before_us(self):
        """`slipstream-api` makes the module `slipstream` in a `.pth` file; here a `sitecustomize` does."""
        site = os.path.join(self.folder, "site")
        os.makedirs(os.path.join(site, "elsewhere/extra"))
        with open(os.path.join(site, "elsewhere/extra/__init__.py"), "w") as file:
            file.write("here = True\n")
        with open(os.path.join(site, "sitecustomize.py"), "w") as file:
            file.write("import sys, types\nm = sys.modules['slipstream'] = types.ModuleType('slipstream')\n")
            file.write("m.__path__ = [%r]\n" % os.path.join(site, "elsewhere"))
        folder = self.write("one.py", "from slipstream.extra import here\nfrom slipstream.api import Api\n" + RELATIVE)
        self.host(folder, environment={"PYTHONPATH": os.pathsep.join([site, PACKAGE])})
        self.assertEqual(self.hello["failed"], [])

    def test_nothing_is_imported_that_nobody_asked_for(self):
        """So that a start is quick: the HTTP client costs more than all the rest."""
        host = self.do("print('loaded', [m for m in ('http.client', 'requests', 'argparse', 'ssl', 'inspect', 'tempfile') if m in sys.modules])")
        self.run_job(host, "one")
        self.assertIn("loaded []\n", host.log())


    def test_a_file_of_nuvla_in_the_other_package_handles_the_error_of_its_job(self):
        if "engine" in REAL:
            self.skipTest("there the error is the real engine's, which such a file has to name")
        host = self.host_of(
            """
            from ..actions import action
            from ..job import JobUpdateError, JOB_RUNNING

            @action('one')
            class One(object):
                def __init__(self, job):
                    self.job = job
                def do_work(self):
                    try:
                        self.job.set_state(JOB_RUNNING)
                    except JobUpdateError:
                        return 0
            """
        )
        self.api.answers["PUT", "job/1"] = 409, {"status": 409, "message": "late"}
        self.assertEqual(self.run_job(host, "one"), {"state": "SUCCESS", "return-code": 0})


class Util(HostTest):
    def checked(self, *lines):
        source = "from slipstream.job.util import *\nfrom slipstream.job import util\n" + "\n".join(lines)
        self.host(self.write("one.py", source))
        self.assertEqual(self.hello["failed"], [])

    def test_functions(self):
        self.checked(
            "import os, time, tempfile",
            "start = time.time(); util.wait(0.01); util.random_wait(0.01, 0.02); assert time.time() - start >= 0.02",
            "assert util.load_module('os.path') is os.path",
            "assert util.connector_classes['exoscale'] == 'slipstream_exoscale.ExoscaleClientCloud'",
            "assert util.connector_classes['otc'] == 'slipstream_otc.OpenTelekomClientCloud'",
            "assert len(util.connector_classes) == 10 and util.PY2 is False",
            "folder = tempfile.mkdtemp()",
            "util.assure_path_exists(folder + '/a/b/file'); assert os.listdir(folder + '/a') == ['b']",
            "seen = []; util.mapv(seen.append, (1, 2)); assert seen == [1, 2]",
            "assert util.from_data_uuid('x') == '9dd4e461-268c-3034-b5c8-564e155c67a6'",
            "try:\n    1 / 0\nexcept ZeroDivisionError:\n    text = util.status_message_from_exception()",
            "assert text.startswith('ZeroDivisionError-Traceback') and 'division by zero' in text",
            "@util.classlogger\nclass C(object):\n    pass",
            "assert C.logger.name == 'C' and issubclass(util.InterruptException, Exception)",
            "class Q(object):\n    processing_element = 1\n    def consume(self):\n        seen.append('c')\n        return True",
            "util.kazoo_execute_action_if_needed(Q(), 'consume'); util.retry_kazoo_queue_op(Q(), 'consume')",
            "assert seen == [1, 2, 'c', 'c']",
        )

    def test_override_warns_of_what_overrides_nothing(self):
        self.checked(
            "import warnings",
            "class A(object):\n    def a(self):\n        pass",
            "class B(A):\n    @util.override\n    def a(self, x=1):\n        return x\n"
            "    @util.override\n    def b(self):\n        return 2",
            "with warnings.catch_warnings(record=True) as seen:",
            "    warnings.simplefilter('always')",
            "    assert B().a(x=3) == 3 and not seen",
            "    assert B().b() == 2 and len(seen) == 1 and seen[0].category is SyntaxWarning",
        )


@needs("engine")
class RealEngine(HostTest):
    """`nuvla-job-engine` 5.1.4, unmodified."""

    server_dialect = "nuvla"

    def folder_of_the_package(self):
        import nuvla.job_engine

        return os.path.join(os.path.dirname(nuvla.job_engine.__file__), "job", "actions")

    def test_all_its_actions_load_from_its_own_folder(self):
        host = self.host(self.folder_of_the_package())
        self.assertEqual(self.hello["failed"], [])
        self.assertEqual(len(self.hello["actions"]), 49)
        self.assertEqual({one["dialect"] for one in self.hello["actions"]}, {"nuvla"})
        self.assertEqual(host.end(), 0)

    def test_its_dummy_action_succeeds(self):
        # Shorter than the 3 to 30 s that it draws: the random number alone is another.
        site = self.write("sitecustomize.py", "import random\nrandom.uniform = lambda a, b: 0.05\n", "site")
        host = self.host(self.folder_of_the_package(), environment={"PYTHONPATH": os.pathsep.join([site, PACKAGE])})
        self.assertEqual(self.run_job(host, "dummy_test_action"), {"state": "SUCCESS", "return-code": 0})

    def test_a_bulk_action_leaves_its_job_to_the_monitor(self):
        """Its own exception of that name, through its own classes."""
        host = self.host(self.folder_of_the_package())
        authn = {"user-id": "user/1", "active-claim": "group/a", "claims": ["user/1", "group/b"]}
        payload = json.dumps({"authn-info": authn, "filter": "id='deployment/1'"})
        self.api.documents["deployment/1"] = {"id": "deployment/1"}
        self.api.answers["PUT", "deployment"] = 200, {"count": 1, "resources": [{"id": "deployment/1"}]}
        self.api.answers["POST", "deployment/1/stop"] = 202, {"status": 202}
        self.assertEqual(self.run_job(host, "bulk_stop_deployment", {"payload": payload}), {"state": "LEFT"})
        (stop,) = self.api.asked("POST", "deployment/1/stop")
        self.assertEqual(stop.headers["nuvla-authn-info"], "user/1 group/a user/1 group/b")
        self.assertEqual(stop.host, TOKEN)
        self.assertEqual(self.api.documents["job/1"]["tags"], ["monitor"])


if __name__ == "__main__":
    unittest.main()
