"""What becomes of a process of the host, whatever its jobs do: decision 21."""

import ast
import os
import select
import signal
import subprocess
import sys
import textwrap
import unittest

from support import LIMIT, PACKAGE, HostTest

CANCELLED = {"state": "FAILED", "message": "cancelled"}
DONE = {"state": "SUCCESS", "return-code": 0}


class Interpreter(unittest.TestCase):
    def start(self, version):
        """How the package starts on an interpreter that says it is of this version."""
        code = "import sys; sys.version_info = %r; import slipstream_host; print('goes on')" % (version,)
        command = [sys.executable, "-B", "-c", code]
        return subprocess.run(command, cwd=PACKAGE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=LIMIT)

    def test_one_that_is_too_old_is_told_so(self):
        for version, text in (((2, 7, 18, "final", 0), "2.7.18"), ((3, 6, 15, "final", 0), "3.6.15")):
            with self.subTest(text):
                ran = self.start(version)
                said = "class files and scripts need Python 3.7 or newer, and %s is %s\n" % (sys.executable, text)
                self.assertEqual((ran.returncode, ran.stdout, ran.stderr.decode()), (2, b"", said))
        self.assertEqual(self.start((3, 7, 0, "final", 0)).stdout, b"goes on\n")

    def test_the_file_that_says_so_is_for_python_2_as_well(self):
        with open(os.path.join(PACKAGE, "slipstream_host", "__init__.py"), "rb") as file:
            text = file.read()
        # without words that Python 2 does not know, in the characters that it reads
        text.decode("ascii")
        names = {type(node).__name__ for node in ast.walk(ast.parse(text))}
        self.assertFalse(names & {"JoinedStr", "AnnAssign", "AsyncFunctionDef", "NamedExpr", "Nonlocal", "Starred"}, names)
        self.assertNotIn(b"print(", text)


class Process(HostTest):
    def test_the_last_job_ends_before_the_end_of_orders(self):
        host = self.do("return 0")
        self.assertEqual(self.run_job(host, "one"), DONE)
        self.assertEqual(host.end(), 0)
        self.assertIsNone(host.line())

    def test_what_prints_is_the_log_alone(self):
        host = self.do("print('in', sys.stdin.read()); os.write(1, b'raw\\n'); sys.stderr.write('err\\n'); return 0")
        self.assertEqual(self.run_job(host, "one"), DONE)
        for text in ("in \n", "raw\n", "err\n"):
            self.assertIn(text, host.log())

    def test_what_cannot_be_written_fails_nobody(self):
        host = self.do("print('\\udcff', 'é'); logging.info('\\udcff'); self.job; return 0")
        self.assertEqual(self.run_job(host, "one"), DONE)
        self.assertIn("\\udcff é", host.log())

    def test_a_message_with_a_lone_surrogate_is_a_line(self):
        host = self.do("raise ValueError('a\\udcffb')")
        self.assertEqual(self.run_job(host, "one"), {"state": "FAILED", "message": "a?b"})

    def test_a_message_longer_than_a_line_is_cut_in_its_middle(self):
        host = self.do("raise ValueError('begin' + '\\0' * 3000000 + 'end')")
        message = self.run_job(host, "one")["message"]
        self.assertTrue(message.startswith("begin") and message.endswith("end"))
        self.assertLess(len(message), 100000)

    def test_a_child_program_reads_no_orders_and_has_no_reports(self):
        script = "import os,sys; print('read', repr(sys.stdin.read())); os.fstat(3)"
        host = self.do("return subprocess.run([sys.executable, '-c', %r]).returncode" % script)
        self.assertEqual(self.run_job(host, "one"), {"state": "SUCCESS", "return-code": 1})
        self.assertIn("read ''", host.log())
        self.assertIn("Bad file descriptor", host.log())

    def test_log_lines_have_levels(self):
        host = self.do("logging.warning('one\\ntwo'); logging.getLogger('x').info('three'); logging.debug('no'); return 0")
        self.run_job(host, "one")
        self.assertIn("<4>one\n<4>two\n<6>x: three\n", host.log())
        self.assertNotIn("no\n", host.log())

    def test_usr1_shows_where_threads_are(self):
        host = self.do("print('begun'); time.sleep(60)")
        self.assertFalse(self.hello["stacks"])
        self.begin(host, "one")
        host.wait_for("begun")
        host.signal(signal.SIGUSR1)
        host.wait_for("in do_work")

    def test_usr1_ends_nobody_while_its_handler_is_put_back(self):
        # A thread that an action has left may get the signal, at any moment.
        code = """
            import faulthandler, os, signal, threading
            from slipstream_host import log

            def asked_first(call):
                def asked(*arguments, **options):
                    os.kill(os.getpid(), signal.SIGUSR1)
                    return call(*arguments, **options)
                return asked

            left = threading.Event()
            threading.Thread(target=left.wait, daemon=True).start()
            for name in ("unregister", "register"):
                setattr(faulthandler, name, asked_first(getattr(faulthandler, name)))
            for _ in range(3):
                log.show_threads(2)
                signal.signal(signal.SIGUSR1, signal.SIG_DFL)
            log.show_threads(2)
            os.kill(os.getpid(), signal.SIGUSR1)
            """
        ran = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code)],
            env=dict(os.environ, PYTHONPATH=PACKAGE),
            stderr=subprocess.PIPE,
            timeout=LIMIT,
        )
        said = ran.stderr.decode()
        self.assertEqual((ran.returncode, said.count("Current thread")), (0, 1), said)

    def test_usr1_shows_it_where_the_executor_asks_and_not_in_the_log(self):
        shown, stacks = os.pipe()
        self.addCleanup(os.close, shown)
        child = "import os; os.fstat(4)"
        host = self.do(
            """
            print('child', subprocess.run([sys.executable, "-c", %r], close_fds=False).returncode)
            signal.signal(signal.SIGUSR1, lambda *_: print('mine'))
            if self.job['id'] == 'job/1':
                return 0
            signal.signal(signal.SIGUSR1, signal.SIG_DFL)
            return 0
            """
            % child,
            stacks=stacks,
        )
        os.close(stacks)
        self.assertTrue(self.hello["stacks"])
        # Idle, and after jobs that have put another handler in its place.
        for job in (None, {"id": "job/1"}, {"id": "job/2"}):
            if job:
                self.assertEqual(self.run_job(host, "one", job), DONE)
            host.signal(signal.SIGUSR1)
            said = ""
            while "in main\n" not in said:
                ready, _, _ = select.select([shown], [], [], LIMIT)
                self.assertTrue(ready, said + host.log())
                more = os.read(shown, 65536).decode()
                self.assertTrue(more, host.log())
                said += more
        self.assertIn("child 1", host.log())
        for text in ("most recent call first", "mine"):
            self.assertNotIn(text, host.log())
        self.assertEqual(host.end(), 0)

    def test_exits(self):
        rows = [("sys.exit()", "sys.exit()"), ("sys.exit(3)", "sys.exit(3)"), ("sys.exit('no')", "sys.exit(no)")]
        for body, text in rows:
            with self.subTest(body):
                host = self.do(body)
                self.assertEqual(self.run_job(host, "one"), {"state": "FAILED", "message": "the action called " + text})
                self.assertEqual(self.run_job(host, "one")["state"], "FAILED", "and the process goes on")

    def test_any_other_exception_that_is_no_exception(self):
        host = self.do("raise KeyboardInterrupt('ctrl')")
        self.assertEqual(self.run_job(host, "one"), {"state": "FAILED", "message": "ctrl"})

    def test_the_main_thread_does_the_work_so_that_alarms_ring(self):
        host = self.do(
            """
            def ring(*_):
                raise TimeoutError('rang')
            signal.signal(signal.SIGALRM, ring)
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            time.sleep(60)
            """
        )
        self.assertEqual(self.run_job(host, "one"), {"state": "FAILED", "message": "rang"})

    def test_an_unknown_action_is_given_back(self):
        host = self.do("return 0")
        self.assertEqual(self.run_job(host, "other")["state"], "RELEASED")
        self.assertEqual(self.run_job(host, "one"), DONE)

    def test_without_its_directory_a_job_does_not_begin(self):
        host = self.do("return 0")
        end = self.run_job(host, "one", directory=os.path.join(self.folder, "gone"))
        self.assertEqual((end["state"], end["retire"]), ("RELEASED", True))

    def test_it_is_not_started_by_hand(self):
        host = self.program(["actions", self.folder], setup={"protocols": [2]})
        self.assertEqual(host.end(), 2)
        self.assertIn("version 1", host.log())

    def test_orders_that_break_the_protocol(self):
        for line in (b"nonsense\n", b'{"later":{}}\n', b"[1]\n", b'{"run":{},"b":{}}\n', b'{"run":' + b"x" * 2000000 + b"\n"):
            with self.subTest(line[:20]):
                host = self.do("return 0")
                try:
                    host.write(line)
                except BrokenPipeError:
                    pass
                self.assertEqual(host.process.wait(60), 2)

    def test_it_ends_without_threads_that_do_not(self):
        host = self.do("threading.Thread(target=time.sleep, args=(600,)).start(); return 0")
        self.assertEqual(self.run_job(host, "one"), dict(DONE, retire=True))
        self.assertEqual(host.end(), 0)


class Cancelling(HostTest):
    def cancelled(self, body):
        host = self.do("print('begun', flush=True)\n" + body)
        self.begin(host, "one")
        host.wait_for("begun")
        host.signal()
        self.assertEqual(self.ended(host), CANCELLED)
        return host

    def test_whatever_waits_is_left(self):
        bodies = [
            "time.sleep(60)",
            "threading.Event().wait(60)",
            "import queue; queue.Queue().get()",
            "lock = threading.Lock(); lock.acquire(); lock.acquire()",
            "thread = threading.Thread(target=time.sleep, args=(60,), daemon=True); thread.start(); thread.join()",
            "os.read(os.pipe()[0], 1)",
            "import socket; ends = socket.socketpair(); ends[0].recv(1)",
            "subprocess.run(['sleep', '60'])",
            "while True: pass",
        ]
        for body in bodies:
            with self.subTest(body):
                host = self.do("print('begun', flush=True)\n" + body)
                self.begin(host, "one")
                host.wait_for("begun")
                host.signal()
                end = self.ended(host)
                end.pop("retire", None)
                self.assertEqual(end, CANCELLED)

    def test_a_loop_that_tries_again_does_not_eat_it(self):
        self.cancelled("while True:\n    try:\n        time.sleep(60)\n    except Exception:\n        pass")

    def test_what_cleans_up_does(self):
        host = self.cancelled("try:\n    time.sleep(60)\nfinally:\n    print('cleaned')")
        self.assertIn("cleaned", host.log())

    def test_the_stop_event_is_set(self):
        host = self.cancelled(
            "event = self.executor.stop_event\ntry:\n    time.sleep(60)\nfinally:\n    print('event', event.is_set())"
        )
        self.assertIn("event True", host.log())

    def test_the_next_job_is_done(self):
        host = self.do("print('begun', flush=True); time.sleep(60 if self.job['targetResource']['href'] == 'long' else 0); return 0")
        self.begin(host, "one", {"targetResource": {"href": "long"}})
        host.wait_for("begun")
        host.signal()
        self.assertEqual(self.ended(host), CANCELLED)
        self.assertEqual(self.run_job(host, "one"), DONE)

    def test_one_that_comes_before_the_job_has_begun(self):
        """It is given back: whether its stop was meant, nobody knows here."""
        host = self.do("return 0")
        self.assertEqual(self.run_job(host, "one"), DONE)
        host.signal()
        end = {"state": "RELEASED", "message": "stopped before it began", "retire": True}
        self.assertEqual(self.run_job(host, "one"), end)

    def test_none_is_lost(self):
        """Wherever it arrives between the order and the work."""
        for delay in range(10):
            host = self.do("time.sleep(60)")
            self.begin(host, "one")
            select.select([], [], [], delay / 10000)
            host.signal()
            self.assertIn(self.ended(host)["message"], ("cancelled", "stopped before it began"))

    def test_a_program_that_idles_ends_with_its_orders_all_the_same(self):
        host = self.do("return 0")
        host.signal()
        self.assertEqual(host.end(), 0)

    def test_a_forked_child_dies_of_it(self):
        host = self.do(
            """
            begun, begin = os.pipe()
            child = os.fork()
            if child == 0:
                os.write(begin, b'x')
                time.sleep(60)
                os._exit(0)
            os.read(begun, 1)
            os.kill(child, signal.SIGTERM)
            return os.waitpid(child, 0)[1]
            """
        )
        self.assertEqual(self.run_job(host, "one"), {"state": "SUCCESS", "return-code": int(signal.SIGTERM)})


class Children(HostTest):
    def test_a_child_that_comes_back_ends_and_answers_nothing(self):
        rows = [("return 0", 0), ("sys.exit(7)", 7), ("raise ValueError('child')", 1), ("sys.exit('x')", 1)]
        for body, code in rows:
            with self.subTest(body):
                child = "child = os.fork()\nif child == 0:\n    %s\nreturn os.waitpid(child, 0)[1] >> 8" % body
                host = self.do(child)
                self.assertEqual(self.run_job(host, "one"), {"state": "SUCCESS", "return-code": code})
                self.assertEqual(self.run_job(host, "one"), {"state": "SUCCESS", "return-code": code})
                self.assertEqual(host.end(), 0)
                self.assertIsNone(host.line(), "nobody else holds the reports")

    def test_multiprocessing(self):
        host = self.do("import multiprocessing as m\nwith m.get_context('fork').Pool(2) as p:\n    return sum(p.map(abs, [-1, 2]))")
        self.assertEqual(self.run_job(host, "one"), {"state": "SUCCESS", "return-code": 3})

    def test_what_it_forks_ends_by_sigterm(self):
        host = self.do("p = os.fork()\nif p == 0:\n    os.kill(os.getpid(), signal.SIGTERM)\n    os._exit(7)\nreturn os.WTERMSIG(os.waitpid(p, 0)[1])")
        self.assertEqual(self.run_job(host, "one"), {"state": "SUCCESS", "return-code": 15})

    def test_a_child_that_is_left_retires_the_process(self):
        host = self.do("subprocess.Popen(['sleep', '600']); return 0")
        self.assertEqual(self.run_job(host, "one"), dict(DONE, retire=True))

    def test_children_that_have_ended_do_not(self):
        host = self.do("p = subprocess.Popen(['true']); os.waitid(os.P_PID, p.pid, os.WEXITED | os.WNOWAIT); return 0")
        self.assertEqual(self.run_job(host, "one"), DONE)


class PutBack(HostTest):
    def test_what_a_job_changes_is_put_back(self):
        host = self.do(
            """
            found = [os.getcwd(), os.umask(0o022), os.environ.get('LEFT'), 'HOME' in os.environ, sys.stdout is sys.__stdout__]
            found += [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGALRM, signal.SIGHUP)]
            print('found', found)
            os.chdir('/'); os.umask(0o777); os.environ['LEFT'] = 'x'; os.environ.pop('HOME', None)
            sys.stdout = open(os.devnull, 'w')
            for one in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM, signal.SIGHUP):
                signal.signal(one, lambda *_: print('mine'))
            signal.alarm(1)
            return 0
            """
        )
        for _ in range(2):
            self.assertEqual(self.run_job(host, "one"), DONE)
        first, second = [line for line in host.log().splitlines() if line.startswith("found")]
        self.assertEqual(first, second)
        host.end()
        self.assertNotIn("mine", host.log())

    def test_after_its_own_handler_the_next_job_can_be_cancelled(self):
        host = self.do(
            """
            if self.job['targetResource']['href'] == 'first':
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                return 0
            print('begun', flush=True)
            time.sleep(60)
            """
        )
        self.assertEqual(self.run_job(host, "one", {"targetResource": {"href": "first"}}), DONE)
        self.begin(host, "one")
        host.wait_for("begun")
        host.signal()
        self.assertEqual(self.ended(host), CANCELLED)

    def test_a_thread_that_still_runs_retires_the_process(self):
        for daemon in (False, True):
            with self.subTest(daemon=daemon):
                host = self.do("threading.Thread(target=time.sleep, args=(600,), daemon=%s).start(); return 0" % daemon)
                self.assertEqual(self.run_job(host, "one"), dict(DONE, retire=True))

    def test_a_thread_that_ends_does_not(self):
        host = self.do("threading.Thread(target=time.sleep, args=(0.02,)).start(); return 0")
        self.assertEqual(self.run_job(host, "one"), DONE)

    def test_a_thread_of_the_class_file_itself_does_not(self):
        host = self.host_of(
            """
            import threading, time
            from ..actions import action
            threading.Thread(target=time.sleep, args=(600,), daemon=True).start()

            @action('one')
            class One(object):
                def __init__(self, executor, job):
                    pass
                def do_work(self):
                    return 0
            """
        )
        self.assertEqual(self.run_job(host, "one"), DONE)
        self.assertEqual(host.end(), 0)

    def test_many_jobs_leave_no_descriptor(self):
        host = self.do("self.job.set_progress(5); self.job.get_cimi_job('job/1'); return len(os.listdir('/proc/self/fd'))")
        counts = {self.run_job(host, "one")["return-code"] for _ in range(100)}
        self.assertEqual(len(counts), 1)

    def test_a_line_without_its_end_is_of_its_own_job(self):
        host = self.do("print('half', end=''); return 0")
        self.run_job(host, "one")
        self.assertEqual(host.log(), "half")


if __name__ == "__main__":
    unittest.main()
