"""The table of facts about TFLite ops, with a row for every op that is not of defaults only."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class RecurrentInputs:
    """The inputs of an op that runs a recurrent layer over a whole sequence; its data is the first of them.

    Args:
        kernels: Numbers of the kernels of the gates, `(units, inputs)` each, in the order in which Keras has them in
            one kernel.
        recurrent_kernels: Numbers of the recurrent kernels, `(units, units)` each.
        biases: Numbers of the biases, `(units,)` each.
        states: Numbers of the variables that keep the state, `(batch, units)` each: the one that is also the output,
            then the inner one.
        count: Number of all inputs; those that are not named are absent, -1 in a file.
    """

    kernels: tuple[int, ...]
    recurrent_kernels: tuple[int, ...]
    biases: tuple[int, ...]
    states: tuple[int, ...]
    count: int


@dataclass(frozen=True)
class OpFacts:
    """The facts about one op; inputs are numbered as the schema lists them.

    Args:
        name: The op's name in the schema, or its custom code.
        data_kernel_bias: The numbers of its data, kernel and bias inputs, for an op with a kernel and a bias per output
            channel. The converter folds the affine ops after it into them.
        kernel_axis: The axis of output channels of the kernel in the file.
        keras_axes: The axes of output channels of the Keras kernel, counted from the end where negative; empty for a
            matrix, whose two sides can have several axes each in Keras.
        hybrid_by_channel: Whether, on float activations, it reads a scale for each channel of its integer kernel, also
            where the kernel has only one.
        windows: What of its data each value of its output is a product of the kernel with: a `row`, a `window` of all
            channels, one of one `channel`, or a window of the data with zeros between its values (`spread`).
        recurrent: The inputs of an op that is a whole recurrent layer, and keeps its state from run to run.
        looks_up: Whether it gathers rows of a constant, on the constant's own grid.
        elementwise: Whether it combines two tensors elementwise, so that a constant input is a factor or an offset.
        adds: Whether it is a sum or a difference.
        moves_data: Whether it only rearranges values: its output has the grid of its input.
        selects: Whether it takes each value from one of two inputs.
        multiplies: Whether it is a product of two tensors elementwise.
        compares: Whether only the order of its inputs' values matters to its result, not how far apart they are.
        exact: Whether its result changes with the smallest change of an input, as that of a cast to integers does.
        reads_shape: Whether it reads the shape of its input and no value of it.
        border: Whether it only converts the form of values: cast, quantize, dequantize, densify.
        unpacks: The form of a constant that it unpacks for other ops to read.
        control: How it runs other subgraphs of the file.
        probabilities: Whether its outputs are probabilities.
        rounds_from_zero: Whether its integer form rounds halves away from the integer 0, whatever the zero point.
        nonzero: The number of an input at whose 0 it has no finite value or no finite gradient.
        int4: Modes in which litert-quantizer writes its kernel in 4 bits: `any`, or `float` for those without static
            integer activations.
        no_int4_on: Targets, or families of them, whose implementation of the op takes no kernel in 4 bits.
        decodes: The numbers of the inputs that hold a kernel which, for TFLM, may also be the output of another op.

    References:
        The schema, tensorflow/compiler/mlir/lite/schema/schema.fbs in github.com/tensorflow/tensorflow; the TFLite
        8-bit specification, ai.google.dev/edge/litert/models/quantization_spec.
    """

    name: str
    data_kernel_bias: tuple[int, int, int] | None = None
    kernel_axis: int | None = None
    keras_axes: tuple[int, ...] = ()
    hybrid_by_channel: bool = False
    windows: Literal["row", "window", "channel", "spread"] | None = None
    recurrent: RecurrentInputs | None = None
    looks_up: bool = False
    elementwise: bool = False
    adds: bool = False
    moves_data: bool = False
    selects: bool = False
    multiplies: bool = False
    compares: bool = False
    exact: bool = False
    reads_shape: bool = False
    border: bool = False
    unpacks: Literal["sparse", "quantized"] | None = None
    control: Literal["loop", "branch", "once"] | None = None
    probabilities: bool = False
    rounds_from_zero: bool = False
    nonzero: int | None = None
    int4: Literal["any", "float"] | None = None
    no_int4_on: tuple[str, ...] = ()
    decodes: tuple[int, ...] = ()

    @property
    def flex(self) -> bool:
        """Whether it is an op of TensorFlow that LiteRT does not have itself."""
        return self.name.startswith("Flex")

    @property
    def micro(self) -> str | None:
        """The method of TFLM's `MicroMutableOpResolver` that registers it; None where TFLM does not have the op."""
        if self.name in _MICRO_CUSTOM_OPS:
            return _MICRO_CUSTOM_OPS[self.name]
        if self.name not in _ON_MICROCONTROLLERS:
            return None
        words = (part.capitalize() for part in self.name.split("_"))
        return f"Add{_RESOLVER_NAMES.get(self.name) or re.sub('(?<=[0-9])d', 'D', ''.join(words))}"

    def runs_on(self, target: str, precision: str) -> bool:
        """Whether a target, or a family of them, runs it with a kernel of a precision such as `int4`."""
        return precision != "int4" or target not in self.no_int4_on

    @property
    def loop(self) -> bool:
        """Whether it runs a subgraph over and over."""
        return self.control == "loop"


# What tflite-micro registers, in the schema's names.
_MICRO_OPS = """
    ABS ADD ADD_N ARG_MAX ARG_MIN ASSIGN_VARIABLE AVERAGE_POOL_2D BATCH_MATMUL BATCH_TO_SPACE_ND BROADCAST_ARGS
    BROADCAST_TO CALL_ONCE CAST CEIL CONCATENATION CONV_2D COS CUMSUM DEPTH_TO_SPACE DEPTHWISE_CONV_2D DEQUANTIZE DIV
    DYNAMIC_UPDATE_SLICE ELU EMBEDDING_LOOKUP EQUAL EXP EXPAND_DIMS FILL FLOOR FLOOR_DIV FLOOR_MOD FULLY_CONNECTED
    GATHER GATHER_ND GREATER GREATER_EQUAL HARD_SWISH IF L2_NORMALIZATION L2_POOL_2D LEAKY_RELU LESS LESS_EQUAL LOG
    LOG_SOFTMAX LOGICAL_AND LOGICAL_NOT LOGICAL_OR LOGISTIC MAXIMUM MAX_POOL_2D MEAN MINIMUM MIRROR_PAD MUL NEG
    NOT_EQUAL PACK PAD PADV2 PRELU QUANTIZE READ_VARIABLE REDUCE_ALL REDUCE_MAX REDUCE_MIN RELU RELU6 RESHAPE
    RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR REVERSE_V2 ROUND RSQRT SELECT_V2 SHAPE SIN SLICE SOFTMAX SPACE_TO_BATCH_ND
    SPACE_TO_DEPTH SPLIT SPLIT_V SQRT SQUARE SQUARED_DIFFERENCE SQUEEZE STRIDED_SLICE SUB SUM SVDF TANH TRANSPOSE
    TFLM_DECODE TRANSPOSE_CONV UNIDIRECTIONAL_SEQUENCE_LSTM UNPACK VAR_HANDLE WHILE ZEROS_LIKE
"""
_ON_MICROCONTROLLERS = frozenset(_MICRO_OPS.split())
# Custom ops that it registers too: kernels that are decoded in the arena, and what Vela compiles for an Ethos-U.
_MICRO_CUSTOM_OPS = {"TFLM_DECODE": "AddDecode", "ethos-u": "AddEthosU"}
# Those whose method is not called as the op is.
_RESOLVER_NAMES = {
    "BATCH_MATMUL": "BatchMatMul",
    "CUMSUM": "CumSum",
    "PADV2": "PadV2",
    "TFLM_DECODE": "Decode",
    "UNIDIRECTIONAL_SEQUENCE_LSTM": "UnidirectionalSequenceLSTM",
}


def facts_of(name: str) -> OpFacts:
    """The facts about an op; the defaults for one that is not in the table."""
    return OPS.get(name) or OpFacts(name)


# TFLM's op that decodes kernels, whose encoded bytes lie at multiples of 16.
DECODE = "TFLM_DECODE"
NPU = "ethos-u"
# Ops that LiteRT has not: a file with one of them is for a device.
DEVICE_OPS = (NPU, DECODE)
# The op of a whole LSTM.
LSTM = "UNIDIRECTIONAL_SEQUENCE_LSTM"
LSTM_INPUTS = RecurrentInputs((1, 2, 3, 4), (5, 6, 7, 8), (12, 13, 14, 15), (18, 19), 24)

_ROWS = (
    # A kernel and a bias.
    OpFacts(
        "CONV_2D",
        data_kernel_bias=(0, 1, 2),
        kernel_axis=0,
        keras_axes=(-1,),
        windows="window",
        int4="any",
        no_int4_on=("ethos-u",),
        decodes=(1,),
    ),
    OpFacts(
        "DEPTHWISE_CONV_2D",
        data_kernel_bias=(0, 1, 2),
        kernel_axis=3,
        keras_axes=(-2, -1),
        hybrid_by_channel=True,
        windows="channel",
        decodes=(1,),
    ),
    OpFacts("CONV_3D", data_kernel_bias=(0, 1, 2), kernel_axis=4, keras_axes=(-1,)),
    OpFacts(
        "FULLY_CONNECTED",
        data_kernel_bias=(0, 1, 2),
        kernel_axis=0,
        windows="row",
        int4="any",
        no_int4_on=("tflm", "ethos-u"),
        decodes=(1,),
    ),
    # The first input is the shape of the output.
    OpFacts(
        "TRANSPOSE_CONV", data_kernel_bias=(2, 1, 3), kernel_axis=0, keras_axes=(-2,), windows="spread", decodes=(1,)
    ),
    OpFacts("CONV_3D_TRANSPOSE", data_kernel_bias=(2, 1, 3), kernel_axis=3, keras_axes=(-2,)),
    # A kernel alone.
    OpFacts("BATCH_MATMUL", kernel_axis=1),
    OpFacts(
        "EMBEDDING_LOOKUP", kernel_axis=0, keras_axes=(0,), looks_up=True, int4="float", no_int4_on=("tflm", "ethos-u")
    ),
    OpFacts("GATHER", kernel_axis=0, keras_axes=(0,), looks_up=True, moves_data=True),
    # A whole layer. CMSIS-NN reads its kernels before any op has run, so that no op can decode them.
    OpFacts(LSTM, recurrent=LSTM_INPUTS),
    # Arithmetic.
    OpFacts("ADD", elementwise=True, adds=True),
    OpFacts("SUB", elementwise=True, adds=True),
    OpFacts("MUL", elementwise=True, multiplies=True),
    OpFacts("DIV", elementwise=True, nonzero=1),
    OpFacts("MAXIMUM", elementwise=True, compares=True),
    OpFacts("MINIMUM", elementwise=True, compares=True),
    OpFacts("SQUARED_DIFFERENCE", elementwise=True),
    OpFacts("EQUAL", exact=True),
    OpFacts("NOT_EQUAL", exact=True),
    OpFacts("ARG_MAX", compares=True),
    OpFacts("ARG_MIN", compares=True),
    OpFacts("REDUCE_MAX", compares=True),
    OpFacts("REDUCE_MIN", compares=True),
    OpFacts("TOPK_V2", compares=True),
    OpFacts("LOG", nonzero=0),
    OpFacts("SQRT", nonzero=0),
    OpFacts("RSQRT", nonzero=0),
    OpFacts("AVERAGE_POOL_2D", rounds_from_zero=True),
    OpFacts("LOGISTIC", probabilities=True),
    OpFacts("SOFTMAX", probabilities=True),
    # Ops that only move values.
    OpFacts("BROADCAST_TO", moves_data=True),
    OpFacts("CONCATENATION", moves_data=True),
    OpFacts("EXPAND_DIMS", moves_data=True),
    OpFacts("MAX_POOL_2D", moves_data=True, compares=True),
    OpFacts("PACK", moves_data=True),
    OpFacts("PAD", moves_data=True),
    OpFacts("RESHAPE", moves_data=True),
    OpFacts("RESIZE_NEAREST_NEIGHBOR", moves_data=True),
    OpFacts("SELECT", selects=True),
    OpFacts("SELECT_V2", selects=True, moves_data=True),
    OpFacts("SLICE", moves_data=True),
    OpFacts("SPLIT", moves_data=True),
    OpFacts("SPLIT_V", moves_data=True),
    OpFacts("SQUEEZE", moves_data=True),
    OpFacts("STRIDED_SLICE", moves_data=True),
    OpFacts("TILE", moves_data=True),
    OpFacts("TRANSPOSE", moves_data=True),
    OpFacts("UNPACK", moves_data=True),
    # Ops on shapes.
    OpFacts("RANK", reads_shape=True),
    OpFacts("SHAPE", reads_shape=True),
    # Type conversions.
    OpFacts("CAST", border=True, exact=True),
    OpFacts("DENSIFY", border=True, unpacks="sparse"),
    OpFacts("DEQUANTIZE", border=True, unpacks="quantized"),
    OpFacts("QUANTIZE", border=True),
    # Other subgraphs.
    OpFacts("CALL_ONCE", control="once"),
    OpFacts("IF", control="branch"),
    OpFacts("WHILE", control="loop"),
)
OPS: Mapping[str, OpFacts] = {row.name: row for row in _ROWS}
