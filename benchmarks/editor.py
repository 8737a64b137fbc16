"""How long the language server takes to answer on a long recipe, in processor time of its own process.

    python benchmarks/editor.py [--lines 10000] [--rounds 5]

Starts `recipe lsp` with a recipe of that many lines, asks each sort of question in turns, in the middle and after a
change, and prints the median processor time and wall time of each, and of checking after a change. torch must not be
among what the server has loaded.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

CODE = "from recipelang.cli import main; main(['lsp'])"
HEAD = "data digits\nmodel digits_resnet\nlet tune = sgd(lr=0.1)\ntrain for 1 epoch with $tune\n"
PART = '# note @\nkeep as state@\nprune 1 layer by imprint\n  except "fc"\n\nfinetune for 1 epoch with $tune\n'


def recipe(lines: int) -> str:
    """A recipe of about this many lines."""
    count = (lines - HEAD.count("\n")) // PART.count("\n")
    return HEAD + "".join(PART.replace("@", str(number)) for number in range(count))


class Server:
    """A conversation with a server, one question after another."""

    def __init__(self, folder: Path) -> None:
        pipe = subprocess.PIPE
        self.process = subprocess.Popen([sys.executable, "-c", CODE], stdin=pipe, stdout=pipe, cwd=folder)
        self.number = 0
        self.ask("initialize", {"processId": None, "rootUri": folder.as_uri(), "capabilities": {}})
        self.tell("initialized", {})

    def tell(self, method: str, params: Any, **more: Any) -> None:
        body = json.dumps({"jsonrpc": "2.0", "method": method, "params": params, **more}).encode()
        assert self.process.stdin is not None
        self.process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        self.process.stdin.flush()

    def hear(self, wanted: Callable[[dict[str, Any]], bool]) -> Any:
        stream = self.process.stdout
        assert stream is not None
        while True:
            length = int(stream.readline().split(b":")[1])
            while stream.readline().strip():
                pass
            message = json.loads(stream.read(length))
            if wanted(message):
                return message.get("result", message.get("params"))

    def ask(self, method: str, params: Any) -> Any:
        self.number += 1
        self.tell(method, params, id=self.number)
        return self.hear(lambda message: message.get("id") == self.number)

    def processor(self) -> float:
        """Seconds of processor time that the server has used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Measure and print one line for each question."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    text = recipe(options.lines)
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder))
        uri = (Path(folder) / "long.rcp").as_uri()
        server.tell("textDocument/didOpen", {"textDocument": _item(uri, text)})
        server.hear(_checked)
        middle = text[: len(text) // 2].count("\n") // PART.count("\n") * PART.count("\n") + HEAD.count("\n")
        questions = {
            "completion": ("completion", {"position": {"line": middle + 2, "character": 20}}),
            "hover": ("hover", {"position": {"line": middle + 2, "character": 19}}),
            "signature help": ("signatureHelp", {"position": {"line": 2, "character": 18}}),
            "definition": ("definition", {"position": {"line": middle + 5, "character": 28}}),
            "references": ("references", {"position": {"line": 2, "character": 5}, "context": _DECLARED}),
            "outline": ("documentSymbol", {}),
            "folding": ("foldingRange", {}),
            "colours": ("semanticTokens/full", {}),
            "formatting": ("formatting", {"options": {"tabSize": 2, "insertSpaces": True}}),
            "fixes": ("codeAction", {"range": _place(middle), "context": {"diagnostics": []}}),
        }
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in (*questions, "check after a change")}
        for version in range(options.rounds):
            for name, (method, params) in questions.items():
                asked = {"textDocument": {"uri": uri}, **params}
                times[name].append(_timed(server, partial(server.ask, f"textDocument/{method}", asked)))
            changed = {"textDocument": {"uri": uri, "version": version + 2}, "contentChanges": [{"text": text + "\n"}]}
            text += "\n"
            times["check after a change"].append(_timed(server, partial(_change, server, changed)))
        maps = Path(f"/proc/{server.process.pid}/maps").read_text()
        server.ask("shutdown", None)
        server.tell("exit", None)
    print(f"{text.count(chr(10))} lines, {len(text)} characters; medians of {options.rounds}")
    for name, several in times.items():
        processor, wall = (statistics.median(column) for column in zip(*several, strict=True))
        print(f"{name:<22} {1000 * processor:>6.0f} ms of processor time {1000 * wall:>6.0f} ms of wall time")
    print(f"torch is loaded: {'libtorch' in maps}")


def _change(server: Server, changed: Any) -> None:
    """Change the text and wait until it is checked."""
    server.tell("textDocument/didChange", changed)
    server.hear(_checked)


_DECLARED = {"includeDeclaration": True}


def _checked(message: dict[str, Any]) -> bool:
    return message.get("method") == "textDocument/publishDiagnostics"


def _item(uri: str, text: str) -> dict[str, Any]:
    return {"uri": uri, "languageId": "recipe", "version": 1, "text": text}


def _place(line: int) -> dict[str, Any]:
    return {"start": {"line": line, "character": 0}, "end": {"line": line, "character": 1}}


def _timed(server: Server, work: Callable[[], Any]) -> tuple[float, float]:
    """Processor time of the server and wall time of what it is asked."""
    before, start = server.processor(), time.perf_counter()
    work()
    return server.processor() - before, time.perf_counter() - start


if __name__ == "__main__":
    main()
