"""Actions in SlipStream's dialect: specification 9.3 and 9.4, and docs/differences.md."""

import functools
import json
import os
import socket
import threading
import unittest
from http.server import BaseHTTPRequestHandler, HTTPServer

from support import FIXTURES, LIMIT, REAL, TOKEN, URL, HostTest, until

DONE = {"state": "SUCCESS", "return-code": 0}


class Results(HostTest):
    def test_what_the_action_returns(self):
        rows = [
            ("return None", {"state": "SUCCESS"}),
            ("pass", {"state": "SUCCESS"}),
            ("return 0", DONE),
            ("return 10000", {"state": "SUCCESS", "return-code": 10000}),
            ("return -1", {"state": "SUCCESS", "return-code": -1}),
            ("return 'x'", {"state": "FAILED", "message": "the action returned 'x', which is no return code"}),
            ("return 1.5", {"state": "FAILED", "message": "the action returned 1.5, which is no return code"}),
            ("return True", {"state": "FAILED", "message": "the action returned True, which is no return code"}),
            ("return 2 ** 40", {"state": "FAILED", "message": "the action returned 1099511627776, which is no return code"}),
            ("raise ValueError('why')", {"state": "FAILED", "message": "why"}),
            ("raise ValueError()", {"state": "FAILED", "message": "ValueError"}),
        ]
        for body, end in rows:
            with self.subTest(body):
                self.assertEqual(self.run_job(self.do(body), "one"), end)

    def test_a_failure_has_its_traceback_in_the_log_alone(self):
        host = self.do("raise ValueError('why')")
        self.run_job(host, "one")
        self.assertRegex(host.log(), r"<3>.*\n<3>Traceback[\s\S]*do_work\n[\s\S]*<3>ValueError: why\n")

    def test_an_edit_that_fails_gives_the_job_back(self):
        for status in (409, 503):
            host = self.do("self.job.set_progress(5)")
            self.api.answers["PUT", "job/1"] = status, {"status": status, "message": "late"}
            end = {"state": "RELEASED", "message": "cannot edit progress of job/1: late"}
            self.assertEqual(self.run_job(host, "one"), end)

    def test_without_an_api_too(self):
        host = self.do("self.job.set_progress(5)")
        self.api.close()
        self.addCleanup(setattr, self.api, "close", lambda: None)
        self.assertEqual(self.run_job(host, "one")["state"], "RELEASED")

    def test_unless_the_action_handles_it(self):
        host = self.do(
            """
            from slipstream.job.job import JobUpdateError
            try:
                self.job.set_progress(5)
            except JobUpdateError as e:
                return len(str(e)) > 0 and 7
            """
        )
        self.api.answers["PUT", "job/1"] = 409, {"status": 409, "message": "late"}
        self.assertEqual(self.run_job(host, "one"), {"state": "SUCCESS", "return-code": 7})

    def test_in_the_constructor_everything_is_a_failure(self):
        for body, message in (("job.set_progress(5)", "cannot edit progress of job/1: late"), ("1 / 0", "division by zero")):
            with self.subTest(body):
                source = "from ..actions import action\n@action('one')\nclass One(object):\n"
                source += "    def __init__(self, executor, job):\n        %s\n" % body
                host = self.host_of(source)
                self.api.answers["PUT", "job/1"] = 409, {"status": 409, "message": "late"}
                self.assertEqual(self.run_job(host, "one"), {"state": "FAILED", "message": message})

    def test_an_object_without_do_work(self):
        host = self.host_of("from ..actions import action\n@action('one')\ndef one(executor, job):\n    return None\n")
        end = self.run_job(host, "one")
        self.assertEqual(end["state"], "FAILED")
        self.assertIn("do_work", end["message"])


class Job(HostTest):
    def checked(self, *lines, **job):
        """Runs lines, all of which must hold."""
        host = self.do("job = self.job\n" + "\n".join(lines) + "\nreturn 0")
        self.assertEqual(self.run_job(host, "one", job), DONE)
        return host

    def edits(self):
        return [one.body for one in self.api.asked("PUT", "job/1")]

    def test_it_is_the_document_as_it_was_before(self):
        self.checked(
            "assert job['state'] == 'RUNNING' and job.state == 'RUNNING' and job.get('action') == 'one'",
            "assert job.targetResource['href'] == 'dummy' and job.id == 'job/1' and isinstance(job, dict)",
            "assert not job.nothing_to_do and not job.is_in_final_state()",
            state="RUNNING",
        )
        self.assertEqual(self.edits(), [])

    def test_what_is_missing_is_a_key_error(self):
        self.checked("try:\n    job.nothing\nexcept KeyError:\n    pass\nelse:\n    raise AssertionError")

    def test_it_is_not_writable(self):
        for line in ("job['a'] = 1", "del job['state']"):
            self.checked("try:\n    %s\nexcept TypeError:\n    pass\nelse:\n    raise AssertionError" % line)

    def test_setters_are_edits_whose_answers_are_merged_in(self):
        self.checked(
            "job.set_progress(40); assert job['progress'] == 40 and job.state == 'RUNNING'",
            "job.set_status_message(12.5); assert job.statusMessage == '12.5'",
            "job.set_return_code(3); job.set_state('RUNNING')",
            "job.update_job(); job.update_job(state='RUNNING', return_code=0, status_message='end')",
        )
        self.assertEqual(
            self.edits(),
            [
                {"progress": 40},
                {"statusMessage": "12.5"},
                {"returnCode": 3},
                {"state": "RUNNING"},
                {"state": "RUNNING", "returnCode": 0, "statusMessage": "end"},
            ],
        )
        self.assertEqual({one.host for one in self.api.asked("PUT", "job/1")}, {TOKEN})

    def test_affected_resources_are_links_that_are_not_there_yet(self):
        self.checked(
            "job.add_affected_resource('a/1'); job.add_affected_resource('a/1')",
            "job.add_affected_resources(['a/1', 'b/2', 'b/2']); job.add_affected_resources([])",
        )
        self.assertEqual(
            self.edits(),
            [
                {"affectedResources": [{"href": "a/1"}]},
                {"affectedResources": [{"href": "a/1"}, {"href": "b/2"}]},
            ],
        )

    def test_checks(self):
        rows = [
            ("job.set_progress('5')", "TypeError"),
            ("job.set_progress(5.5)", "TypeError"),
            ("job.set_progress(101)", "ValueError"),
            ("job.set_progress(-1)", "ValueError"),
            ("job.set_return_code('0')", "TypeError"),
            ("job.set_state('DONE')", "ValueError"),
        ]
        for call, error in rows:
            with self.subTest(call):
                self.checked("try:\n    %s\nexcept %s:\n    pass\nelse:\n    raise AssertionError" % (call, error))
        self.assertEqual(self.edits(), [])

    def test_final_states(self):
        self.checked("job.set_state('SUCCESS'); assert job.is_in_final_state(); job.consume_when_final_state()")

    def test_other_members(self):
        self.api.documents["job/2"] = {"id": "job/2", "state": "QUEUED"}
        self.checked(
            "from slipstream.job.job import NonexistentJobError",
            "assert job.get_cimi_job('job/2')['state'] == 'QUEUED' and job.queue.get() == 'job/1'",
            "assert job.queue.consume() and job.queue.release(); job.logger.info('told')",
            "try:\n    job.get_cimi_job('job/3')\nexcept NonexistentJobError as e:\n    assert 'not found' in e.reason",
            "else:\n    raise AssertionError",
        )

    def test_the_document_of_a_job_of_nuvla_names_too(self):
        self.checked("assert job['target-resource'] == 5", **{"target-resource": 5})


class Executor(HostTest):
    def checked(self, *lines, **settings):
        host = self.do("e = self.executor\n" + "\n".join(lines) + "\nreturn 0", setup=settings)
        self.assertEqual(self.run_job(host, "one"), DONE)

    def test_members(self):
        self.checked(
            "a = e.args",
            "assert (a.ss_url, a.ss_insecure, a.name, a.number_of_thread) == (%r, True, 'Kenny', 4)" % URL,
            "assert a.ss_user is None and a.ss_pass is None and a.es_hosts_list == ['es1', 'es2']",
            "assert hasattr(a, 'zk_hosts') and e.name == 'Kenny' and not e.stop_event.is_set()",
            "assert e.ss_api is e.ss_api is self.job.ss_api and e.ss_api.endpoint == %r" % URL,
            insecure=True,
            **{"es-hosts": ["es1", "es2"]}
        )

    def test_the_default_of_elasticsearch_is_that_of_the_original(self):
        self.checked("assert e.args.es_hosts_list == ['localhost']")


class Client(HostTest):
    """The client for CIMI, the real one or ours: the same results."""

    def checked(self, *lines):
        host = self.do("api = self.executor.ss_api\n" + "\n".join(lines) + "\nreturn 0")
        self.assertEqual(self.run_job(host, "one"), DONE, host.log())
        return host

    def test_which_client_it_is(self):
        real = "api.py" if "slipstream" in REAL else "slipstream_api.py"
        self.checked("module = sys.modules[type(api).__module__].__file__", "assert module.endswith('/%s'), module" % real)

    def test_documents(self):
        self.api.documents["credential/1"] = {"id": "credential/1", "cloudKind": "x", "resourceURI": "u"}
        self.checked(
            "found = api.cimi_get('credential/1')",
            "assert found.json['cloudKind'] == found.cloud_kind == 'x' and found.resource_uri == 'u'",
            "assert found.operations_by_name['edit']['href'] == found.id == 'credential/1'",
            "assert api.cimi_edit('credential/1', {'cloudKind': 'y'}).cloud_kind == 'y'",
            "assert api.cimi_add('credentials', {'a': 1}).json['resource-id'] == 'credential/new'",
            "assert api.cimi_delete('credential/1').json['status'] == 200 and 'credential/1' in str(found)",
        )
        self.assertEqual(self.api.asked("POST", "credential")[0].body, {"a": 1})
        self.assertEqual({one.host for one in self.api.requests}, {TOKEN})
        self.assertEqual(self.api.documents, {"job/1": dict(self.api.documents["job/1"])})

    def test_searches(self):
        self.api.found["credential"] = [{"id": "credential/1", "aB": 1}, {"id": "credential/2", "aB": 2}]
        self.checked(
            "found = api.cimi_search('credentials', filter='a^=\"b\"', select='id', first=1, last=9, orderby='id:asc')",
            "assert found.count == 2 and [one.id for one in found.resources_list] == ['credential/1', 'credential/2']",
            "assert [one.a_b for one in found] == [one.a_b for one in found.resources()] == [1, 2]",
            "assert found.json['credentials'][0]['aB'] == 1",
            "none = api.cimi_search('credentials', last=0)",
            "assert none.count == 2 and none.resources_list == []",
        )
        asked = self.api.asked("PUT", "credential")
        self.assertEqual(
            asked[0].body, {"$filter": 'a^="b"', "$select": "id", "$first": "1", "$last": "9", "$orderby": "id:asc"}
        )

    def test_operations(self):
        self.api.documents["credential/1"] = {"id": "credential/1"}
        self.api.answers["GET", "credential/1"] = 200, {"id": "credential/1", "operations": [{"rel": "x", "href": "go/x"}]}
        self.checked(
            "assert api.cimi_operation('credential/1', 'x', {'b': 2}).message == 'done'",
            "try:\n    api.cimi_operation('credential/1', 'y')\nexcept KeyError:\n    pass\nelse:\n    raise AssertionError",
        )
        self.assertEqual(self.api.asked("POST", "go/x")[0].body, {"b": 2})

    def test_refusals(self):
        self.api.answers["GET", "credential/2"] = 403, {"error": {"code": "403", "reason": "no right"}}
        self.checked(
            "from slipstream.api import SlipStreamError",
            "for name, status, reason in (('1', 404, 'credential/1 not found'), ('2', 403, '403 - no right')):",
            "    try:",
            "        api.cimi_get('credential/' + name)",
            "    except SlipStreamError as e:",
            "        assert e.reason == reason and e.response.status_code == status and e.response.json(), e.reason",
            "    else:",
            "        raise AssertionError",
            "try:\n    api.cimi_search('nothings')\nexcept KeyError:\n    pass\nelse:\n    raise AssertionError",
        )

    def test_no_answer_is_a_connection_error(self):
        host = self.do(
            """
            from slipstream.api import ConnectionError
            try:
                self.executor.ss_api.cimi_get('job/1')
            except ConnectionError:
                return 5
            """
        )
        self.api.close()
        self.addCleanup(setattr, self.api, "close", lambda: None)
        self.assertEqual(self.run_job(host, "one"), {"state": "SUCCESS", "return-code": 5}, host.log())

    def test_a_connection_that_was_closed_is_no_error(self):
        """Once, and on the executor's socket: that closes what it has not sent on."""
        listening = socket.socket()
        self.addCleanup(listening.close)
        listening.bind(("127.0.0.1", 0))
        listening.listen(1)
        self.api.documents["credential/1"] = {"id": "credential/1"}
        host = self.do(
            """
            from slipstream.api import Api, ConnectionError
            api = self.executor.ss_api
            for step in ('get', 'edit', 'twice', 'elsewhere'):
                open('../' + step, 'w').close()
                while not os.path.exists('../' + step + '-go'):
                    time.sleep(0.01)
                try:
                    if step == 'edit':
                        assert api.cimi_edit('credential/1', {'a': 1}).json['a'] == 1
                    elif step == 'elsewhere':
                        Api(endpoint='http://127.0.0.1:%d').cimi_get('credential/1')
                    else:
                        api.cimi_get('credential/1')
                except ConnectionError:
                    assert step in ('twice', 'elsewhere')
                else:
                    assert step in ('get', 'edit')
            return 0
            """
            % listening.getsockname()[1]
        )
        self.begin(host, "one")
        path = functools.partial(os.path.join, self.folder)
        for step, dropped in (("get", 1), ("edit", 1), ("twice", 2), ("elsewhere", 0)):
            until(lambda: os.path.exists(path(step)), host.log)
            self.api.drop(dropped)
            open(path(step + "-go"), "w").close()
        listening.settimeout(LIMIT)
        listening.accept()[0].close()
        self.assertEqual(self.ended(host), DONE, host.log())
        listening.settimeout(0)
        self.assertRaises(BlockingIOError, listening.accept)

    def test_a_login_of_its_own(self):
        """Its cookie goes out with what it asks afterwards, and into the job's directory alone."""
        host = self.do(
            """
            from slipstream.api import Api
            mine = Api(endpoint=%r, insecure=True)
            assert mine.login_internal('me', 'secret').status_code == 201
            mine.cimi_get('job/1')
            assert mine.login_apikey('credential/1', 'x').status_code == 201
            self.executor.ss_api.cimi_get('job/1')
            home = os.path.expanduser('~/.slipstream')
            return int(os.path.exists(home))
            """
            % URL,
            environment={"HOME": self.folder},
        )
        self.assertEqual(self.run_job(host, "one"), DONE, host.log())
        logins = [one.body["sessionTemplate"] for one in self.api.asked("POST", "session")]
        self.assertEqual(logins[0], {"href": "session-template/internal", "username": "me", "password": "secret"})
        self.assertEqual(logins[1], {"href": "session-template/api-key", "key": "credential/1", "secret": "x"})
        cookies = [one.headers.get("Cookie") for one in self.api.asked("GET", "job/1")]
        self.assertEqual(cookies[0], "com.sixsq.slipstream.cookie=secret")
        if "slipstream" not in REAL:
            self.assertIsNone(cookies[1])
        self.assertEqual({one.host for one in self.api.requests}, {TOKEN})

    def test_clients_of_other_servers_do_not_come_here(self):
        host = self.do(
            """
            from slipstream.api import Api, ConnectionError
            try:
                Api(endpoint='http://127.0.0.1:1').cimi_get('job/1')
            except ConnectionError:
                return 0
            """
        )
        self.assertEqual(self.run_job(host, "one"), DONE, host.log())
        self.assertEqual(self.api.requests, [])

    def test_a_proxy_does_not_come_between(self):
        proxy = {"HTTPS_PROXY": "http://127.0.0.1:1", "HTTP_PROXY": "http://127.0.0.1:1", "https_proxy": "http://127.0.0.1:1"}
        host = self.do("self.executor.ss_api.cimi_get('job/1')\nreturn 0", environment=proxy)
        self.assertEqual(self.run_job(host, "one"), DONE, host.log())

    def test_each_job_has_its_own_way(self):
        host = self.do("self.executor.ss_api.cimi_get('job/1'); self.job.set_progress(1); return 0")
        for token in ("one", "two"):
            self.assertEqual(self.run_job(host, "one", api="http://%s/api" % token), DONE)
        self.assertEqual([one.host for one in self.api.asked("GET", "job/1")], ["one", "two"])
        self.assertEqual([one.host for one in self.api.asked("PUT", "job/1")], ["one", "two"])

    def test_threads_at_once(self):
        host = self.do(
            """
            from concurrent.futures import ThreadPoolExecutor
            api = self.executor.ss_api
            with ThreadPoolExecutor(16) as pool:
                found = list(pool.map(lambda n: api.cimi_get('job/1').json['n'], range(64)))
            return len(found)
            """
        )
        self.assertEqual(self.run_job(host, "one", {"n": 1}), {"state": "SUCCESS", "return-code": 64}, host.log())
        self.assertEqual(len(self.api.asked("GET", "job/1")), 64)


class Fixtures(HostTest):
    """Class files in the style of the originals."""

    def setUp(self):
        super().setUp()
        self.elastic = Elastic()
        self.addCleanup(self.elastic.close)
        self.hosts = {"es-hosts": [self.elastic.address]}

    def fixture(self):
        host = self.host(os.path.join(FIXTURES, "slipstream_actions"), setup=self.hosts)
        self.assertEqual(self.hello["failed"], [])
        return host

    def test_waits(self):
        host = self.fixture()
        self.assertEqual(self.run_job(host, "wait_a_little"), {"state": "SUCCESS"})
        self.assertIn("waited for job/1\n", host.log())

    def test_deletes_by_query(self):
        host = self.fixture()
        rows = [
            ({"timed_out": False, "failures": [], "deleted": 7}, "Removed 7 documents."),
            ({"timed_out": True, "failures": [], "deleted": 7}, "Not all went well: "),
        ]
        for report, message in rows:
            self.elastic.report = report
            self.assertEqual(self.run_job(host, "remove_old_documents"), {"state": "SUCCESS"}, host.log())
            self.assertTrue(self.api.documents["job/1"]["statusMessage"].startswith(message))
        path, body = self.elastic.asked[-1]
        self.assertEqual(path.partition("?")[0], "/slipstream-job/_delete_by_query")
        self.assertEqual(body, {"query": {"query_string": {"query": "created:<now-7d"}}})

    def test_searches_deletes_and_names_what_it_touched(self):
        self.api.found["virtual-machine"] = [{"id": "virtual-machine/%d" % n} for n in (1, 2, 3)]
        for n in (1, 3):
            self.api.documents["virtual-machine/%d" % n] = {"id": "virtual-machine/%d" % n}
        self.assertEqual(self.run_job(self.fixture(), "forget_machines"), {"state": "SUCCESS"})
        job = self.api.documents["job/1"]
        self.assertEqual(job["statusMessage"], "Forgot 2 of 3 machines.")
        self.assertEqual(job["affectedResources"], [{"href": "virtual-machine/1"}, {"href": "virtual-machine/3"}])
        self.assertEqual(self.api.asked("PUT", "virtual-machine")[0].body, {"$filter": 'updated<"2020-01-01T00:00:00Z"'})

    def test_checks_states(self):
        self.api.found["nuvlabox-record"] = [
            {"id": "nuvlabox-record/1", "name": "one", "info": {"href": "nuvlabox-state/1"}, "notificationDelay": 5},
            {"id": "nuvlabox-record/2"},
        ]
        self.api.found["nuvlabox-state"] = [{"id": "x", "nuvlabox": {"href": "nuvlabox-record/1"}}]
        self.api.documents["nuvlabox-state/1"] = {"id": "nuvlabox-state/1", "state": "online"}
        self.assertEqual(self.run_job(self.fixture(), "find_silent_boxes"), {"state": "SUCCESS"})
        job = self.api.documents["job/1"]
        self.assertEqual((job["progress"], job["statusMessage"]), (60, "Silent: ['one']"))
        self.assertEqual(self.api.documents["nuvlabox-state/1"]["state"], "offline")
        parts = ['(nuvlabox/href="nuvlabox-record/%d" and updated < "now-%dm")' % one for one in ((1, 5), (2, 60))]
        self.assertEqual(self.api.asked("PUT", "nuvlabox-state")[0].body, {"$filter": " or ".join(parts)})

    def test_collects_with_a_connector(self):
        offers = json.dumps([{"name": "a"}, {"name": "b"}])
        self.api.documents["credential/1"] = {"id": "credential/1", "cloudKind": "site", "offers": offers}
        self.api.answers["POST", "virtual-machine"] = 409, {"status": 409, "message": "there", "resource-id": "there/1"}
        target = {"targetResource": {"href": "credential/1"}}
        host = self.fixture()
        self.assertEqual(self.run_job(host, "collect_offers", target), {"state": "SUCCESS"}, host.log())
        self.assertEqual([one.body["endpoint"] for one in self.api.asked("POST", "virtual-machine")], [URL, URL])
        job = self.api.documents["job/1"]
        self.assertEqual((job["progress"], job["affectedResources"]), (80, [{"href": "there/1"}]))


class ElasticsearchOfOurOwn(HostTest):
    def test_it_asks_the_next_server_and_tells_what_was_answered(self):
        elastic = Elastic()
        self.addCleanup(elastic.close)
        host = self.do(
            """
            from slipstream_host.dialects.elastic import Elasticsearch, url_of
            assert url_of('localhost') == 'http://localhost:9200' and url_of('a:1') == 'http://a:1'
            assert url_of('https://es/') == 'https://es'
            es = Elasticsearch(['127.0.0.1:1', %r])
            assert es.delete_by_query(index=['a', 'b'], body={}, conflicts='proceed')['deleted'] == 1
            for hosts, word in (([%r], 'answered 400'), (['127.0.0.1:1'], 'cannot reach')):
                try:
                    Elasticsearch(hosts).delete_by_query(index='bad', body={})
                except Exception as e:
                    assert word in str(e), e
            return 0
            """
            % (elastic.address, elastic.address)
        )
        elastic.report = {"deleted": 1}
        self.assertEqual(self.run_job(host, "one"), DONE, host.log())
        self.assertEqual(elastic.asked[0][0], "/a,b/_delete_by_query?conflicts=proceed")


class Elastic:
    """As much of Elasticsearch as a client needs to be content."""

    def __init__(self):
        self.asked, self.report = [], {}
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                owner.asked.append((self.path, body))
                self.reply(400 if self.path.startswith("/bad") else 200, owner.report)

            def do_GET(self):
                self.reply(200, {"version": {"number": "8.0.0"}, "tagline": "You Know, for Search"})

            def reply(self, status, report):
                kind = "application/json"
                if "compatible-with" in (self.headers.get("Accept") or ""):
                    kind = self.headers["Accept"]
                body = json.dumps(report).encode()
                self.send_response(status)
                self.send_header("X-Elastic-Product", "Elasticsearch")
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_arguments):
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.address = "127.0.0.1:%d" % self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def close(self):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


if __name__ == "__main__":
    unittest.main()
