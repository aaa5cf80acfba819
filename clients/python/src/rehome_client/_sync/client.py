# Made by clients/generate.py from _async/client.py.
"""The synchronous client: all calls."""

from __future__ import annotations

from .deployment import Deployment
from .drains import Drains
from .events import Events
from .migrations import Migrations


class Client(Events, Migrations, Drains, Deployment):
    """A client of a deployment's servers.

    `base_url` is the address of a server or a load balancer. `token` is a token, or a function that returns the current
    one. Calls that are safe to repeat are retried for `retry_for` seconds if there is no response, or 429 or 503;
    `timeout` is for one attempt. `ca_file` has the authorities to trust instead of the system's; `certificate` is the
    client's own, `(certificate file, key file)`; `ssl_context` replaces both. The client sends a token unencrypted to
    another machine only with `without_tls`. `transport` is for tests.
    """
