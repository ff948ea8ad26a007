#!/bin/sh
# Does the jobs whose action is NAME.
#
# SLIPSTREAM_JOB is the job's id, SLIPSTREAM_TARGET what it works on, and the job's document comes on standard input.
# Exit code 0 is SUCCESS, any other FAILED. The last line that is printed becomes the job's message.
set -eu

# how far it is: a line of JSON on file descriptor 3
echo '{"report": {"progress": 50}}' >&3

echo "hello, ${SLIPSTREAM_TARGET:-nobody}"
