"""Stage `export`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from tfopt.errors import InputError, did_you_mean
from tfopt.recipe.artifact import Artifact, Format
from tfopt.recipe.details.kit import ExportedKit, ExportedKits
from tfopt.recipe.stage import Context, Outlook, Stage
from tfopt.recipe.target import ITSELF, TARGETS

if TYPE_CHECKING:
    from tfopt.deployment.kit.export import Kit


class ExportKit(Stage):
    """Writes a kit to flash for every `.tflite` made so far: C, golden vectors with a test, code to run it.

    A kit is the folder `export/NAME`, with NAME that of the stage that made the file: C11 with the file as an array,
    the tensor arena as measured with a margin, names, shapes, scales and zero points; a resolver of LiteRT for
    Microcontrollers with just the ops of the file; samples of the test split with the outputs that the model has to
    give for them; Python, C++ and Kotlin; CMake; a model card; sha256 sums. `tfopt export` writes one of a file, or of
    a run that has no such stage.
    """

    kind: ClassVar[str] = "export"
    rank: ClassVar[int] = 13
    takes: ClassVar[Format] = "tflite"
    gives: ClassVar[Format] = "tflite"
    gathers: ClassVar[bool] = True

    array: Literal["string", "incbin", "plain"] = "string"
    """How the file becomes an array. string: a string literal, which compiles fast with every C compiler. incbin: an
    assembler file that includes the file itself, for files of megabytes. plain: numbers, slow to compile."""
    golden: int = Field(4, ge=1)
    """Number of golden vectors at most; fewer of large inputs."""
    target: str | None = Field(None, examples=["ethos-u55-128"])
    """The target whose file is flashed, or tflite for the file itself; that of the only file that was made for a device
    beside it, if not given."""

    def surroundings(self) -> tuple[str, ...]:
        """The release of TFLM that golden vectors and arenas are from."""
        return TARGETS["tflm"].surroundings

    def check_settings(self, outlook: Outlook) -> None:
        """Checks that every file will have been made for the target."""
        asked = self.target
        if asked in (None, ITSELF):
            return
        if asked not in TARGETS:
            way = did_you_mean(asked, [*TARGETS, ITSELF])
            raise InputError(f"there is no such target. {way} Received: {asked!r}.", ("target",))
        if not TARGETS[asked].suffix:
            return  # it takes the .tflite itself
        made = {name: getattr(stage, "target", asked) for name, stage in outlook.inputs.items()}
        for name, target in made.items():
            if target != asked:
                able = [other for other, its in made.items() if its == asked]
                way = f"Write after: {able[0]}" if able else f"Write target: {asked} in {name}"
                raise InputError(
                    f"a kit for {asked} is of a file that was made for it, and {name} is for {target}. {way}, or leave "
                    f"target out. Received: {asked!r}.",
                    ("target",),
                )

    def run(self, inputs: Sequence[Artifact], context: Context) -> Artifact:
        """Writes the kit of each file."""
        from tfopt.deployment.kit.export import KitSettings, Samples, write_kit
        from tfopt.deployment.kit.source import of_artifact

        kits: dict[str, ExportedKit] = {}
        files: dict[str, dict[str, float]] = {}
        for file in inputs:
            source = of_artifact(file, context.artifacts)
            samples = context.data.test.few(self.golden * source.batch).x
            settings = KitSettings(self.array, self.golden, self.target)
            words = Samples(samples, "the first samples of the test split")
            kit = write_kit(source, context.folder / file.name, words, settings)
            context.told.extend(f"{file.name}: {sentence}" for sentence in kit.warnings)
            kits[file.name] = _record(kit, file.name)
            files[file.name] = _figures(kit)
        last = inputs[-1]
        return context.artifact(self, inputs, f"../{last.name}/{last.file}", files=files, details=[ExportedKits(kits)])


def _record(kit: Kit, folder: str) -> ExportedKit:
    model = kit.model
    return ExportedKit(
        folder=folder,
        flashed=model.flashed_file,
        flashed_bytes=len(model.flashed),
        arena_bytes=model.arena.bytes,
        arena_measured=model.arena.measured is not None,
        vectors=model.golden.count,
        runtime=model.golden.runtime,
        not_on_tflm=model.not_on_tflm,
    )


def _figures(kit: Kit) -> dict[str, float]:
    """The arena of the file itself, where it was measured; that of a file for a device is not the file's."""
    arena = kit.model.arena.measured
    return {} if arena is None or kit.model.target else {"arena_bytes": float(arena)}
