"""Imported by the server that processes are forked from, so that they have all modules."""

from tests.faults.fork_server import import_everything

import_everything()
