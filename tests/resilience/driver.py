"""Runs the command line in forks of a process that has everything loaded, and strikes some of them down.

Requests come as lines of JSON on stdin, each is answered by one line on stdout:

    {"do": "start", "arguments": ["run", …], "folder": …, "out": …, "err": …}   → {"process": 123}
    {"do": "wait", "process": 123}                                              → {"code": -9}

What a request may hold besides: `environment` to add (a null removes), `stdin`, `every` (seconds between checkpoints,
and between what a search keeps), `largest` (bytes that a file may have), and `blow`: {"at": n, "how": …, "only": …}
befalls the n-th time that a file under the folder, whose path holds `only`, is opened for writing or moved: the process
gets a signal (`SIGKILL`), or this and all that follow fail with an error (`ENOSPC`).
"""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import sys
import traceback
from typing import Any

import recipelang.budgets.memory
import recipelang.report.render
import recipelang.report.terminal
import recipelang.run.engine
import recipelang.training.loop
from recipelang.check import check
from recipelang.cli import main
from recipelang.syntax.parse import parse

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def strike(folder: str, at: int, how: str, only: str = "") -> None:
    """Let a blow befall the `at`-th operation on a file under `folder`."""
    count = 0

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITING
        if not (writes or event == "os.rename") or isinstance(arguments[0], int):
            return
        path = os.path.abspath(os.fsdecode(arguments[0]))
        if not path.startswith(folder + os.sep) or only not in path:
            return
        count += 1
        if how.startswith("SIG"):
            if count == at:
                os.kill(os.getpid(), getattr(signal, how))
        elif count >= at:  # a disk stays full
            raise OSError(getattr(errno, how), os.strerror(getattr(errno, how)), arguments[0])

    sys.addaudithook(watch)


def act(request: dict[str, Any]) -> int:
    """Be the command that a request asks for; its exit code."""
    os.chdir(request["folder"])
    for name, value in request.get("environment", {}).items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value
    for number, name, mode in ((0, "stdin", os.O_RDONLY), (1, "out", os.O_WRONLY), (2, "err", os.O_WRONLY)):
        os.dup2(os.open(request.get(name, os.devnull), mode), number)
    recipelang.training.loop.SAVE_EVERY = request.get("every", 30.0)
    recipelang.budgets.memory.SAVE_EVERY = request.get("every", 1.0)
    if "largest" in request:
        resource.setrlimit(resource.RLIMIT_FSIZE, (request["largest"], resource.RLIM_INFINITY))
    if "blow" in request:
        strike(os.path.abspath(request["folder"]), **request["blow"])
    try:
        main(request["arguments"])
    except SystemExit as left:
        return int(left.code or 0)
    finally:
        sys.stdout.flush()
    return 0


def serve() -> None:
    """Answer requests until there are no more."""
    check(parse("model digits_resnet; data digits; train for 1 steps; measure params"))  # loads the methods
    for line in sys.stdin:
        request = json.loads(line)
        if request["do"] == "wait":
            _, status = os.waitpid(request["process"], 0)
            answer = {"code": os.waitstatus_to_exitcode(status)}
        else:
            process = os.fork()
            if process == 0:
                code = 99  # a traceback: never the answer of a command
                try:
                    code = act(request)
                except BaseException:
                    traceback.print_exc()
                finally:
                    os._exit(code)
            answer = {"process": process}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    serve()
