"""The text of a user's file with two stages, for tests that write one."""

COPY_AND_GATE = '''
import builtins
import os
import shutil
from typing import ClassVar

import tfopt


class Copy(tfopt.Stage):
    """Copies the model."""

    kind: ClassVar[str] = "copy"
    tag: str = ""
    """Anything."""

    def run(self, inputs, context):
        shutil.copy(inputs[0].path, context.folder / "model.keras")
        return context.artifact(self, inputs, "model.keras", metrics={"accuracy": 0.5})


class Gate(tfopt.Stage):
    """Fails if told to."""

    kind: ClassVar[str] = "gate"
    failed: str | None = None
    """Why."""

    def run(self, inputs, context):
        [it] = inputs
        files = {it.name: {"accuracy": 0.4}}
        return context.artifact(self, inputs, f"../{it.name}/{it.file}", files=files, failed=self.failed)
'''
