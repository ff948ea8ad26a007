"""What an engine at work is given: a data directory with actions and distributors, and jobs of every kind."""

import os
from pathlib import Path

# An action: its name, and what it does with its job.
ACTIONS = {
    "collect_machines": """
        self.job.set_progress(20)
        self.job.set_status_message("fetched 120 of 600 servers")
        threading.Event().wait()
""",
    "collect_storage": """
        self.job.set_status_message("214 volumes")
""",
    "deploy_application": """
        raise RuntimeError("401 Unauthorized: the token of credential/cloud-a has expired")
""",
    "nightly_noop": """
        self.job.set_progress(100)
""",
}
ACTION = """
import threading

from slipstream.job.actions import action


@action("{name}")
class Action(object):
    def __init__(self, executor, job):
        self.job = job

    def do_work(self):{work}"""
DISTRIBUTOR = """
from time import sleep

from slipstream.job.base import main
from slipstream.job.distributor import Distributor


class Nightly(Distributor):
    def job_generator(self):
        while True:
            yield {"action": "nightly_noop", "targetResource": {"href": "cloud-entry-point"}}
            sleep(3600)

    def _get_jobs_type(self):
        return "nightly_noop"


if __name__ == "__main__":
    main(Nightly)
"""


def write(folder):
    """The programs, before the engine is started."""
    folder = Path(folder)
    for name, work in ACTIONS.items():
        place(folder / "actions" / f"{name}.py", ACTION.format(name=name, work=work))
    place(folder / "actions" / "resize_disk.sh", "#!/bin/sh\necho resized\n", 0o644)
    place(folder / "distributors" / "job_distributor_nightly_noop.py", DISTRIBUTOR)


def place(path, text, mode=0o755):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.chmod(path, mode)


def jobs(site):
    """Jobs of every state, some with texts that try to be more."""
    added = {}
    for place in range(24):
        added["success"] = site.add("collect_storage", targetResource={"href": f"credential/cloud-{place % 4}"})
    for _ in range(3):
        added["failed"] = site.add("deploy_application", name="<b>not bold</b>", description="& so on")
    for priority in (10, 100, 100):
        added["running"] = site.add("collect_machines", priority=priority)
    for priority in (5, 100, 999, 999, 999):
        added["queued"] = site.add("resize_disk", priority=priority)
    added["stopped"] = site.add("orchestrate")
    site.ok(site.api.post(f"/api/{added['stopped']}/stop"))
    wanted = {"success": "SUCCESS", "failed": "FAILED", "running": "RUNNING", "queued": "QUEUED", "stopped": "STOPPED"}
    for name, state in wanted.items():
        site.until(lambda: site.ok(site.api.get(f"/api/{added[name]}"))["state"] == state, f"{name} is {state}")
    site.until(lambda: site.ok(site.api.get(f"/api/{added['running']}"))["progress"] == 20, "it says how far it is")
    site.ok(site.api.post("/api/user", data={"username": "jane", "password": "a good password"}))
    operation = {"do": "delete", "filter": "action='collect_storage' and targetResource/href='credential/cloud-3'"}
    operation["expect"] = 24
    begun = site.ok(site.api.post("/api/job/bulk", data=operation))["resource-id"]
    site.until(lambda: site.ok(site.api.get(f"/api/{begun}"))["state"] == "SUCCESS", "the bulk operation ends")
    added["operation"] = begun
    added["executor"] = site.ok(site.api.get("/api/executor"))["executors"][0]["claimant"]
    return added
