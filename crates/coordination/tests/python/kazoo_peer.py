"""An original engine's side of a queue and an election: unmodified kazoo, told what to do line by line.

    python kazoo_peer.py HOSTS

Each line on standard input is a command with its arguments, split at spaces; each is answered by one line on standard
output. Values and names hold no spaces. The end of the input is the end of the peer.
"""

import logging
import sys
import threading

from kazoo.client import KazooClient

# Seconds. A peer that is killed is heard of no more, and its locks go after these.
SESSION_TIMEOUT = 2.0
PATIENCE = 60.0


class Peer:
    """What kazoo does, one method for each command."""

    def __init__(self, hosts):
        self.client = KazooClient(hosts=hosts, timeout=SESSION_TIMEOUT)
        self.client.start(timeout=PATIENCE)
        self.queue = None
        self.leader = None

    def open(self, path):
        """Uses this queue from now on."""
        self.queue = self.client.LockingQueue(path)

    def put(self, value, *priority):
        self.queue.put(value.encode(), *map(int, priority))

    def put_all(self, values, *priority):
        """Values between commas."""
        self.queue.put_all([value.encode() for value in values.split(",")], *map(int, priority))

    def get(self, timeout):
        value = self.queue.get(timeout=float(timeout))
        return "nothing" if value is None else value.decode()

    def holds_lock(self):
        return self.queue.holds_lock()

    def consume(self):
        return self.queue.consume()

    def release(self):
        return self.queue.release()

    def length(self):
        return len(self.queue)

    def drain(self, timeout):
        """Takes and consumes until nothing comes for so long; answers the values between commas."""
        values = []
        while True:
            value = self.queue.get(timeout=float(timeout))
            if value is None:
                return ",".join(values) or "nothing"
            values.append(value.decode())
            if not self.queue.consume():
                raise RuntimeError("not consumed: %s" % values[-1])

    def contenders(self, path):
        return ",".join(self.client.Election(path).contenders()) or "nobody"

    def stand(self, path, identifier):
        """Becomes a candidate; `leads` waits until it is the leader."""
        self.leader = Leader(self.client.Election(path, identifier))

    def leads(self):
        return self.leader.leads.wait(PATIENCE)

    def is_leader(self):
        return self.leader.leads.is_set()

    def resign(self):
        return self.leader.resign()


class Leader:
    """Leads from its election until it is told to resign."""

    def __init__(self, election):
        self.leads, self.resigning = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=election.run, args=(self.lead,), daemon=True)
        self.thread.start()

    def lead(self):
        self.leads.set()
        self.resigning.wait()

    def resign(self):
        self.resigning.set()
        self.thread.join(PATIENCE)
        return not self.thread.is_alive()


def main(hosts):
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    peer = Peer(hosts)
    print("ready", flush=True)
    for line in sys.stdin:
        name, *arguments = line.split()
        try:
            answer = getattr(peer, name)(*arguments)
        except Exception as error:  # whatever it is, the test wants to see it
            answer = "failed: %r" % error
        print("done" if answer is None else answer, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
