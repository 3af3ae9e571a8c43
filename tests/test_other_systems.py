"""Every module of the package, and of its tests, can be imported where the system is not a POSIX one."""

from __future__ import annotations

import json
import pkgutil
import subprocess
import sys
from pathlib import Path

import sapiens_stream
from tests.program import WAIT

ROOT = Path(__file__).parents[1]
PACKAGE = [
    module.name
    for module in pkgutil.walk_packages(sapiens_stream.__path__, "sapiens_stream.")
    if module.name != "sapiens_stream.__main__"
]
TESTS = [f"tests.{path.stem}" for path in sorted((ROOT / "tests").glob("*.py")) if path.stem != "rtsp_server"]

# What our own modules import is as on Windows; the libraries see the system that is there.
PROBE = """
import builtins, importlib, json, os, signal, socket, sys, types

OURS = {"sapiens_stream", "tests", "benchmarks"}
MISSING = {"crypt", "curses", "fcntl", "grp", "nis", "pty", "posix", "pwd", "readline", "resource", "syslog", "termios",
           "tty"}
SIGNALS = {"SIGABRT", "SIGBREAK", "SIGFPE", "SIGILL", "SIGINT", "SIGSEGV", "SIGTERM", "SIG_DFL", "SIG_IGN"}
HIDDEN = {
    "os": {name for name in dir(os) if name.startswith(("sched_", "SCHED_", "PRIO_", "MFD_", "posix_", "W", "wait"))
           and name not in ("W_OK", "waitpid", "waitstatus_to_exitcode")}
    | set('''
        chown fchown fork forkpty getegid geteuid getgid getgroups getloadavg getpgid getpriority getsid getuid killpg
        lchown memfd_create mkfifo mknod nice openpty setpriority setsid setuid statvfs fstatvfs sysconf ttyname uname
        O_CLOEXEC O_DIRECTORY O_NOFOLLOW O_NONBLOCK O_SYNC
    '''.split()),
    "signal": {name for name in dir(signal) if name.startswith("SIG") and name not in SIGNALS}
    | {"alarm", "pause", "pthread_kill", "pthread_sigmask", "setitimer", "sigwait", "sigpending"},
    "socket": {"AF_UNIX", "SO_REUSEPORT", "socketpair"},
}


class View(types.ModuleType):
    def __init__(self, real, hidden=(), **changed):
        super().__init__(real.__name__)
        self.__dict__.update(changed)
        self._real, self._hidden = real, hidden

    def __getattr__(self, name):
        if name in self._hidden:
            raise AttributeError(f"module {self._real.__name__!r} has no attribute {name!r} here")
        return getattr(self._real, name)


views = {
    "os": View(os, HIDDEN["os"], name="nt"),
    "signal": View(signal, HIDDEN["signal"]),
    "socket": View(socket, HIDDEN["socket"]),
    "sys": View(sys, platform="win32"),
    "msvcrt": types.SimpleNamespace(locking=None, LK_NBLCK=2),
}
real_import = builtins.__import__


def guarded(name, globals=None, locals=None, fromlist=(), level=0):
    importer = str((globals or {}).get("__name__")).partition(".")[0]
    if level == 0 and importer in OURS:
        if name.partition(".")[0] in MISSING:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        if name in views:
            return views[name]
    return real_import(name, globals, locals, fromlist, level)


builtins.__import__ = guarded
problems = {}
for name in json.loads(sys.argv[1]):
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name in MISSING or error.name.startswith(("sapiens_stream", "tests")):
            problems[name] = str(error)  # else a package of an extra, as on any system
    except Exception as error:
        problems[name] = f"{type(error).__name__}: {error}"
    except BaseException as error:
        if type(error).__name__ not in ("Skipped", "Exit"):  # of pytest, for a whole file
            raise
print(json.dumps(problems))
"""


def test_all_can_be_imported_without_what_posix_alone_has() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROBE, json.dumps(PACKAGE + TESTS)],
        capture_output=True,
        text=True,
        timeout=WAIT,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {}
