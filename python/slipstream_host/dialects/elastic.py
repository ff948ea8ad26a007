"""`executor.es`: Elasticsearch, for actions that ask it directly."""

import functools
import json

DEFAULT_PORT = 9200


def connect(hosts):
    """The real client if it is installed, else one that can delete by query. No request is made yet."""
    try:
        import elasticsearch
    except ImportError:
        return Elasticsearch(hosts)
    return WithoutDocType(elasticsearch.Elasticsearch([url_of(host) for host in hosts]))


class WithoutDocType:
    """Drops `doc_type`, which clients and servers refuse from release 8 on, as does OpenSearch from 2 on."""

    def __init__(self, client):
        self._client = client

    def __getattr__(self, name):
        found = getattr(self._client, name)
        if not callable(found):
            return found

        @functools.wraps(found)
        def call(*args, **kwargs):
            kwargs.pop("doc_type", None)
            return found(*args, **kwargs)

        return call


class ElasticsearchError(Exception):
    """No server did what was asked."""


class Elasticsearch:
    """As much of the client as class files use."""

    def __init__(self, hosts):
        self._urls = [url_of(host) for host in hosts]

    def delete_by_query(self, index, body=None, doc_type=None, **parameters):
        """Deletes what the query finds; answers the server's report."""
        if isinstance(index, (list, tuple)):
            index = ",".join(index)
        return self._post("/%s/_delete_by_query" % index, body, parameters)

    def _post(self, path, body, parameters):
        """Asks one server after the other until one can be reached."""
        from urllib.error import HTTPError, URLError
        from urllib.parse import urlencode
        from urllib.request import Request, urlopen

        query = "?" + urlencode(parameters) if parameters else ""
        problem = "no server is configured"
        for url in self._urls:
            asked = Request(url + path + query, json.dumps(body).encode(), {"Content-Type": "application/json"})
            try:
                with urlopen(asked, timeout=120) as answer:
                    return json.load(answer)
            except HTTPError as error:
                said = error.read().decode("utf-8", "replace")
                raise ElasticsearchError("%s answered %d: %s" % (url, error.code, said)) from error
            except (URLError, OSError) as error:
                problem = "cannot reach %s: %s" % (url, getattr(error, "reason", error))
        raise ElasticsearchError(problem)


def url_of(host):
    """`localhost` and `localhost:9201` as URLs."""
    if "://" in host:
        return host.rstrip("/")
    return "http://" + (host if ":" in host else "%s:%d" % (host, DEFAULT_PORT))
