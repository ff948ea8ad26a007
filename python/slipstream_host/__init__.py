"""Runs Python classes as actions, and distributor scripts, for an executor or a distributor of slipstream-job.

    python3 -u -m slipstream_host actions DIR...
    python3 -u -m slipstream_host distributor FILE [ARGUMENT...]

Class files and scripts that were written for SlipStream's and Nuvla's job engines run as they are. Standard library
alone, CPython from 3.9 on. The protocol: docs/action-host-protocol.md.
"""
