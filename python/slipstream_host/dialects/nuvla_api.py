"""A small `nuvla.api`, where the real client is not installed: the same methods and results."""

import http.client

from ..client import Session, reason_of

DEFAULT_ENDPOINT = "https://nuvla.io"


class NuvlaError(Exception):
    """The server refused."""

    def __init__(self, reason, response=None):
        super().__init__(reason)
        self.reason, self.response = reason, response


class NuvlaResourceOperationNotAvailable(KeyError):
    """A document does not have this operation."""

    def __init__(self, reason, operation):
        super().__init__(reason)
        self.operation = operation


class ConnectionError(ConnectionError):
    """The server was not reached, or did not answer."""


class CimiResponse:
    """What was answered: `data`."""

    def __init__(self, data):
        self.data = data

    def __str__(self):
        return "%s: %s" % (type(self).__name__, self.data)


class CimiResource(CimiResponse):
    """A document."""

    def __init__(self, data):
        super().__init__(data)
        self.id, self.resource_type = data.get("id"), data.get("resource-type")

    @property
    def operations(self):
        return {one["rel"]: one for one in self.data.get("operations", ()) if "rel" in one}


class CimiCollection(CimiResource):
    """What a search found."""

    def __init__(self, data):
        super().__init__(data)
        self.count = data.get("count")
        self._made = None

    @property
    def resources(self):
        if self._made is None:
            self._made = [CimiResource(one) for one in self.data.get("resources", ())]
        return self._made

    def resources_generator(self):
        return iter(self.resources)

    def __iter__(self):
        return iter(self.resources)


class CloudEntryPoint(CimiResource):
    """What the server offers: `collections` has their places by their names."""

    def __init__(self, data):
        super().__init__(data)
        self.collections = {name: one["href"] for name, one in data.get("collections", {}).items()}
        self.base_uri = data.get("base-uri")


class Api:
    """The real client's methods."""

    def __init__(self, endpoint=DEFAULT_ENDPOINT, insecure=False, persist_cookie=True, cookie_file=None, reauthenticate=False,
                 login_creds=None, authn_header=None, debug=False, compress=False):
        self.endpoint = endpoint.rstrip("/")
        self.session = Session(endpoint, insecure, {"nuvla-authn-info": authn_header} if authn_header else None)
        self._entry_point = None
        if login_creds:
            self.login(_template(login_creds))

    def login(self, login_params):
        """Logs in; answers the response, of any status."""
        return self._send("POST", "session", body={"template": login_params})

    def login_password(self, username, password):
        return self.login(_template({"username": username, "password": password}))

    login_internal = login_password

    def login_apikey(self, key, secret):
        return self.login(_template({"key": key, "secret": secret}))

    def current_session(self):
        found = self.search("session")
        return found.resources[0].id if found.count else None

    def is_authenticated(self):
        return self.current_session() is not None

    def logout(self):
        session = self.current_session()
        if session is not None:
            self._answered("DELETE", session)

    @property
    def cloud_entry_point(self):
        if self._entry_point is None:
            self._entry_point = CloudEntryPoint(self._answered("GET", "cloud-entry-point"))
        return self._entry_point

    def get(self, resource_id, **kwargs):
        return CimiResource(self._answered("GET", resource_id, params=kwargs))

    def edit(self, resource_id, data, **kwargs):
        return CimiResource(self._answered("PUT", resource_id, body=data, params=kwargs))

    def edit_patch(self, resource_id, data, **kwargs):
        patch = {"Content-Type": "application/json-patch+json"}
        return CimiResource(self._answered("PUT", resource_id, body=data, params=kwargs, headers=patch))

    def delete(self, resource_id):
        return CimiResponse(self._answered("DELETE", resource_id))

    def delete_bulk(self, resource_type, filter, **kwargs):
        form = {"filter": _not_empty(filter)}
        return CimiResponse(self._answered("DELETE", resource_type, form=form, headers={"bulk": "yes"}))

    def operation_bulk(self, resource_type, filter, operation, data=None):
        body, place = dict(data or {}, filter=_not_empty(filter)), "%s/%s" % (resource_type, operation)
        return CimiResponse(self._answered("PATCH", place, body=body, headers={"bulk": "yes"}))

    def add(self, resource_type, data):
        return CimiResponse(self._answered("POST", resource_type, body=data))

    def search(self, resource_type, **kwargs):
        return CimiCollection(self._answered("PUT", resource_type, form=kwargs))

    def operation(self, resource, operation, data=None):
        return CimiResponse(self._answered("POST", "%s/%s" % (resource.id, operation), body=data))

    def hook(self, operation, data=None):
        return CimiResponse(self._answered("POST", "hook/" + operation, body=data))

    def _send(self, *args, **kwargs):
        try:
            return self.session.send(*args, **kwargs)
        except (OSError, http.client.HTTPException) as error:
            raise ConnectionError("cannot reach %s: %s" % (self.endpoint, error or type(error).__name__)) from error

    def _answered(self, *args, **kwargs):
        response = self._send(*args, **kwargs)
        if not response.ok:
            raise NuvlaError(reason_of(response), response)
        return response.json()


def filter_and(list_comparison):
    """Joins filters by `and`; those that are none or empty do not count."""
    return _join(list_comparison, " and ")


def filter_or(list_comparison):
    """Joins filters by `or`; those that are none or empty do not count."""
    return _join(list_comparison, " or ")


def _join(filters, word):
    filters = [one for one in filters if one]
    return "(%s)" % word.join(filters) if len(filters) > 1 else "".join(filters)


def _not_empty(filter):
    if not isinstance(filter, str) or not filter:
        raise NuvlaError("'filter' must be a non-empty string.")
    return filter


def _template(credentials):
    """What a login sends: the template that these credentials are for."""
    kind = "api-key" if "key" in credentials else "password"
    return dict(credentials, href="session-template/" + kind)
