"""Actions in Nuvla's dialect: specification 9.3 and 9.4, and docs/differences.md."""

import json
import os
import unittest

from support import FIXTURES, REAL, TOKEN, URL, HostTest

DONE = {"state": "SUCCESS", "return-code": 0}


class NuvlaTest(HostTest):
    server_dialect = "nuvla"
    # Makes files belong to Nuvla's package.
    imports = "from nuvla.job_engine.job.util import override\n"

    def do(self, body, **settings):
        """Runs the body of a `do_work` in Nuvla's dialect."""
        source = self.imports + "from ..actions import action\nimport os, sys, json, logging\n\n"
        source += "@action('one')\nclass One(object):\n    def __init__(self, job):\n        self.job = job\n"
        source += "        self.api = job.api\n\n    def do_work(self):\n        job = self.job\n"
        lines = body if isinstance(body, str) else "\n".join(body)
        return self.host_of(source + "".join("        %s\n" % line for line in lines.splitlines()), **settings)

    def edits(self):
        return [one.body for one in self.api.asked("PUT", "job/1")]


class Results(NuvlaTest):
    def test_what_the_action_returns(self):
        rows = [
            ("return 0", DONE),
            ("return 7", {"state": "FAILED", "return-code": 7, "message": "the action returned 7, and only 0 is success"}),
            ("return None", {"state": "FAILED", "message": "the action returned nothing, and only 0 is success"}),
            ("pass", {"state": "FAILED", "message": "the action returned nothing, and only 0 is success"}),
            ("return 'x'", {"state": "FAILED", "message": "the action returned 'x', which is no return code"}),
            ("return False", {"state": "FAILED", "message": "the action returned False, which is no return code"}),
        ]
        for body, end in rows:
            with self.subTest(body):
                self.assertEqual(self.run_job(self.do(body), "one"), end)

    def test_what_the_action_says_of_a_failure_is_its_message(self):
        for code, end in (("7", {"state": "FAILED", "return-code": 7}), ("None", {"state": "FAILED"})):
            with self.subTest(code):
                host = self.do("job.set_status_message('the disk is full'); return %s" % code)
                # what an earlier attempt said is of no use
                end = dict(end, message="the disk is full")
                self.assertEqual(self.run_job(host, "one", {"status-message": "earlier"}), end)
        host = self.do("return 7")
        message = self.run_job(host, "one", {"status-message": "earlier"})["message"]
        self.assertEqual(message, "the action returned 7, and only 0 is success")

    def test_an_exception(self):
        end = self.run_job(self.do("raise ValueError('why')"), "one")
        message = end.pop("message")
        self.assertEqual(end, {"state": "FAILED", "return-code": 1})
        self.assertRegex(message, r"^ValueError-Traceback \(most recent call last\):\n[\s\S]*do_work[\s\S]*ValueError: why\n$")
        self.assertEqual(self.edits(), [])

    def test_an_exception_in_mixed_mode_goes_on_in_pull_mode(self):
        host = self.do("raise ValueError('why')")
        self.assertEqual(self.run_job(host, "one", {"execution-mode": "mixed"}), {"state": "LEFT"})
        (edit,) = self.edits()
        message = edit.pop("status-message")
        self.assertEqual(edit, {"state": "QUEUED", "execution-mode": "pull"})
        self.assertTrue(message.startswith("Re-running job in pull mode after failed first attempt: ValueError-Traceback"))

    def test_or_is_given_back_if_that_is_refused(self):
        host = self.do("raise ValueError('why')")
        self.api.answers["PUT", "job/1"] = 409, {"status": 409, "message": "late"}
        self.assertEqual(self.run_job(host, "one", {"execution-mode": "mixed"})["state"], "RELEASED")

    def test_an_edit_that_fails_is_a_failure(self):
        host = self.do("job.set_progress(5)")
        self.api.answers["PUT", "job/1"] = 409, {"status": 409, "message": "late"}
        end = self.run_job(host, "one")
        self.assertEqual((end["state"], end["return-code"]), ("FAILED", 1))
        self.assertTrue(end["message"].startswith("JobUpdateError-Traceback"), end)

    def test_in_the_constructor(self):
        source = "from ..actions import action\n@action('one')\nclass One(object):\n    def __init__(self, job):\n        1 / 0\n"
        end = self.run_job(self.host_of(source), "one", {"execution-mode": "mixed"})
        self.assertEqual((end["state"], end["return-code"]), ("FAILED", 1))
        self.assertTrue(end["message"].startswith("ZeroDivisionError-Traceback"))
        self.assertEqual(self.edits(), [])

    def test_jobs_of_other_versions(self):
        """The version is checked by the real engine; ours does what servers without versions have."""
        host = self.do("return 0")
        self.assertEqual(self.run_job(host, "one"), DONE)
        if "engine" in REAL:
            self.assertEqual(self.run_job(host, "one", {"version": 3})["state"], "RELEASED")
            self.assertEqual(self.run_job(host, "one", {"version": 1})["state"], "FAILED")


class Job(NuvlaTest):
    def checked(self, *lines, **job):
        host = self.do(list(lines) + ["return 0"])
        self.assertEqual(self.run_job(host, "one", job), DONE, host.log())

    def test_it_is_the_document_as_it_was_before(self):
        self.checked(
            "assert job['state'] == 'RUNNING' == job.state and job.get('action') == 'one' and job.id == 'job/1'",
            "assert job.target_resource_href == 'dummy' and isinstance(job, dict) and not job.is_in_final_state()",
            "assert job.cimi_job.id == 'job/1' and job.cimi_job.data['state'] == 'RUNNING'",
            "assert job.nuvlaedge_shared_path == '/srv/nuvlaedge/shared/' and not job.is_in_pull_mode",
            "for line in ('job[1] = 2', 'del job[\"state\"]'):",
            "    try:",
            "        exec(line)",
            "    except TypeError:",
            "        continue",
            "    raise AssertionError(line)",
            "try:",
            "    job.nothing",
            "except KeyError:",
            "    pass",
            state="RUNNING",
            **{"target-resource": {"href": "dummy"}}
        )
        self.assertEqual(self.api.requests, [])

    def test_what_is_missing(self):
        self.checked("assert job.payload is None and not job.is_in_pull_mode")
        self.checked("assert job.is_in_pull_mode", **{"execution-mode": "pull"})
        self.checked("assert job.payload == {'a': [1]}", payload='{"a": [1]}')

    def test_setters_are_edits_whose_answers_are_merged_in(self):
        self.checked(
            "job.set_progress(140); assert job['progress'] == 140",
            "job.set_status_message(''); assert job['status-message'] == '< status message empty >'",
            "job.set_status_message(5); job.set_return_code(3); job.set_state('RUNNING')",
            "job.update_job()",
            "job.update_job('RUNNING', 0, 'end', 7, 'push', ['a'])",
            "job.add_affected_resource('a/1'); job.add_affected_resources(['a/1', 'b/2'])",
            "job.add_nested_job('job/7'); job.add_nested_jobs(['job/7', 'job/8']); job.add_nested_jobs([])",
        )
        every = {"state": "RUNNING", "return-code": 0, "status-message": "end", "progress": 7}
        self.assertEqual(
            self.edits(),
            [
                {"progress": 140},
                {"status-message": "< status message empty >"},
                {"status-message": "5"},
                {"return-code": 3},
                {"state": "RUNNING"},
                dict(every, **{"execution-mode": "push", "tags": ["a"]}),
                {"affected-resources": [{"href": "a/1"}]},
                {"affected-resources": [{"href": "a/1"}, {"href": "b/2"}]},
                {"nested-jobs": ["job/7"]},
                {"nested-jobs": ["job/7", "job/8"]},
            ],
        )
        self.assertEqual({one.host for one in self.api.requests}, {TOKEN})

    def test_checks(self):
        for call, error in (("set_return_code('0')", "TypeError"), ("set_state('STOPPED')", "ValueError")):
            self.checked("try:", "    job.%s" % call, "except %s:" % error, "    pass", "else:", "    raise AssertionError")
        self.assertEqual(self.edits(), [])

    def test_context(self):
        self.checked("assert job.context['message'] == 'done' and job.context is job.context")
        self.assertEqual(len(self.api.asked("POST", "job/1/get-context")), 1)

    def test_clients_for_somebody_else(self):
        authn = {"user-id": "user/1", "active-claim": "group/a", "claims": ["user/1", "group/b"]}
        self.checked(
            "assert job.get_user_api().get('job/1').data['state'] == 'RUNNING'",
            "assert job.get_api(job.payload['authn-info']).endpoint == %r" % URL,
            "job.api.get('job/1')",
            payload=json.dumps({"authn-info": authn}),
        )
        theirs, own = self.api.asked("GET", "job/1")
        self.assertEqual(theirs.headers["nuvla-authn-info"], "user/1 group/a user/1 group/b")
        self.assertNotIn("nuvla-authn-info", own.headers)
        self.assertEqual(theirs.host, TOKEN)

    def test_names_of_the_module(self):
        self.checked(
            "import nuvla.job_engine.job as m",
            "assert m.STATES == ('QUEUED', 'RUNNING', 'FAILED', 'SUCCESS', 'CANCELED')",
            "assert (m.JOB_CANCELED, m.JOB_QUEUED) == ('CANCELED', 'QUEUED') and isinstance(job, m.Job)",
        )


class OnOurServer(NuvlaTest):
    """Class files of Nuvla on a server of SlipStream's dialect, as ours is: a job's names are spelled as it spells them."""

    server_dialect = "slipstream"

    def test_documents_have_both_spellings(self):
        host = self.do("assert job['target-resource'] == job['targetResource'] and job.target_resource_href == 'dummy'\nreturn 0")
        self.assertEqual(self.run_job(host, "one"), DONE, host.log())

    def test_edits_have_the_servers(self):
        host = self.do(
            [
                "job.set_status_message('x'); assert job['status-message'] == 'x' == job['statusMessage']",
                "job.update_job(status_message='y', return_code=0); job.add_affected_resource('a/1')",
                "job.add_affected_resource('a/1')",
                "return 0",
            ]
        )
        self.assertEqual(self.run_job(host, "one"), DONE, host.log())
        wanted = [{"statusMessage": "x"}, {"statusMessage": "y", "returnCode": 0}, {"affectedResources": [{"href": "a/1"}]}]
        self.assertEqual([dict(sorted(one.items(), reverse=True)) for one in self.edits()], wanted)

    def test_mixed_mode(self):
        host = self.do("raise ValueError('why')")
        self.assertEqual(self.run_job(host, "one", {"executionMode": "mixed"}), {"state": "LEFT"})
        self.assertEqual(sorted(self.edits()[0]), ["executionMode", "state", "statusMessage"])


class Client(NuvlaTest):
    def checked(self, *lines):
        host = self.do(["api = job.api"] + list(lines) + ["return 0"])
        self.assertEqual(self.run_job(host, "one"), DONE, host.log())

    def test_which_client_it_is(self):
        real = "api.py" if "nuvla" in REAL else "nuvla_api.py"
        self.checked("assert sys.modules[type(api).__module__].__file__.endswith('/%s')" % real)

    def test_documents(self):
        self.api.documents["credential/1"] = {"id": "credential/1", "resource-type": "credential", "a": 1}
        self.checked(
            "found = api.get('credential/1', select='a')",
            "assert (found.id, found.resource_type, found.data['a']) == ('credential/1', 'credential', 1)",
            "assert found.operations['edit']['href'] == 'credential/1' and 'credential/1' in str(found)",
            "assert api.edit('credential/1', {'a': 2}, select='b').data['a'] == 2",
            "assert api.add('credential', {'b': 3}).data['resource-id'] == 'credential/new'",
            "assert api.operation(found, 'check', {'c': 4}).data['message'] == 'done'",
            "assert api.hook('reset', {'d': 5}).data['asked'] == {'d': 5}",
            "assert api.delete('credential/1').data['status'] == 200",
        )
        self.assertEqual(self.api.asked("GET", "credential/1")[0].query, {"select": "a"})
        self.assertEqual(self.api.asked("PUT", "credential/1")[0].query, {"select": "b"})
        self.assertEqual(self.api.asked("POST", "credential/1/check")[0].body, {"c": 4})
        self.assertEqual({one.host for one in self.api.requests}, {TOKEN})

    def test_searches(self):
        self.api.found["credential"] = [{"id": "credential/1"}, {"id": "credential/2"}]
        self.checked(
            "found = api.search('credential', filter='a=1', last=5, orderby='id:asc')",
            "assert found.count == 2 and [one.id for one in found.resources] == ['credential/1', 'credential/2']",
            "assert [one.id for one in found] == [one.id for one in found.resources_generator()]",
        )
        self.assertEqual(self.api.asked("PUT", "credential")[0].body, {"filter": "a=1", "last": "5", "orderby": "id:asc"})

    def test_bulk(self):
        self.checked(
            "from nuvla.api import NuvlaError",
            "assert api.delete_bulk('job', 'a=1').data['deleted'] == 3",
            "assert api.operation_bulk('job', 'a=1', 'stop', {'b': 2}).data['message'] == 'done'",
            "try:",
            "    api.delete_bulk('job', '')",
            "except NuvlaError:",
            "    pass",
            "else:",
            "    raise AssertionError",
        )
        (deleted,), (stopped,) = self.api.asked("DELETE", "job"), self.api.asked("PATCH", "job/stop")
        self.assertEqual((deleted.headers["bulk"], deleted.body), ("yes", {"filter": "a=1"}))
        self.assertEqual((stopped.headers["bulk"], stopped.body), ("yes", {"filter": "a=1", "b": 2}))

    def test_patches(self):
        self.api.answers["PUT", "credential/1"] = 200, {"id": "credential/1"}
        self.checked("api.edit_patch('credential/1', [{'op': 'remove', 'path': '/a'}])")
        (asked,) = self.api.asked("PUT", "credential/1")
        kind = {name.lower(): value for name, value in asked.headers.items()}["content-type"]
        self.assertEqual((kind, asked.body[0]["op"]), ("application/json-patch+json", "remove"))

    def test_refusals(self):
        self.checked(
            "from nuvla.api import NuvlaError",
            "try:",
            "    api.get('credential/1')",
            "except NuvlaError as e:",
            "    assert e.reason == 'credential/1 not found' and e.response.status_code == 404",
            "else:",
            "    raise AssertionError",
        )

    def test_no_answer_is_a_connection_error(self):
        lines = ["from nuvla.api import ConnectionError", "try:", "    job.api.get('job/1')", "except ConnectionError:"]
        host = self.do(lines + ["    return 5"])
        self.api.close()
        self.addCleanup(setattr, self.api, "close", lambda: None)
        end = self.run_job(host, "one")
        self.assertEqual((end["state"], end["return-code"]), ("FAILED", 5), host.log())

    def test_logins_and_the_entry_point(self):
        self.api.found["session"] = [{"id": "session/1"}]
        self.checked(
            "from nuvla.api import Api",
            "mine = Api(%r, persist_cookie=False)" % URL,
            "assert mine.login_password('me', 'secret').status_code == 201",
            "assert mine.login_apikey('credential/1', 'x').status_code == 201",
            "assert mine.current_session() == 'session/1' and mine.is_authenticated()",
            "assert mine.cloud_entry_point.base_uri == 'x/api/'",
        )
        logins = [one.body["template"] for one in self.api.asked("POST", "session")]
        self.assertEqual(logins[0], {"href": "session-template/password", "username": "me", "password": "secret"})
        self.assertEqual(logins[1], {"href": "session-template/api-key", "key": "credential/1", "secret": "x"})
        self.assertEqual(self.api.asked("PUT", "session")[0].headers["Cookie"], "com.sixsq.slipstream.cookie=secret")

    def test_filters(self):
        self.checked(
            "from nuvla.api.util.filter import filter_and, filter_or",
            "assert filter_and(['a=1', None, 'b=2', '']) == '(a=1 and b=2)'",
            "assert filter_or(['a=1']) == 'a=1' and filter_or([]) == '' and filter_or(['a', 'b', 'c']) == '(a or b or c)'",
        )


class Fixtures(NuvlaTest):
    """Class files in the style of the originals."""

    def fixture(self):
        host = self.host(os.path.join(FIXTURES, "nuvla_actions"))
        self.assertEqual(self.hello["failed"], [])
        return host

    def test_waits(self):
        self.assertEqual(self.run_job(self.fixture(), "wait_a_little_n"), DONE)

    def test_acts_on_what_it_finds(self):
        self.api.found["job"] = [{"id": "job/7"}, {"id": "job/8"}]
        host = self.fixture()
        parent = {"target-resource": {"href": "job/6"}}
        self.assertEqual(self.run_job(host, "cancel_children", parent), DONE, host.log())
        self.assertEqual(self.api.documents["job/1"]["status-message"], "2 of 2")
        wanted = '(parent-job="job/6" and (state="QUEUED" or state="RUNNING"))'
        self.assertEqual(self.api.asked("PUT", "job")[0].body["filter"], wanted)
        self.api.answers["POST", "job/8/cancel"] = 404, {"status": 404, "message": "job/8 not found"}
        self.assertEqual(self.run_job(host, "cancel_children", parent), {"state": "FAILED", "return-code": 3, "message": "1 of 2"})
        self.assertIn("<4>children: job/8: job/8 not found (404)", host.log())

    def test_leaves_its_job_to_a_monitor(self):
        self.assertEqual(self.run_job(self.fixture(), "unfinished"), {"state": "LEFT"})
        self.assertEqual(self.edits(), [{"tags": ["monitor"]}])

    def test_fails(self):
        self.assertIn("FAILED on purpose", self.run_job(self.fixture(), "fails")["message"])


if __name__ == "__main__":
    unittest.main()
