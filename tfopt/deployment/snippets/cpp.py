"""`c++`: C++ with the C API of TensorFlow Lite and LiteRT, which stays the same from release to release."""

from __future__ import annotations

import math
from string import Template

from tfopt.deployment.identifiers import identifiers
from tfopt.deployment.snippet import Snippet
from tfopt.deployment.words import comment_text, decimal, input_words, output_words, streaming, wrapped
from tfopt.recipe.details.usage import TensorUsage, Usage

_CODE = Template("""\
// Runs $file by the C API of TensorFlow Lite and LiteRT.
//   g++ -std=c++17 predict.cpp -ltensorflowlite_c
$any_batch
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "tensorflow/lite/c/c_api.h"

struct Inputs {
$inputs
};

struct Outputs {
$outputs
};

class Model {
 public:
  explicit Model(const char* file)
      : model_(TfLiteModelCreateFromFile(file), TfLiteModelDelete),
        interpreter_(model_ ? TfLiteInterpreterCreate(model_.get(), nullptr) : nullptr, TfLiteInterpreterDelete),
        runner_(interpreter_ ? TfLiteInterpreterGetSignatureRunner(interpreter_.get(), $signature) : nullptr,
                TfLiteSignatureRunnerDelete) {
    if (!runner_) throw std::runtime_error("cannot load " + std::string(file));
    check(TfLiteSignatureRunnerAllocateTensors(runner_.get()), "cannot allocate the tensors");
  }

$reset  Outputs predict(const Inputs& inputs) {
$predict
    return outputs;
  }

 private:
  static void check(TfLiteStatus status, const char* otherwise) {
    if (status != kTfLiteOk) throw std::runtime_error(otherwise);
  }
$functions
  template <typename T>
  void feed(const char* name, const std::vector<T>& values) {
    TfLiteTensor* tensor = TfLiteSignatureRunnerGetInputTensor(runner_.get(), name);
    const size_t bytes = values.size() * sizeof(T);
    if (tensor == nullptr || TfLiteTensorByteSize(tensor) != bytes) {
      throw std::runtime_error("wrong number of values for " + std::string(name));
    }
    check(TfLiteTensorCopyFromBuffer(tensor, values.data(), bytes), name);
  }

  template <typename T>
  std::vector<T> fetch(const char* name) {
    const TfLiteTensor* tensor = TfLiteSignatureRunnerGetOutputTensor(runner_.get(), name);
    if (tensor == nullptr) throw std::runtime_error("there is no output " + std::string(name));
    std::vector<T> values(TfLiteTensorByteSize(tensor) / sizeof(T));
    check(TfLiteTensorCopyToBuffer(tensor, values.data(), values.size() * sizeof(T)), name);
    return values;
  }

  std::unique_ptr<TfLiteModel, decltype(&TfLiteModelDelete)> model_;
  std::unique_ptr<TfLiteInterpreter, decltype(&TfLiteInterpreterDelete)> interpreter_;
  std::unique_ptr<TfLiteSignatureRunner, decltype(&TfLiteSignatureRunnerDelete)> runner_;
};

int main() {
  Model model($file_quoted);
  Inputs inputs;
$example
$begins  const Outputs outputs = model.predict(inputs);
$printed
  return 0;
}
""")

_RESET = """\
  // Begins a new sequence.
  void reset() { check(TfLiteInterpreterResetVariableTensors(interpreter_.get()), "cannot reset the state"); }

"""

_QUANTIZE = """
  // Numbers of the model as the file's integers; a plain cast would give other ones.
  template <typename Q>
  static std::vector<Q> quantize(const std::vector<float>& values, float scale, int zero_point) {
    std::vector<Q> steps;
    for (const float x : values) {
      const float step = std::nearbyint(x / scale) + static_cast<float>(zero_point);
      steps.push_back(static_cast<Q>(std::clamp(step, static_cast<float>(std::numeric_limits<Q>::min()),
                                                static_cast<float>(std::numeric_limits<Q>::max()))));
    }
    return steps;
  }
"""

_DEQUANTIZE = """
  template <typename Q>
  static std::vector<float> dequantize(const std::vector<Q>& steps, float scale, int zero_point) {
    std::vector<float> values;
    for (const Q q : steps) values.push_back(static_cast<float>(static_cast<int>(q) - zero_point) * scale);
    return values;
  }
"""

_LARGEST = """
  // The place of the largest of every `count` scores; of integers it is that of the largest number.
  template <typename T>
  static std::vector<int> largest(const std::vector<T>& scores, size_t count) {
    std::vector<int> classes;
    for (auto row = scores.begin(); row != scores.end(); row += static_cast<std::ptrdiff_t>(count)) {
      const auto end = row + static_cast<std::ptrdiff_t>(count);
      classes.push_back(static_cast<int>(std::max_element(row, end) - row));
    }
    return classes;
  }
"""

C_TYPES = {
    "float32": "float",
    "int8": "int8_t",
    "uint8": "uint8_t",
    "int16": "int16_t",
    "int32": "int32_t",
    "int64": "int64_t",
    "bool": "uint8_t",  # std::vector<bool> has no array of bytes
}


def write(usage: Usage, file: str) -> str:
    """The code for a file."""
    taken = identifiers(end.name for end in usage.inputs)
    given = identifiers(end.name for end in usage.outputs)
    flexible = any(size < 0 for end in usage.inputs for size in end.shape)
    decided = {end.decides.rule for end in usage.outputs if end.decides}
    functions = _QUANTIZE if any(end.quantized for end in usage.inputs) else ""
    functions += _DEQUANTIZE if any(end.quantized for end in usage.outputs) else ""
    return _CODE.substitute(
        file=comment_text(file),
        file_quoted=quoted(file),
        any_batch="// The file takes any number of samples at once; this code gives it one.\n" if flexible else "",
        signature=quoted(usage.signature or ""),
        inputs="\n".join(line for end in usage.inputs for line in _input(taken[end.name], end)),
        outputs="\n".join(line for end in usage.outputs for line in _fields(given[end.name], end)),
        predict="\n".join(f"    {line}" for line in _predict(usage, taken, given)),
        reset=_RESET if usage.streams else "",
        begins="  model.reset();  // where a sequence begins, and not between its pieces\n" if usage.streams else "",
        functions=functions + (_LARGEST if "largest" in decided else ""),
        example="\n".join(f"  inputs.{taken[end.name]}.resize({size(end)});  // your own data" for end in usage.inputs),
        printed="\n".join(_printed(given[end.name], end) for end in usage.outputs),
    )


def _predict(usage: Usage, taken: dict[str, str], given: dict[str, str]) -> list[str]:
    lines = []
    lines += [f"// {line}" for line in streaming(usage, "reset()")]
    if usage.resets:
        lines += ["// The file keeps state from run to run."]
        lines += ['check(TfLiteInterpreterResetVariableTensors(interpreter_.get()), "cannot reset the state");']
    for end in usage.inputs:
        values = f"inputs.{taken[end.name]}"
        if end.quantized:
            values = f"quantize<{C_TYPES[end.dtype]}>({values}, {c_float(end.scale)}, {end.zero_point})"
        lines.append(f"feed({quoted(end.name)}, {values});")
    lines += ['check(TfLiteSignatureRunnerInvoke(runner_.get()), "cannot run the model");', "Outputs outputs;"]
    for end in usage.outputs:
        name = given[end.name]
        lines.append(f"const auto {name} = fetch<{C_TYPES[end.dtype]}>({quoted(end.name)});")
        values = f"dequantize({name}, {c_float(end.scale)}, {end.zero_point})" if end.quantized else name
        lines.append(f"outputs.{name} = {values};")
        if end.decides and end.decides.rule == "largest":
            lines.append(f"outputs.{name}_class = largest({name}, {end.decides.count});")
        elif end.decides:
            threshold = c_float(end.decides.threshold)
            lines.append(f"for (const float score : outputs.{name}) {{")
            lines += [f"  outputs.{name}_class.push_back(score > {threshold} ? 1 : 0);", "}"]
    return lines


def _input(name: str, end: TensorUsage) -> list[str]:
    return [wrapped(input_words(end), "  // "), f"  std::vector<{outer_type(end)}> {name};"]


def _fields(name: str, end: TensorUsage) -> list[str]:
    lines = [wrapped(output_words(end), "  // "), f"  std::vector<{outer_type(end)}> {name};"]
    return lines + ([f"  std::vector<int> {name}_class;"] if end.decides else [])


def _printed(name: str, end: TensorUsage) -> str:
    if end.decides:
        return f'  std::printf("{name}: class %d\\n", outputs.{name}_class.front());'
    return f'  std::printf("{name}: %g\\n", static_cast<double>(outputs.{name}.front()));'


def outer_type(end: TensorUsage) -> str:
    """The C type of the numbers that a user gives or gets."""
    return "float" if end.quantized else C_TYPES[end.dtype]


def size(end: TensorUsage) -> int:
    """The number of values of a tensor."""
    return math.prod(end.fixed_shape)


def c_float(value: float) -> str:
    """A float literal of C, and of Kotlin."""
    text = decimal(value)
    return f"{text}f" if any(sign in text for sign in ".e") else f"{text}.0f"


def quoted(text: str) -> str:
    """A string literal of C."""
    return f'"{"".join(_escape(sign) for sign in text)}"'


def _escape(sign: str) -> str:
    if sign in '\\"':
        return f"\\{sign}"
    return sign if sign.isprintable() else "".join(f"\\{byte:03o}" for byte in sign.encode(errors="replace"))


CPP = Snippet("c++", "C++ with LiteRT's C API", "cpp", write, rank=20)
