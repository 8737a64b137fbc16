"""An editor for tests: it starts `recipe lsp` and talks to it over pipes, message by message, as editors do."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

#: a busy machine may take long to start a process; nothing here is measured
PATIENCE = 120.0
SERVER = "import sys; from recipelang.cli import main; main(['lsp', '--stdio'])"


class Editor:
    """A conversation with a server.

    Args:
        folder: the working folder of the server.
        encodings: the encodings of positions that are offered; none is offered by default.
        code: what Python runs, in place of the server alone.
    """

    def __init__(self, folder: Path, encodings: tuple[str, ...] = (), code: str = SERVER) -> None:
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            [sys.executable, "-c", code], stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, cwd=folder
        )
        self.heard: queue.Queue[dict[str, Any]] = queue.Queue()
        self.published: dict[str, list[list[dict[str, Any]]]] = {}
        self.errors: list[str] = []
        self._count = 0
        threading.Thread(target=self._listen, daemon=True).start()
        general = {"positionEncodings": list(encodings)} if encodings else {}
        self.able = self.ask("initialize", processId=None, rootUri=folder.as_uri(), capabilities={"general": general})
        self.tell("initialized")

    # -- messages ------------------------------------------------------------------------------------

    def ask(self, method: str, /, **params: Any) -> Any:
        """Send a request and wait for its answer.

        Raises:
            RuntimeError: the answer is an error.
        """
        self._count += 1
        self._send({"id": self._count, "method": method, "params": params or None})
        number = self._count
        while True:
            message = self.heard.get(timeout=PATIENCE)
            if message.get("id") == number and "method" not in message:
                if "error" in message:
                    raise RuntimeError(message["error"]["message"])
                return message.get("result")
            self._note(message)

    def tell(self, method: str, /, **params: Any) -> None:
        """Send a notification."""
        self._send({"method": method, "params": params})

    def _send(self, message: Mapping[str, Any]) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        assert self.process.stdin is not None
        self.process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        self.process.stdin.flush()

    def _listen(self) -> None:
        stream = self.process.stdout
        assert stream is not None
        while header := stream.readline():
            length = int(header.split(b":")[1])
            while stream.readline().strip():
                pass
            self.heard.put(json.loads(stream.read(length)))

    def _note(self, message: dict[str, Any]) -> None:
        if message.get("method") == "textDocument/publishDiagnostics":
            told = message["params"]
            self.published.setdefault(told["uri"], []).append(told["diagnostics"])
        elif message.get("method") in ("window/showMessage", "window/logMessage"):
            self.errors.append(message["params"]["message"])

    # -- documents -----------------------------------------------------------------------------------

    def open(self, uri: str, text: str) -> None:
        self.tell("textDocument/didOpen", textDocument={"uri": uri, "languageId": "recipe", "version": 1, "text": text})

    def change(self, uri: str, text: str, version: int = 2) -> None:
        self.tell(
            "textDocument/didChange", textDocument={"uri": uri, "version": version}, contentChanges=[{"text": text}]
        )

    def diagnostics(self, uri: str) -> list[dict[str, Any]]:
        """The next diagnostics of a document that are published."""
        while not self.published.get(uri):
            self._note(self.heard.get(timeout=PATIENCE))
        return self.published[uri].pop(0)

    def at(self, method: str, uri: str, line: int, character: int, **more: Any) -> Any:
        """Ask about a place of a document."""
        place = {"line": line, "character": character}
        return self.ask(f"textDocument/{method}", textDocument={"uri": uri}, position=place, **more)

    def about(self, method: str, uri: str, **more: Any) -> Any:
        """Ask about a document."""
        return self.ask(f"textDocument/{method}", textDocument={"uri": uri}, **more)

    def leave(self) -> int:
        """End the conversation as the protocol says; the server's exit code."""
        self.ask("shutdown")
        self.tell("exit")
        return self.process.wait(PATIENCE)


@contextmanager
def talking(folder: Path, encodings: tuple[str, ...] = (), code: str = SERVER) -> Iterator[Editor]:
    """An editor whose server has ended afterwards."""
    editor = Editor(folder, encodings, code)
    try:
        yield editor
    finally:
        with suppress(OSError, RuntimeError, queue.Empty):
            editor.leave() if editor.process.poll() is None else None
        editor.process.kill()
        editor.process.wait()
        for stream in (editor.process.stdin, editor.process.stdout):
            with suppress(OSError):
                stream.close() if stream else None
