"""Which files are loaded as what: decision 23, specification 9.4 and 9.9."""

import json
import os
import unittest

from support import HostTest, Program

ACTION = """
    from ..actions import action

    @action(%r)
    class One(object):
        def __init__(self, %s):
            self.job = job
        def do_work(self):
            return 0
"""


def slipstream(name):
    return ACTION % (name, "executor, job")


class Loading(HostTest):
    def loaded(self, folder, *options, **settings):
        """Actions with their dialects, and what failed by the names of the files."""
        self.host(folder, *options, **settings)
        actions = {one["name"]: one["dialect"] for one in self.hello["actions"]}
        return actions, {os.path.basename(one["file"]): one["reason"] for one in self.hello["failed"]}

    def test_a_file_that_is_called_like_a_name_of_the_package_hides_it_from_no_other(self):
        folder = self.write("action.py", slipstream("one"))
        self.write("register_action.py", slipstream("two"))
        self.write("z.py", slipstream("three"))
        loaded = self.loaded(folder)
        self.assertEqual(loaded, ({"one": "slipstream", "two": "slipstream", "three": "slipstream"}, {}))

    def test_hello(self):
        folder = self.write("one.py", slipstream("one"))
        self.host(folder)
        self.assertEqual(self.hello["protocol"], 1)
        self.assertRegex(self.hello["program"], r"^slipstream-python 0\.2\.0, CPython 3\.\d+\.\d+$")
        self.assertEqual(
            self.hello["actions"], [{"name": "one", "file": os.path.join(folder, "one.py"), "dialect": "slipstream"}]
        )

    def test_which_files(self):
        for name in ("__init__", "_helper", ".hidden", "shown"):
            self.write(name + ".py", slipstream(name))
        self.write("text.txt", "nonsense")
        folder = self.write("notes.pyc", "nonsense")
        self.assertEqual(self.loaded(folder), ({"shown": "slipstream"}, {}))

    def test_a_program_that_a_manifest_starts_is_left_out(self):
        self.write("tool.py", "import sys\nsys.exit(0)\n")
        folder = self.write("good.py", slipstream("good"))
        self.assertEqual(self.loaded(folder, "--without", "tool.py"), ({"good": "slipstream"}, {}))

    def test_a_file_that_fails_concerns_itself_alone(self):
        self.write("a_missing.py", "from ..actions import action\nimport json\nimport libcloud_of_nobody\n")
        self.write("b_syntax.py", "x = 1\nif x\n")
        self.write("c_raises.py", slipstream("before") + "\n    raise RuntimeError('told\\nyou')\n")
        self.write("d_exits.py", "import sys\nsys.exit(0)\n")
        self.write("e_bytes.py", "x = '\\0'\n")
        folder = self.write("good.py", slipstream("good"))
        with open(os.path.join(folder, "e_bytes.py"), "wb") as file:
            file.write(b"x = 1\n\xff\xfe\n")
        actions, failed = self.loaded(folder)
        self.assertEqual(actions, {"good": "slipstream"})
        self.assertEqual(failed.pop("a_missing.py"), "line 3: No module named 'libcloud_of_nobody'")
        self.assertRegex(failed.pop("b_syntax.py"), "^line 2: ")
        self.assertEqual(failed.pop("c_raises.py"), "line 11: RuntimeError: told you")
        self.assertEqual(failed.pop("d_exits.py"), "it ends the program while it is loaded")
        self.assertIn("e_bytes.py", failed)
        self.assertEqual(len(failed), 1)

    def test_files_of_python_2(self):
        folder = self.write("old.py", "print 'hello'\n")
        _, failed = self.loaded(folder)
        self.assertRegex(failed["old.py"], "^line 1: Missing parentheses")

    def test_a_folder_that_is_not_there(self):
        self.assertEqual(self.loaded(os.path.join(self.folder, "gone")), ({}, {"gone": "No such file or directory"}))

    def test_files_import_each_other_and_their_packages(self):
        self.write("_shared.py", "from slipstream.job.util import wait\nanswer = 42\n")
        self.write("base.py", slipstream("base"))
        folder = self.write("derived.py", "from .base import One\nfrom . import _shared\n" + DERIVED)
        self.assertEqual(self.loaded(folder), ({"base": "slipstream", "derived": "slipstream"}, {}))

    def test_nothing_is_written_into_a_folder(self):
        self.write("_shared.py", "")
        folder = self.write("one.py", slipstream("one") + "\n    from . import _shared\n")
        program = Program(["actions", folder], {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": ""}, self.setup_order())
        self.addCleanup(program.close)
        self.assertEqual(len(program.answer("hello")["actions"]), 1)
        self.assertEqual(sorted(os.listdir(folder)), ["_shared.py", "one.py"])

    def test_the_first_of_two_names_wins_and_the_second_is_told(self):
        self.write("a.py", slipstream("same"))
        folder = self.write("b.py", slipstream("same"))
        host = self.host(folder)
        self.assertEqual([os.path.basename(one["file"]) for one in self.hello["actions"]], ["a.py"])
        host.wait_for('<3>actions: action "same" of %s/b.py is already defined in %s/a.py' % (folder, folder))

    def test_several_folders(self):
        one, two = self.write("a.py", slipstream("a"), "one"), self.write("b.py", slipstream("b"), "two")
        self.write("a.py", slipstream("c"), "two")
        actions, failed = self.loaded(two, one)
        self.assertEqual(actions, {"a": "slipstream", "b": "slipstream"})
        self.assertEqual(failed, {"a.py": os.path.join(one, "a.py") + " has the same name"})

    def test_whatever_is_called_like_a_class_may_be_registered(self):
        folder = self.write(
            "ways.py",
            """
            from ..actions import action, register_action, get_action, Actions

            class Work(object):
                def __init__(self, executor, job):
                    pass
                def do_work(self):
                    return 5

            @action()
            def named_by_itself(executor, job):
                return Work(executor, job)

            register_action('registered', Work)
            register_action('made', lambda executor, job: Work(executor, job))
            Actions.register_action('of_class', Work)
            assert get_action('registered') is Work and get_action('nobody') is None
            """,
        )
        host = self.host(folder)
        names = ["named_by_itself", "registered", "made", "of_class"]
        self.assertEqual([one["name"] for one in self.hello["actions"]], names)
        for name in names:
            self.assertEqual(self.run_job(host, name), {"state": "SUCCESS", "return-code": 5})

    def test_the_constructor_tells_the_dialect_of_an_action(self):
        rows = [
            ("executor, job", "slipstream"),
            ("job", "nuvla"),
            ("executor, job, more=None", "slipstream"),
            ("executor, job=None", "slipstream"),
            ("*args", "slipstream"),
        ]
        for arguments, dialect in rows:
            with self.subTest(arguments):
                folder = self.write("one.py", (ACTION % ("one", arguments)).replace("self.job = job", "pass"), arguments)
                self.assertEqual(self.loaded(folder), ({"one": dialect}, {}))

    def test_whatever_makes_the_object(self):
        """The same for functions, for objects that are called, and for what a decorator wraps."""
        rows = [
            ("def one(executor, job): pass", "slipstream"),
            ("def one(job): pass", "nuvla"),
            ("one = lambda e, j, k=1: None", "slipstream"),
            ("class C(object):\n    def __call__(self, job): pass\none = C()", "nuvla"),
            ("class C(object):\n    def m(self, job): pass\none = C().m", "nuvla"),
            ("class one(object):\n    def __new__(cls, job): pass", "nuvla"),
            ("class one(object):\n    def __init__(self, job, *, more=1): pass", "nuvla"),
            ("class M(type):\n    def __call__(cls, executor, job): pass\none = M('one', (), {})", "slipstream"),
            ("import functools\ndef f(job): pass\n@functools.wraps(f)\ndef one(*a): pass", "nuvla"),
            ("import functools\none = functools.partial(lambda x, job: None, 1)", "nuvla"),
        ]
        for row, (source, dialect) in enumerate(rows):
            with self.subTest(source):
                source = "from ..actions import register_action\n%s\nregister_action('one', one)\n" % source
                self.assertEqual(self.loaded(self.write("one.py", source, "row%d" % row)), ({"one": dialect}, {}))

    def test_what_cannot_be_called_so_is_not_loaded(self):
        for arguments in ("", "a, b, c", "job, *, more"):
            with self.subTest(arguments):
                folder = self.write("one.py", (ACTION % ("one", arguments)).replace("self.job = job", "pass"), "x" + arguments)
                reason = "action one takes neither (executor, job) nor (job)"
                self.assertEqual(self.loaded(folder), ({}, {"one.py": reason}))
        folder = self.write("one.py", "from ..actions import register_action\nregister_action('one', 5)\n", "number")
        self.assertEqual(self.loaded(folder), ({}, {"one.py": "action one cannot be called"}))

    def test_the_package_of_a_file(self):
        """What it needs tells it, else the folder's end, else the option; in doubt it is SlipStream's."""
        nuvla, slip = "nuvla.job_engine.job.actions", "slipstream.job.actions"
        rows = [
            ("", "plain", (), slip),
            ("from ...job.util import mapv\n", "dots", (), nuvla),
            ("from nuvla.job_engine.job import JOB_QUEUED\n", "name", (), nuvla),
            ("import nuvla.api\n", "import", (), nuvla),
            ("", "nuvla/job_engine/job/actions", (), nuvla),
            ("", "option", ("--dialect", "nuvla"), nuvla),
            ("", "slip/nuvla/job_engine/job/actions", ("--dialect", "slipstream"), slip),
        ]
        for imports, folder, options, package in rows:
            with self.subTest(folder):
                folder = self.write("one.py", imports + "print('package', __package__)\n", folder)
                host = self.host(folder, *options)
                self.assertEqual(self.hello["failed"], [])
                self.assertIn("package %s\n" % package, host.log())

    def test_actions_for_pull_mode_alone(self):
        source = "from ..actions import action\n"
        for name, more in (("pull", ", pull_mode_support=True"), ("push", "")):
            source += "@action(%r%s)\ndef %s(job):\n    pass\n" % (name, more, name)
        folder = self.write("one.py", source)
        self.assertEqual(self.loaded(folder), ({"pull": "nuvla", "push": "nuvla"}, {}))
        self.assertEqual(self.loaded(folder, environment={"IMAGE_NAME": "job-lite"}), ({"pull": "nuvla"}, {}))

    def test_classes_for_python_2_are_refused_by_name(self):
        names = ["collect_virtual_machines", "collect_quotas", "collect_storage_buckets", "start_deployment", "stop_deployment"]
        for name in names:
            folder = self.write(name + ".py", slipstream(name))
        actions, failed = self.loaded(folder)
        self.assertEqual(actions, {})
        for name in names:
            self.assertIn("action %s was written for Python 2: " % name, failed[name + ".py"])
            self.assertIn("say actions.%s.python3 = true" % name, failed[name + ".py"])

    def test_unless_the_site_has_ported_them(self):
        self.write("a.py", slipstream("collect_quotas"))
        folder = self.write("b.py", slipstream("stop_deployment"))
        actions, failed = self.loaded(folder, "--python3", "stop_deployment")
        self.assertEqual((actions, list(failed)), ({"stop_deployment": "slipstream"}, ["a.py"]))

    def test_nor_those_of_nuvla_that_have_these_names(self):
        folder = self.write("a.py", ACTION % ("start_deployment", "job"))
        self.assertEqual(self.loaded(folder), ({"start_deployment": "nuvla"}, {}))

    def test_what_a_file_prints_while_it_is_loaded_is_the_log(self):
        host = self.host(self.write("one.py", "import sys, os\nprint('loading')\nos.write(1, b'raw\\n')\n" + DERIVED_ALONE))
        self.assertIn("loading\nraw\n", host.log())

    def test_arguments_that_are_refused(self):
        rows = [[], ["nonsense"], ["actions"], ["actions", "--dialect", "x", "d"], ["actions", "--what", "d"], ["distributor"]]
        for arguments in rows:
            with self.subTest(arguments):
                program = self.program(arguments)
                self.assertEqual(program.process.wait(60), 2)
                self.assertIsNone(program.line())

    def test_the_first_line_must_be_setup(self):
        program = Program(["actions", self.folder])
        self.addCleanup(program.close)
        program.write(json.dumps({"run": {}}).encode() + b"\n")
        self.assertEqual(program.process.wait(60), 2)
        self.assertIn("the first line is not setup, but run", program.log())

    def test_without_orders_it_ends(self):
        program = Program(["actions", self.folder])
        self.addCleanup(program.close)
        self.assertEqual(program.end(), 0)


DERIVED = """
from ..actions import action
assert _shared.answer == 42

@action('derived')
class Derived(One):
    pass
"""
DERIVED_ALONE = """
from ..actions import action

@action('one')
class One(object):
    def __init__(self, executor, job):
        pass
"""

if __name__ == "__main__":
    unittest.main()
