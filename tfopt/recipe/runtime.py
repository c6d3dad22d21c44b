"""Runtime settings of a recipe: devices, precision, compilation, logs."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from tfopt.recipe.settings import Settings


class Runtime(Settings):
    """How every stage of a recipe that trains is run."""

    strategy: Literal["none", "mirrored", "multi_worker", "tpu"] = "none"
    """none: one device. mirrored: all GPUs of this machine, or `devices`. multi_worker: all machines that TF_CONFIG
    names, each running the same command. tpu: a TPU; written by the book and untested. The batch size is that of all
    devices together. BatchNormalization takes its statistics on each device's share of the batch, as Keras has it, and
    every share counts the same, that of a last batch that does not divide evenly too."""
    devices: tuple[str, ...] = Field((), examples=[["GPU:0", "GPU:1"]])
    """For mirrored: TensorFlow's names of the devices, such as [GPU:0, GPU:1]; all GPUs if not given. For tpu: the
    name or address of one."""
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = "float32"
    """mixed_float16 and mixed_bfloat16 compute in 16 bits and keep weights in 32; the models that come out are in
    float32."""
    jit: bool | Literal["auto"] = "auto"
    """Compile the training step with XLA; auto leaves it to Keras."""
    steps_per_execution: int = Field(1, ge=1)
    """Steps that TensorFlow runs before Python is asked again, or the next smaller number that divides the steps of an
    epoch. It gains where a step takes little: with 10, an epoch of the digits' net took 0.77 of its time and one of
    LeNet-5 0.93, weights the same to the bit. It is not chosen by itself, as Keras then traces each step twice (0.3 s a
    training) and callbacks see every n-th step."""
    start_timeout: float = Field(300.0, gt=0)
    """For multi_worker: seconds to wait for the other machines to start."""
    tensorboard: bool = True
    """Write logs for TensorBoard into the folder of every stage that trains."""
    profile: tuple[int, int] | None = Field(None, examples=[[10, 20]])
    """The first and the last step to profile in each training, for TensorBoard, such as [10, 20]."""
    storage: str | None = Field(None, examples=["sqlite:///search.db"])
    """For stages that search: where the processes of a search keep what they have tried, a database such as
    postgresql://user:password@host/name or the whole path of a journal file on a disk that all share; a journal file
    beside the results if not given."""
    lost_after: float = Field(120.0, gt=0)
    """For stages that search or tune: seconds without a sign of life after which a process counts as lost."""

    @model_validator(mode="after")
    def _works_together(self) -> Runtime:
        spread = self.strategy != "none"
        if spread and self.jit is True:
            raise ValueError(f"jit does not work under strategy: {self.strategy} with this TensorFlow. Leave it out")
        if spread and self.steps_per_execution > 1:
            raise ValueError(
                f"Keras runs one step at a time under strategy: {self.strategy}. Leave steps_per_execution out"
            )
        if self.devices and self.strategy not in ("mirrored", "tpu"):
            raise ValueError("devices goes with strategy: mirrored or tpu. Write one of them, or leave devices out")
        if self.profile and not 1 <= self.profile[0] <= self.profile[1]:
            raise ValueError(f"profile is a first and a last step, such as [10, 20]. Received: {list(self.profile)}")
        if self.profile and not self.tensorboard:
            raise ValueError("profile is read in TensorBoard: leave tensorboard out, or profile")
        return self
