"""Runs a command in a pseudo-terminal of 80 columns and types into it.

Usage: terminal.py STEPS COMMAND…

STEPS is JSON: a list of [TEXT, KEYS]: once TEXT has been shown after the step before, KEYS are typed; after a text that
ends in a colon and a blank not before the terminal hides what is typed. What was shown goes to standard output; ends as
the command did, or with 128 and the number of the signal that ended it.
"""
import fcntl
import json
import os
import pty
import select
import struct
import sys
import termios
import time

LIMIT = 60

steps, command = json.loads(sys.argv[1]), sys.argv[2:]
process, terminal = pty.fork()
if process == 0:
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    os.execvp(command[0], command)

shown, seen, deadline = b"", 0, time.monotonic() + LIMIT
while True:
    if time.monotonic() > deadline:
        sys.stdout.buffer.write(shown)
        sys.exit("not within %d seconds: %r" % (LIMIT, steps))
    if select.select([terminal], [], [], 0.1)[0]:
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # the command has ended
            piece = b""
        if not piece:
            break
        shown += piece
    if steps:
        found = shown.find(steps[0][0].encode(), seen)
        is_hidden = not termios.tcgetattr(terminal)[3] & termios.ECHO
        if found >= 0 and (is_hidden or not steps[0][0].endswith(": ")):
            seen = len(shown)
            os.write(terminal, steps.pop(0)[1].encode())
_, status = os.waitpid(process, 0)
sys.stdout.buffer.write(shown)
if steps:
    sys.exit("the command ended before %r" % (steps,))
code = os.waitstatus_to_exitcode(status)
sys.exit(128 - code if code < 0 else code)
