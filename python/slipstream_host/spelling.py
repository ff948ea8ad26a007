"""Names of attributes in the spellings of the two dialects, and of Python."""

import re


def snake_case(name):
    """`targetResource` as `target_resource`, `resourceURI` as `resource_uri`."""
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name).lower()


def kebab_case(name):
    """`statusMessage` as `status-message`: SlipStream's spelling as Nuvla's."""
    return snake_case(name).replace("_", "-")


def camel_case(name):
    """`status-message` as `statusMessage`: Nuvla's spelling as SlipStream's."""
    first, *others = name.split("-")
    return first + "".join(other[:1].upper() + other[1:] for other in others)
