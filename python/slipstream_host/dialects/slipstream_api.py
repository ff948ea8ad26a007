"""A small `slipstream.api`, where the real client is not installed: its methods for CIMI, with the same results."""

import http.client

from ..client import Session, reason_of
from ..spelling import snake_case

DEFAULT_ENDPOINT = "https://nuv.la"
PARAMETERS = ("first", "last", "filter", "select", "expand", "orderby", "aggregation")


class SlipStreamError(Exception):
    """The server refused."""

    def __init__(self, reason, response=None):
        super().__init__(reason)
        self.reason, self.response = reason, response


class ConnectionError(ConnectionError):
    """The server was not reached, or did not answer."""


class CimiResponse:
    """A document: `json`, and each of its members as an attribute in snake case."""

    def __init__(self, json):
        self.json = json
        for name, value in json.items():
            name = snake_case(name)
            if not hasattr(self, name):
                setattr(self, name, value)

    def __str__(self):
        return "%s: %s" % (type(self).__name__, self.json)


class CimiResource(CimiResponse):
    """A document with its operations."""

    def __init__(self, json):
        self.operations_by_name = {one["rel"]: one for one in json.get("operations", ()) if "rel" in one}
        super().__init__(json)


class CimiCollection(CimiResource):
    """What a search found."""

    def __init__(self, json, resource_type):
        self.resource_type = resource_type
        self._found = json.get(resource_type, [])
        self._made = None
        super().__init__(json)

    @property
    def resources_list(self):
        if self._made is None:
            self._made = [CimiResource(one) for one in self._found]
        return self._made

    def resources(self):
        return iter(self.resources_list)

    def __iter__(self):
        return self.resources()


class CloudEntryPoint(CimiResource):
    """What the server offers: `entry_points` has the places of collections by their names."""

    def __init__(self, json):
        super().__init__(json)
        self.entry_points = {name: one["href"] for name, one in json.items() if isinstance(one, dict) and "href" in one}


class Api:
    """The CIMI part of the real client."""

    def __init__(self, endpoint=DEFAULT_ENDPOINT, cookie_file=None, insecure=False, reauthenticate=False, login_creds=None):
        self.endpoint = endpoint
        self.session = Session(endpoint, insecure)
        self._entry_point = None
        if login_creds:
            self.login(_template(login_creds))

    def login(self, login_params):
        """Logs in; answers the response, of any status."""
        return self._send("POST", "session", body={"sessionTemplate": login_params})

    def login_internal(self, username, password):
        return self.login(_template({"username": username, "password": password}))

    def login_apikey(self, key, secret):
        return self.login(_template({"key": key, "secret": secret}))

    def current_session(self):
        found = self.cimi_search("sessions")
        return found.resources_list[0].id if found.count else None

    def is_authenticated(self):
        return self.current_session() is not None

    def logout(self):
        session = self.current_session()
        if session is not None:
            self._answered("DELETE", session)

    @property
    def cimi_cloud_entry_point(self):
        if self._entry_point is None:
            self._entry_point = CloudEntryPoint(self._answered("GET", "cloud-entry-point"))
        return self._entry_point

    def cimi_get(self, resource_id, **kwargs):
        cimi, _ = _split(kwargs)
        return CimiResource(self._answered("GET", resource_id, params=cimi))

    def cimi_edit(self, resource_id, data, **kwargs):
        cimi, _ = _split(kwargs)
        return CimiResponse(self._answered("PUT", resource_id, body=data, params=cimi))

    def cimi_delete(self, resource_id):
        return CimiResponse(self._answered("DELETE", resource_id))

    def cimi_add(self, resource_type, data):
        return CimiResponse(self._answered("POST", self._collection(resource_type), body=data))

    def cimi_search(self, resource_type, **kwargs):
        cimi, others = _split(kwargs)
        found = self._answered("PUT", self._collection(resource_type), form=cimi, params=others)
        return CimiCollection(found, resource_type)

    def cimi_operation(self, resource_id, operation, data=None):
        href = self.cimi_get(resource_id).operations_by_name.get(operation, {}).get("href")
        if not href:
            raise KeyError("Operation '%s' not found." % operation)
        return CimiResource(self._answered("POST", href, body=data))

    def _collection(self, resource_type):
        href = self.cimi_cloud_entry_point.entry_points.get(resource_type)
        if href is None:
            raise KeyError("Resource type '%s' not found." % resource_type)
        return href

    def _send(self, *args, **kwargs):
        try:
            return self.session.send(*args, **kwargs)
        except (OSError, http.client.HTTPException) as error:
            raise ConnectionError("cannot reach %s: %s" % (self.endpoint, error or type(error).__name__)) from error

    def _answered(self, *args, **kwargs):
        response = self._send(*args, **kwargs)
        if not response.ok:
            raise SlipStreamError(reason_of(response), response)
        return response.json()


def _split(parameters):
    """The parameters of CIMI, with the `$` that they have on the way, and all others."""
    cimi = {"$" + name: value for name, value in parameters.items() if name in PARAMETERS}
    return cimi, {name: value for name, value in parameters.items() if name not in PARAMETERS}


def _template(credentials):
    """What a login sends: the template that these credentials are for."""
    kind = "api-key" if "key" in credentials else "internal"
    return dict(credentials, href="session-template/" + kind)
