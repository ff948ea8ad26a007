"""The command line. Whatever prints before `Wire` is made prints into the log: nothing is in the protocol but file descriptor 3."""

import sys

USAGE = """usage: python3 -u -m slipstream_host actions [--dialect nuvla|slipstream] [--python3 ACTION] [--without FILE] DIR...
       python3 -u -m slipstream_host distributor FILE [ARGUMENT...]

An executor of slipstream-job starts this. To try a class file: slipstream-job actions test FILE"""


def main(arguments):
    if not arguments or arguments[0] not in ("actions", "distributor"):
        return refuse(USAGE)
    from .wire import Breach, NotStarted, Wire

    try:
        wire = Wire()
        setup = wire.setup()
    except (Breach, NotStarted) as error:
        return refuse("%s\n\n%s" % (error, USAGE))
    if setup is None:
        return 0
    from . import log

    log.begin(wire.stacks)
    if arguments[0] == "distributor":
        from . import script

        return script.run(wire, setup, arguments[1:])
    return actions(wire, setup, arguments[1:])


def actions(wire, setup, arguments):
    """Loads the class files, then does jobs until no more will come."""
    dialect, ported, left_out, folders = None, set(), set(), []
    words = iter(arguments)
    for word in words:
        if word == "--dialect":
            dialect = next(words, None)
            if dialect not in ("slipstream", "nuvla"):
                return refuse("--dialect is slipstream or nuvla\n\n" + USAGE)
        elif word == "--python3":
            ported.add(next(words, None))
        elif word == "--without":
            left_out.add(next(words, None))
        elif word.startswith("-"):
            return refuse("unknown option %s\n\n%s" % (word, USAGE))
        else:
            folders.append(word)
    if not folders:
        return refuse(USAGE)
    from .loader import load
    from .work import Worker
    from .wire import Breach

    offered, failed = load(folders, dialect, ported, left_out)
    worker = Worker(wire, setup, offered)
    wire.say("hello", worker.hello(failed))
    try:
        worker.work()
    except Breach as error:
        return refuse(str(error))
    return worker.leave()


def refuse(text):
    print(text, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
