"""Drives a server with the unmodified slipstream-api client, as the original engines and scripts do.

    python slipstream_api_client.py ENDPOINT USER PASSWORD

Prints one JSON line for each step that held, and at the end `ok`. Ends with 1 and a sentence on standard error at the
first one that did not. The server must have no executor that takes the jobs of this script: it edits them, and a job
that ended cannot be edited.
"""

import json
import os
import sys
import tempfile
import uuid
import warnings

# The client's own imports and its attribute names make noise that says nothing about the server.
warnings.simplefilter("ignore")

from slipstream.api import api as client  # noqa: E402

STOP = "http://schemas.dmtf.org/cimi/2/action/stop"


class Broken(Exception):
    """What the server did not do."""


def check(condition, message):
    if not condition:
        raise Broken(message)


def equal(found, wanted, what):
    check(found == wanted, "%s: expected %r, found %r" % (what, wanted, found))


def refused(status, what, call, *arguments, **options):
    """The call must be answered with this error status, in a body that the client understands."""
    try:
        call(*arguments, **options)
    except client.SlipStreamError as error:
        equal(error.response.status_code, status, what)
        body = error.response.json()
        equal(body.get("status"), status, what + ", status in the body")
        equal(body.get("message"), error.reason, what + ", message in the body")
        check(error.reason, what + ": no message")
        return error
    raise Broken("%s: expected status %d, but it was accepted" % (what, status))


def identifiers(collection):
    return [job.id for job in collection.resources_list]


class Walk:
    """The steps, in order; each relies on those before it."""

    def __init__(self, endpoint, user, password, cookie_file):
        self.endpoint, self.user, self.password, self.cookie_file = endpoint, user, password, cookie_file
        self.api = client.Api(endpoint=endpoint, cookie_file=cookie_file, insecure=True)
        # Marks the jobs of this run, so that searches see no others.
        self.target = "python-client/" + uuid.uuid4().hex
        self.mine = 'targetResource/href="%s"' % self.target
        self.jobs = []

    def add(self, **attributes):
        job = dict(action="python_client_test", targetResource={"href": self.target}, **attributes)
        return self.api.cimi_add("jobs", job)

    def search(self, filter=None, **options):
        return self.api.cimi_search("jobs", filter=filter or self.mine, **options)

    def entry_point(self):
        """The collections are found without a login."""
        entry_point = self.api.cimi_cloud_entry_point
        equal(entry_point.entry_points.get("jobs"), "job", "href of jobs")
        equal(entry_point.entry_points.get("sessions"), "session", "href of sessions")
        check(entry_point.json.get("baseURI", "").endswith("/api/"), "baseURI does not end with /api/")

    def anonymous(self):
        """Who is not logged in sees no session and no jobs."""
        equal(self.api.current_session(), None, "session of an anonymous caller")
        equal(self.api.is_authenticated(), False, "an anonymous caller is authenticated")
        error = refused(403, "anonymous search", self.search)
        equal(error.reason, "credentials required", "message for an anonymous search")

    def wrong_password(self):
        """A wrong password is refused, and nothing else comes with the answer."""
        response = self.api.login_internal(self.user, self.password + "x")
        equal(response.status_code, 403, "status of a login with a wrong password")
        equal(response.json().get("message"), "invalid credentials for '%s'" % self.user, "message for a wrong password")
        equal(self.api.is_authenticated(), False, "authenticated after a wrong password")

    def login(self):
        """The cookie of a login is kept and sent back."""
        response = self.api.login_internal(self.user, self.password)
        equal(response.status_code, 201, "status of a login")
        session = response.json().get("resource-id")
        check(str(session).startswith("session/"), "resource-id of a login is no session: %r" % session)
        equal(response.headers.get("Location"), session, "Location of a login")
        equal(self.api.current_session(), session, "own session")
        equal(self.api.cimi_get(session).json.get("username"), self.user, "username in the session")
        check(os.path.isfile(self.cookie_file), "the client kept no cookie")

    def kept_cookie(self):
        """Another process with the same cookie file is logged in."""
        other = client.Api(endpoint=self.endpoint, cookie_file=self.cookie_file, insecure=True)
        equal(other.is_authenticated(), True, "authenticated by a kept cookie")

    def add_jobs(self):
        """An add answers the new job's id."""
        equal(self.search().count, 0, "own jobs before the first add")
        for number in range(3):
            answer = self.add(name="job %d" % number, priority=900 + number)
            equal(answer.status, 201, "status of an add")
            identifier = answer.json.get("resource-id")
            check(str(identifier).startswith("job/"), "resource-id of an add is no job: %r" % identifier)
            equal(answer.message, "%s created" % identifier, "message of an add")
            self.jobs.append(identifier)
        equal(len(set(self.jobs)), 3, "different ids")

    def add_refused(self):
        """A job without an action is refused."""
        refused(400, "add without an action", self.api.cimi_add, "jobs", {"targetResource": {"href": self.target}})

    def read(self):
        """A job shows what was sent and what the server adds."""
        job = self.api.cimi_get(self.jobs[0])
        equal(job.id, self.jobs[0], "id")
        equal(job.action, "python_client_test", "action")
        equal(job.target_resource, {"href": self.target}, "target")
        equal(job.json.get("name"), "job 0", "name")
        check({"href": self.target} in job.affected_resources, "the target is not among the affected resources")
        equal(job.json.get("resourceURI"), "http://sixsq.com/slipstream/1/Job", "resourceURI")
        for attribute in ("created", "updated", "acl", "state", "progress"):
            check(attribute in job.json, "%s is missing" % attribute)
        for relation in ("edit", "delete", STOP):
            check(relation in job.operations_by_name, "operation %s is missing" % relation)

    def read_missing(self):
        """An id that nobody has is not found, by name."""
        identifier = "job/" + str(uuid.uuid4())
        error = refused(404, "read of a missing job", self.api.cimi_get, identifier)
        equal(error.reason, identifier + " not found", "message for a missing job")

    def edit(self):
        """An edit is merged into the document, which is answered whole."""
        answer = self.api.cimi_edit(self.jobs[0], {"description": "edited by \u00e9l\u00e8ve", "name": "renamed"})
        equal(answer.json.get("id"), self.jobs[0], "id in the answer to an edit")
        equal(answer.json.get("description"), "edited by \u00e9l\u00e8ve", "description in the answer")
        equal(answer.json.get("action"), "python_client_test", "an attribute that was not sent")
        again = self.api.cimi_get(self.jobs[0])
        equal(again.json.get("name"), "renamed", "name after the edit")

    def edit_removes(self):
        """An attribute that is selected and not sent is removed."""
        self.api.cimi_edit(self.jobs[0], {}, select="description")
        check("description" not in self.api.cimi_get(self.jobs[0]).json, "the description is still there")

    def edit_refused(self):
        """A wrong value is refused and changes nothing."""
        refused(400, "progress of 101", self.api.cimi_edit, self.jobs[0], {"progress": 101})
        check(self.api.cimi_get(self.jobs[0]).progress <= 100, "the refused progress was stored")

    def edit_of_odd_bytes(self):
        """A message with the name of a file that is no UTF-8 is taken; elsewhere such a text is refused by its place."""
        odd = os.fsdecode(b"caf\xe9.txt")
        answer = self.api.cimi_edit(self.jobs[0], {"statusMessage": "cannot read " + odd})
        equal(answer.json.get("statusMessage"), "cannot read caf\ufffd.txt", "message with half a surrogate pair")
        error = refused(400, "such a property", self.api.cimi_edit, self.jobs[0], {"properties": {"file": odd}})
        check("properties/file: " in error.reason, "no place in %r" % error.reason)

    def search_all(self):
        """A collection lists jobs under the name that the program asked for, with operations."""
        found = self.search()
        equal(found.count, 3, "count")
        equal(sorted(identifiers(found)), sorted(self.jobs), "ids")
        check("add" in found.operations_by_name, "the collection has no operation add")
        for job in found:
            check("edit" in job.operations_by_name, "an element has no operation edit")

    def search_counts(self):
        """`last=0` counts and lists nothing."""
        found = self.search(last=0)
        equal((found.count, identifiers(found)), (3, []), "count and ids with last=0")

    def search_filters(self):
        """`and`, `or`, parentheses and `!=`; single quotes as double ones."""
        named = self.search("(name='job 1' or name=\"job 2\") and " + self.mine)
        equal(sorted(identifiers(named)), sorted(self.jobs[1:]), "ids by two names")
        others = self.search('%s and name!="job 1"' % self.mine)
        equal(sorted(identifiers(others)), sorted([self.jobs[0], self.jobs[2]]), "ids by another name")
        refused(400, "filter without a value", self.search, "name=")

    def search_orders(self):
        """Filter, then order, then page; the count stays that of the matches."""
        order = ["renamed", "job 2", "job 1"]
        found = self.search(orderby="name:desc")
        equal([job.name for job in found], order, "descending names")
        page = self.search(orderby="name:desc", first=2, last=2)
        equal(([job.name for job in page], page.count), (order[1:2], 3), "second page of one, and count")
        rising = self.search(orderby=["action:asc", "name"], first=1, last=2)
        equal([job.name for job in rising], ["job 1", "job 2"], "ascending names")

    def search_selects(self):
        """`select` leaves other attributes out, in a search and in a read."""
        found = self.search(select=["id", "name"], orderby="name")
        equal(found.resources_list[0].json.get("name"), "job 1", "selected name")
        check("action" not in found.resources_list[0].json, "action was not selected")
        one = self.api.cimi_get(self.jobs[1], select="id,name")
        equal(one.json.get("name"), "job 1", "selected name of one job")
        check("action" not in one.json, "action of one job was not selected")

    def search_aggregates(self):
        """Aggregations come as an attribute of the collection, under their tags."""
        found = self.search(aggregation=["max:priority", "terms:targetResource/href"], last=0)
        equal(found.aggregations["max:priority"], {"value": 902.0}, "greatest priority")
        buckets = [{"key": self.target, "doc_count": 3}]
        equal(found.aggregations["terms:targetResource/href"]["buckets"], buckets, "targets")
        refused(400, "sum of texts", self.search, aggregation="sum:state")

    def search_follows(self):
        """A page that is followed by others names the place where they begin."""
        page = self.search(last=2)
        rest = self.search(last=2, after=page.next)
        equal(identifiers(page) + identifiers(rest), sorted(self.jobs), "ids of both pages")
        equal(hasattr(rest, "next"), False, "a page follows the last one")

    def stop(self):
        """Stopping goes by the full relation, and answers the document."""
        answer = self.api.cimi_operation(self.jobs[1], STOP)
        equal(answer.json.get("id"), self.jobs[1], "id in the answer to a stop")
        # The original leaves a QUEUED job as it is; stopping it is better.
        check(answer.json.get("state") in ("QUEUED", "STOPPED"), "state %r after a stop" % answer.json.get("state"))

    def stop_running(self):
        """A RUNNING job becomes STOPPED."""
        identifier = self.add(name="to be stopped").json["resource-id"]
        self.jobs.append(identifier)
        running = self.api.cimi_edit(identifier, {"state": "RUNNING", "progress": 10})
        equal((running.json.get("state"), running.json.get("progress")), ("RUNNING", 10), "state and progress")
        check(running.json.get("started"), "a job that runs has no start")
        equal(self.api.cimi_operation(identifier, STOP).json.get("state"), "STOPPED", "state after the stop")
        equal(self.api.cimi_get(identifier).state, "STOPPED", "state when read again")

    def final_is_final(self):
        """A job that ended is not begun again, and the same report twice is no error."""
        identifier = self.jobs[-1]
        refused(409, "RUNNING after the end", self.api.cimi_edit, identifier, {"state": "RUNNING"})
        equal(self.api.cimi_edit(identifier, {"state": "STOPPED"}).json.get("state"), "STOPPED", "the same end again")

    def delete(self):
        """A deleted job is gone."""
        for identifier in self.jobs:
            answer = self.api.cimi_delete(identifier)
            equal(answer.status, 200, "status of a delete")
            equal(answer.message, identifier + " deleted", "message of a delete")
            refused(404, "read of a deleted job", self.api.cimi_get, identifier)
        equal(self.search(last=0).count, 0, "own jobs after the deletes")

    def logout(self):
        """A logout ends the session, also for a copy of its cookie."""
        with open(self.cookie_file) as cookies:
            stolen = cookies.read()
        self.api.logout()
        equal(self.api.is_authenticated(), False, "authenticated after the logout")
        refused(403, "search after the logout", self.search)
        copy = self.cookie_file + ".copy"
        with open(copy, "w") as cookies:
            cookies.write(stolen)
        other = client.Api(endpoint=self.endpoint, cookie_file=copy, insecure=True)
        equal(other.is_authenticated(), False, "authenticated by a cookie whose session was logged out")

    def login_again(self):
        """A client that may log in by itself does so when it is told 403."""
        credentials = {"username": self.user, "password": self.password}
        fresh = client.Api(endpoint=self.endpoint, cookie_file=self.cookie_file + ".fresh", insecure=True,
                           reauthenticate=True, login_creds=credentials)
        equal(fresh.cimi_search("jobs", filter=self.mine, last=0).count, 0, "search with a login on the way")
        equal(fresh.is_authenticated(), True, "authenticated after a login on the way")
        fresh.logout()

    STEPS = (entry_point, anonymous, wrong_password, login, kept_cookie, add_jobs, add_refused, read, read_missing, edit,
             edit_removes, edit_refused, edit_of_odd_bytes, search_all, search_counts, search_filters, search_orders, search_selects,
             search_aggregates, search_follows, stop, stop_running, final_is_final, delete, logout, login_again)

    def run(self):
        for step in self.STEPS:
            try:
                step(self)
            except Exception as error:
                raise Broken("%s (%s): %s: %s" % (step.__name__, step.__doc__, type(error).__name__, error)) from error
            print(json.dumps({"step": step.__name__, "held": step.__doc__}), flush=True)


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    with tempfile.TemporaryDirectory() as folder:
        try:
            Walk(*sys.argv[1:], cookie_file=os.path.join(folder, "cookies.txt")).run()
        except Broken as broken:
            print(broken, file=sys.stderr)
            sys.exit(1)
    print("ok")


if __name__ == "__main__":
    main()
