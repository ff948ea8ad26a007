"""How requests get to the server: by the executor's socket, under a token that stands for one job or one script."""

import os


class Access:
    """The way of one job, or of one distributor's script."""

    def __init__(self, setup, api, directory=None):
        self.url = (setup.get("url") or "http://localhost").rstrip("/")
        self.insecure = bool(setup.get("insecure"))
        self.socket = setup.get("socket")
        self.directory = directory
        self._api = api or ""

    @property
    def token(self):
        """The host of `http://<token>/api`. The socket knows by it whose requests these are."""
        return self._api.partition("://")[2].partition("/")[0]

    def serves(self, endpoint):
        """Whether the socket is the way to this endpoint."""
        return bool(self.socket and self.token) and (endpoint or "").rstrip("/") == self.url

    def cookie_file(self):
        """Where the real clients may keep cookies: with the job, not in the home of the user."""
        return os.path.join(self.directory or os.getcwd(), "cookies-%s.txt" % self.token)


# That of the job under way, for clients that an action makes itself.
current = None


def use(access):
    """Makes this the way of all clients that are made from now on."""
    global current
    current = access
