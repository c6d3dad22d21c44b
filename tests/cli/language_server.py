"""A client of a language server: it opens a file, and asks what is wrong in it and what may stand at a place."""

import json
import subprocess


class LanguageServer:
    """A language server that speaks on its standard input and output.

    Args:
        command: The command that starts it.
    """

    def __init__(self, command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.asked = 0

    def __enter__(self):
        self.ask("initialize", {"processId": None, "rootUri": None, "capabilities": {}})
        self.tell("initialized", {})
        settings = {"yaml": {"validate": True, "completion": True, "schemaStore": {"enable": False}}}
        self.tell("workspace/didChangeConfiguration", {"settings": settings})
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()

    def open(self, file):
        """Opens a file; returns what the server finds wrong in it."""
        document = {"uri": file.as_uri(), "languageId": "yaml", "version": 1, "text": file.read_text()}
        self.tell("textDocument/didOpen", {"textDocument": document})
        while True:
            message = self._read()
            if message.get("method") == "textDocument/publishDiagnostics" and message["params"]["uri"] == file.as_uri():
                return message["params"]["diagnostics"]

    def complete(self, file, line, character):
        """The labels that may stand at a place, both from 0."""
        place = {"textDocument": {"uri": file.as_uri()}, "position": {"line": line, "character": character}}
        found = self.ask("textDocument/completion", place)
        return [item["label"] for item in (found["items"] if isinstance(found, dict) else found)]

    def ask(self, method, parameters):
        """The answer to a request; the server's own requests are answered with nothing meanwhile."""
        self.asked += 1
        self._write({"id": self.asked, "method": method, "params": parameters})
        while True:
            message = self._read()
            if message.get("id") == self.asked and "method" not in message:
                assert "error" not in message, message
                return message["result"]

    def tell(self, method, parameters):
        """Sends a notification."""
        self._write({"method": method, "params": parameters})

    def _write(self, message):
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        self.process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        self.process.stdin.flush()

    def _read(self):
        size = 0
        while line := self.process.stdout.readline().strip():
            name, _, value = line.partition(b":")
            size = int(value) if name.lower() == b"content-length" else size
        assert size, "the language server has ended"
        message = json.loads(self.process.stdout.read(size))
        if "method" in message and "id" in message:
            items = message["params"].get("items", []) if isinstance(message["params"], dict) else []
            own = {"validate": True, "completion": True, "schemaStore": {"enable": False}}
            answers = [own if item.get("section") == "yaml" else None for item in items]
            self._write({"id": message["id"], "result": answers or None})
        return message
