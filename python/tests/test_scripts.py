"""Distributor scripts: specification 9.5 and 9.6, decision 24."""

import os
import re
import signal
import unittest

from support import FIXTURES, PACKAGE, TOKEN, URL, HostTest

# Sleeps are told instead of slept, and nothing else takes time, so that the schedule can be read.
CLOCK = """
import time
slept = time.sleep
def sleep(seconds):
    print('sleep %.1f' % seconds, flush=True)
    slept(0.001)
time.sleep = sleep
time.time = lambda: 1600000000.0
"""
SCRIPT = """
from slipstream.job.base import main
from slipstream.job.distributor import Distributor
from slipstream.job.util import override
import logging, os, sys, time

class Mine(Distributor):
    ACTION_NAME = 'mine'

    @override
    def job_generator(self):
        %s

    @override
    def _get_jobs_type(self):
        return 'my_election'

    %m

if __name__ == '__main__':
    main(Mine)
"""


class ScriptTest(HostTest):
    def script(self, path, *arguments, **settings):
        """A script that has said hello."""
        members = dict({"api": "http://%s/api" % TOKEN}, **settings.get("setup", {}))
        program = self.program(["distributor", path] + list(arguments), settings.get("environment"), members)
        self.hello = program.answer("hello")
        return program

    def of(self, body, *arguments, **settings):
        """A script with this generator."""
        source = SCRIPT.replace("%s", body.replace("\n", "\n        "))
        source = source.replace("%m", settings.pop("method", "pass").replace("\n", "\n    "))
        folder = self.write("job_distributor_mine.py", source, "scripts")
        return self.script(os.path.join(folder, "job_distributor_mine.py"), *arguments, **settings)

    def added(self, program, number):
        """Takes an add with this number, and answers it; its job."""
        add = program.answer("add")
        self.assertEqual(add["number"], number)
        program.order("added", {"number": number, "id": "job/%d" % number})
        return add["job"]


class Originals(ScriptTest):
    """The eight scripts, three rounds each."""

    def setUp(self):
        super().setUp()
        self.site = self.write("sitecustomize.py", CLOCK, "site")

    def rounds(self, name, adds, found=()):
        """Lets the script lead for three rounds with these adds in each; answers the jobs and the sleeps of a round."""
        self.api.found["credential"] = [dict({"id": "credential/%d" % n}, **one) for n, one in enumerate(found, 1)]
        environment = {"PYTHONPATH": os.pathsep.join([self.site, PACKAGE])}
        path = os.path.join(FIXTURES, "scripts", "job_distributor_%s.py" % name)
        program = self.script(path, environment=environment)
        self.assertEqual(self.hello["protocol"], 1)
        program.order("lead", {})
        rounds, number = [], 0
        for _ in range(3):
            jobs = []
            for _ in range(adds):
                number += 1
                jobs.append(self.added(program, number))
            rounds.append(jobs)
        # The first of the next round: all sleeps before it are told.
        program.answer("add")
        self.assertEqual(rounds[1:], rounds[:1] * 2)
        sleeps = re.findall(r"sleep ([\d.]+)", program.log())
        self.assertEqual(len(sleeps) % 3, 0, sleeps)
        each = len(sleeps) // 3
        self.assertEqual(sleeps[each:], sleeps[:each] * 2)
        program.signal(signal.SIGKILL)
        return rounds[0], [float(one) for one in sleeps[:each]]

    def test_those_that_add_one_job(self):
        rows = [
            ("dummy_test_action", "dummy_test_action", 15, "dummy"),
            ("jobs_cleanup", "cleanup_jobs", 86400, "job"),
            ("nb_state_snaps_cleanup", "cleanup_nb_state_snaps", 86400, "nuvlabox-state-snapshot"),
            ("vms_cleanup", "cleanup_virtual_machines", 3600, "virtual-machine"),
            ("nuvlabox_state_check", "nuvlabox_state_check", 600, "job"),
        ]
        for name, action, interval, target in rows:
            with self.subTest(name):
                jobs, sleeps = self.rounds(name, 1)
                self.assertEqual(jobs, [{"action": action, "targetResource": {"href": target}}])
                self.assertEqual((sleeps, self.hello["election"]), ([float(interval)], action))

    def jobs_of(self, action, *numbers):
        return [{"action": action, "targetResource": {"href": "credential/%d" % n}} for n in numbers]

    def nobody_waits_but(self, target):
        """Searches of jobs find one for this credential alone."""
        self.api.found["job"] = lambda asked: [{}] if 'targetResource/href="%s"' % target in asked["$filter"] else []

    def test_quotas(self):
        self.nobody_waits_but("credential/2")
        jobs, sleeps = self.rounds("quotas_collect", 2, [{}, {}, {}])
        self.assertEqual(jobs, self.jobs_of("collect_quotas", 1, 3))
        self.assertEqual((sleeps, self.hello["election"]), ([1800.0], "collect_quotas"))
        self.assertEqual(self.api.asked("PUT", "credential")[0].body["$filter"], 'type^="cloud-cred-exoscale"')

    def test_storage_buckets(self):
        kind = "cloud-cred-exoscale"
        found = [{"type": kind, "key": "a"}, {"type": kind, "key": "a"}, {"type": kind + "-other"}, {"type": kind, "key": "b"}]
        jobs, sleeps = self.rounds("storage_buckets_collect", 2, found)
        self.assertEqual(jobs, self.jobs_of("collect_storage_buckets", 1, 4))
        self.assertEqual((sleeps, self.hello["election"]), ([9.0, 9.0, 60.0], "collect_storage_buckets"))

    def test_machines(self):
        self.nobody_waits_but("credential/3")
        jobs, sleeps = self.rounds("vms_collect", 2, [{}, {}, {}])
        self.assertEqual(jobs, self.jobs_of("collect_virtual_machines", 1, 2))
        self.assertEqual((sleeps, self.hello["election"]), ([12.0, 12.0, 12.0, 60.0], "collect_virtual_machines"))
        self.assertEqual({one.host for one in self.api.requests}, {TOKEN})


class Conversation(ScriptTest):
    def test_nothing_is_done_before_it_leads(self):
        program = self.of("print('generating', flush=True)\nyield {}\ntime.sleep(600)")
        self.assertEqual(self.hello, {"protocol": 1, "election": "my_election"})
        with self.assertRaises(AssertionError):
            program.line(0.3)
        self.assertNotIn("generating", program.log())
        program.order("lead", {})
        self.added(program, 1)

    def test_it_goes_on_after_the_answer(self):
        program = self.of("yield {'n': 1}\nprint('resumed', flush=True)\nyield {'n': 2}\ntime.sleep(600)")
        program.order("lead", {})
        self.assertEqual(program.answer("add"), {"number": 1, "job": {"n": 1}})
        with self.assertRaises(AssertionError):
            program.line(0.3)
        self.assertNotIn("resumed", program.log())
        program.order("added", {"number": 1, "id": "job/1"})
        self.assertEqual(self.added(program, 2), {"n": 2})

    def test_a_refused_job_is_told_and_passed_over(self):
        program = self.of("yield {'n': 1}\nyield {'n': 2}\ntime.sleep(600)")
        program.order("lead", {})
        program.answer("add")
        program.order("refused", {"number": 1, "reason": "no such action"})
        self.assertEqual(self.added(program, 2), {"n": 2})
        self.assertRegex(program.log(), "<3>.*was refused: no such action")

    def test_a_job_that_is_no_json_is_told_and_passed_over(self):
        program = self.of("yield {'n': {1}}\nyield {'n': float('nan')}\nyield {'n': 'x' * 2000000}\nyield ['n']\nyield {'n': 5}\ntime.sleep(600)")
        program.order("lead", {})
        self.assertEqual(self.added(program, 5), {"n": 5})
        self.assertEqual(program.log().count("cannot add"), 4)

    def test_a_generator_that_ends_is_called_again(self):
        program = self.of("yield {'n': 1}")
        program.order("lead", {})
        for number in (1, 2, 3):
            self.assertEqual(self.added(program, number), {"n": 1})

    def test_also_one_that_has_nothing_to_add(self):
        program = self.of("print('called', flush=True)\nif False: yield")
        program.order("lead", {})
        program.wait_for("called\ncalled")

    def test_an_exception_ends_it_with_its_traceback(self):
        program = self.of("yield {'n': 1}\nraise RuntimeError('why')")
        program.order("lead", {})
        self.added(program, 1)
        self.assertEqual(program.process.wait(60), 2)
        self.assertIn("RuntimeError: why", program.log())

    def test_it_ends_with_its_orders(self):
        for order in (None, "lead"):
            program = self.of("yield {'n': 1}")
            if order:
                program.order(order, {})
                program.answer("add")
            self.assertEqual(program.end(), 0)

    def test_sigterm_ends_it(self):
        program = self.of("print('sleeps', flush=True)\ntime.sleep(600)\nyield {}")
        program.order("lead", {})
        program.wait_for("sleeps")
        program.signal()
        self.assertEqual(program.process.wait(60), 0)

    def test_orders_that_break_the_protocol(self):
        for order in ("added", "run"):
            program = self.of("yield {'n': 1}")
            program.order(order, {"number": 1})
            self.assertEqual(program.process.wait(60), 2)

    def test_what_the_script_has(self):
        program = self.of(
            "assert self.args.ss_url == %r and self.args.ss_user is None and not self.stop_event.is_set()\n" % URL
            + "assert self.name == 'Kenny' and self._kz is None and self.args.mine == '5'\n"
            + "assert sys.argv[1:] == ['--mine=5'] and __name__ == '__main__' and __file__ == sys.argv[0]\n"
            + "assert sys.path[0] == os.path.dirname(__file__)\n"
            + "yield {'n': self.ss_api.cimi_search('credentials', last=0).count}\ntime.sleep(600)",
            "--mine=5",
            method="def __init__(self):\n    super(Mine, self).__init__()\n"
            "    assert self.args.mine == '5' and self.stop_event and self.name is self.ss_api is self._kz is None\n\n"
            "def _set_command_specific_options(self, parser):\n    parser.add_argument('--mine')",
        )
        program.order("lead", {})
        self.assertEqual(self.added(program, 1), {"n": 0}, program.log())
        self.assertEqual({one.host for one in self.api.requests}, {TOKEN})

    def test_options_of_the_original_are_taken(self):
        options = ["--ss-url=https://x", "--ss-user=u", "--ss-pass", "p", "--ss-insecure", "--zk-hosts=z:1", "--name", "Me"]
        program = self.of(
            "a = self.args\nyield {'n': [a.ss_url, a.ss_user, a.ss_pass, a.ss_insecure, a.zk_hosts, self.name]}\n"
            "time.sleep(600)",
            *options
        )
        program.order("lead", {})
        self.assertEqual(self.added(program, 1), {"n": ["https://x", "u", "p", True, "z:1", "Me"]})

    def test_work_may_be_overridden(self):
        method = "def do_work(self):\n    print('mine')\n    self._start_distribution()"
        program = self.of("yield {'n': 1}\ntime.sleep(600)", method=method)
        program.order("lead", {})
        self.added(program, 1)
        self.assertIn("mine\n", program.log())

    def test_scripts_that_say_no_hello(self):
        rows = [
            ("1 / 0\n", 1, "ZeroDivisionError"),
            ("print(\n", 1, "SyntaxError"),
            ("pass\n", 0, ""),
            ("import slipstream.NodeInstance\n", 1, "No module named 'slipstream.NodeInstance'"),
            ("from slipstream.job.base import main, Base\nmain(Base)\n", 2, "NotImplementedError"),
        ]
        for source, code, text in rows:
            with self.subTest(source):
                folder = self.write("job_distributor_x.py", source, "scripts")
                program = self.program(["distributor", os.path.join(folder, "job_distributor_x.py")])
                self.assertEqual(program.process.wait(60), code)
                self.assertIn(text, program.log())
                self.assertIsNone(program.line())


if __name__ == "__main__":
    unittest.main()
