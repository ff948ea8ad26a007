"""Searches jobs with the unmodified slipstream-api client, and compares what is found with what was expected.

    python slipstream_api_searches.py ENDPOINT USER PASSWORD CASES

CASES is a file of JSON lines. Each has `search`, the options of `cimi_search`, and either `count`, `ids` and perhaps
`selected`, the attributes of each job found; or `status` and `message`, the error that the client must raise. Prints one
line for each kind of case with how many held, and at the end `ok`. Ends with 1 and a sentence on standard error at the
first one that did not.
"""

import collections
import json
import os
import sys
import tempfile

from slipstream_api_client import client, equal, identifiers, refused


def found(api, case):
    collection = api.cimi_search("jobs", **case["search"])
    equal(collection.count, case["count"], "count")
    equal(identifiers(collection), case["ids"], "ids")
    for job in collection.resources_list:
        equal(sorted(job.json), sorted(case.get("selected", job.json)), "attributes of a job")


def not_found(api, case):
    error = refused(case["status"], "status", api.cimi_search, "jobs", **case["search"])
    equal(error.reason, case["message"], "message")


def main():
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    endpoint, user, password, cases = sys.argv[1:]
    held = collections.Counter()
    with tempfile.TemporaryDirectory() as folder, open(cases, encoding="utf-8") as lines:
        api = client.Api(endpoint=endpoint, cookie_file=os.path.join(folder, "cookies.txt"), insecure=True)
        equal(api.login_internal(user, password).status_code, 201, "status of a login")
        for line in lines:
            case = json.loads(line)
            try:
                (not_found if "status" in case else found)(api, case)
            except Exception as error:
                sys.exit("%s %r: %s: %s" % (case["kind"], case["search"], type(error).__name__, error))
            held[case["kind"]] += 1
    for kind, count in held.items():
        print("%s: %d" % (kind, count))
    print("ok")


if __name__ == "__main__":
    main()
