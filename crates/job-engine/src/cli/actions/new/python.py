"""Does the jobs whose action is NAME."""

from slipstream.job.actions import action


@action("NAME")
class CLASS(object):
    def __init__(self, executor, job):
        self.job = job

    def do_work(self):
        """An exception makes the job FAILED, with its text as the message."""
        target = self.job.get("targetResource", {}).get("href", "nobody")
        self.job.set_progress(50)
        self.job.set_status_message("hello, %s" % target)
