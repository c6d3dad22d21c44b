"""The folder of one recipe's results: what is committed in it, what is half done, and who holds it.

A stage works in `<name>.partial`. The rename to `<name>` is the only moment a result appears, so a process that is
killed leaves either the whole result or none of it, and a partial folder to go on from.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tfopt.durable_files import leftovers, remove, rename, sha256_of, storage_errors, sync_tree, write
from tfopt.errors import InUseError, StorageError
from tfopt.recipe.artifact import (
    BACKUP,
    KEY,
    LOCK,
    LOG,
    OLD,
    OWNER,
    PARTIAL,
    RECORD,
    WORKERS,
    Artifact,
)
from tfopt.recipe.environment import environment


@dataclass(frozen=True)
class Workspace:
    """The folder of one recipe's results, held by one process at a time."""

    root: Path

    @property
    def is_run(self) -> bool:
        """Whether the folder is that of a run, by what lies in it: results, finished or not, or their lock."""
        if (self.root / LOCK).is_file() or any(self.root.glob(f"*{PARTIAL}/{KEY}")):
            return True
        return any(self.root.glob(f"*/{RECORD}"))

    @contextlib.contextmanager
    def locked(self, way: str = "Choose another with --out.") -> Iterator[None]:
        """Holds the folder. The lock is the operating system's: it falls when its process dies, however it dies.

        Args:
            way: The sentence that helps where the folder cannot be written; that of a run if not given.

        Raises:
            InUseError: Another process holds it.
            StorageError: The folder cannot be written.
        """
        from filelock import FileLock, Timeout

        owner = self.root / OWNER
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.root / LOCK)
            lock.acquire(timeout=0)
        except Timeout:
            raise InUseError(
                f"{self.root} is in use by process {_holder(owner)}. Wait for it, or run with another --out."
            ) from None
        except OSError as error:
            raise StorageError(f"{self.root} cannot be written: {error.strerror}. {way}") from None
        try:
            with storage_errors(self.root):
                owner.write_text(f"{os.getpid()}\n")
                self._sweep()
            yield
        finally:
            with contextlib.suppress(OSError):
                owner.unlink(missing_ok=True)
            lock.release()

    def _sweep(self) -> None:
        """Removes remains of killed processes that no run resumes from."""
        for folder in (*self.root.glob(f"*{OLD}"), *self.root.glob(f"*/{BACKUP}")):
            if folder.parent.suffix != PARTIAL and folder.is_dir():
                remove(folder)
        for file in leftovers(self.root):
            remove(file)

    def remove_if_empty(self) -> None:
        """Removes the folder of a run without results, and its parent if that is empty."""
        left = {path.name for path in self.root.iterdir()}
        if left <= {LOCK, LOG, OWNER, WORKERS}:
            shutil.rmtree(self.root / WORKERS, ignore_errors=True)
            for name in left - {WORKERS}:
                (self.root / name).unlink()
            with contextlib.suppress(OSError):  # others' results keep the outer folder
                self.root.rmdir()
                self.root.parent.rmdir()

    def find(self, name: str, key: str) -> Artifact | None:
        """The committed artifact of that name, if it has this key and its files are as they were committed."""
        artifact = Artifact.read(self.root / name)
        return artifact if artifact and artifact.key == key and not artifact.changed else None

    def begun(self, name: str, key: str) -> bool:
        """Whether a partial folder of that key exists."""
        try:
            return (self.partial(name) / KEY).read_bytes() == key.encode()
        except OSError:  # another process may be removing it
            return False

    def unfinished(self) -> dict[str, int]:
        """The stages that were begun and are not committed, each with the epochs that its checkpoint has."""
        found = {}
        for key in sorted(self.root.glob(f"*{PARTIAL}/{KEY}")):
            epochs = (path.stem.rpartition("-")[2] for path in key.parent.glob(f"{BACKUP}/epoch-*"))
            found[key.parent.stem] = max((int(number) for number in epochs if number.isdecimal()), default=0)
        return found

    def partial(self, name: str) -> Path:
        """The partial folder of a result."""
        return self.root / f"{name}{PARTIAL}"

    def begin(self, name: str, key: str, keep: Sequence[str] = (BACKUP,)) -> Path:
        """The folder to work in: the partial one of an earlier try with the same key, else a new one.

        Args:
            name: Name of the result.
            key: Its content key.
            keep: Names of what the stage goes on from; everything else that an earlier try has left is removed.
        """
        folder = self.partial(name)
        with storage_errors(folder):
            if not self.begun(name, key):
                remove(folder)
                folder.mkdir(parents=True)
                write(folder / KEY, key)
            for left in folder.iterdir():
                if left.name != KEY and not any(left.match(pattern) for pattern in keep):
                    remove(left)
        return folder

    def commit(self, artifact: Artifact, work: Sequence[str] = ()) -> Artifact:
        """Makes a finished partial folder the result of its name, in place of any older one, once it is on the disk.

        Args:
            artifact: The result, in its partial folder.
            work: Names in the folder, with `*` for any letters, of what the stage only worked with; it is kept, and may
                change.
        """
        final, old = self.root / artifact.name, self.root / f"{artifact.name}{OLD}"
        with storage_errors(artifact.folder):
            beside = {name: sha256_of(artifact.folder / name) for name in _beside(artifact, work)}
            digest = sha256_of(artifact.path)
            artifact = replace(artifact, environment=environment(), digest=digest, beside=beside)
            artifact.write()
            sync_tree(artifact.folder, skip=BACKUP)
            if final.is_dir() and not final.is_symlink():
                remove(old)
                rename(final, old)
            else:  # nothing, or what is no result
                remove(final)
            rename(artifact.folder, final)
        self._sweep()
        return replace(artifact, folder=final)

    def artifacts(self) -> list[Artifact]:
        """Every committed artifact, in order of creation."""
        found = [Artifact.read(path.parent) for path in self.root.glob(f"*/{RECORD}") if path.parent.suffix != PARTIAL]
        made = {artifact.name: artifact for artifact in filter(None, found)}
        whole = [artifact for name, artifact in made.items() if name not in _ancestors(artifact, made)]
        return sorted(whole, key=lambda a: (a.folder / RECORD).stat().st_mtime)

    def outdated(self) -> dict[str, str]:
        """The results of which something that they were made from was made anew since, each with the first such.

        What they were made from may be outdated itself. They are there after a recipe was changed and its next run did
        not come to its end, and where a recipe no longer has their stages.
        """
        made = {artifact.name: artifact for artifact in self.artifacts()}
        found: dict[str, str] = {}
        for _ in made:  # as many times as a chain is long at most
            for name, artifact in made.items():
                before = [other for other in (*artifact.parents, *artifact.made_from) if other in made]
                keys = {other: artifact.made_from.get(other, made[other].key) for other in before}
                newer = (other for other in before if other in found or keys[other] != made[other].key)
                if name not in found and (first := next(newer, None)) is not None:
                    found[name] = first
        return found


def _holder(owner: Path) -> str:
    """The process that holds a folder, which may be letting it go at this moment."""
    try:
        return owner.read_text(errors="replace").strip() or "unknown"
    except OSError:
        return "unknown"


def _ancestors(artifact: Artifact, others: Mapping[str, Artifact]) -> set[str]:
    """The names of all that an artifact was made from; its own is among them where records lead in a circle."""
    found: set[str] = set()
    queue = list(artifact.parents)
    while queue:
        name = queue.pop()
        if name not in found:
            found.add(name)
            queue += others[name].parents if name in others else ()
    return found


def _beside(artifact: Artifact, work: Sequence[str]) -> Iterator[str]:
    """The paths of the files of a result beside its model, its record and what is hidden or was only worked with."""
    root = artifact.folder
    for folder, inner, files in os.walk(root):
        place = Path(folder).relative_to(root)
        if not place.parts:  # folders of work are not looked into: others may be removing them
            inner[:] = [name for name in inner if not any(Path(name).match(one) for one in work)]
            files = [name for name in files if name != RECORD and not any(Path(name).match(one) for one in work)]
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        for name in sorted(files):
            path = root / place / name
            if not name.startswith(".") and path != artifact.path and path.is_file():
                yield (place / name).as_posix()
