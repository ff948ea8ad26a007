"""Runs Python classes as actions, and distributor scripts, for an executor or a distributor of slipstream-job.

    python3 -u -m slipstream_host actions DIR...
    python3 -u -m slipstream_host distributor FILE [ARGUMENT...]

Class files and scripts that were written for SlipStream's and Nuvla's job engines run as they are. Standard library
alone, CPython from 3.7 on. The protocol: docs/action-host-protocol.md.
"""

import sys

# What follows is for Python 2 as well: an older interpreter reads only this file.
OLDEST = (3, 7)

if sys.version_info < OLDEST:
    needed, found = [".".join(str(part) for part in version) for version in (OLDEST, sys.version_info[:3])]
    sys.stderr.write("class files and scripts need Python %s or newer, and %s is %s\n" % (needed, sys.executable, found))
    sys.exit(2)
