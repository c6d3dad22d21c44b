"""The CMake fragment of a kit."""

from __future__ import annotations

from string import Template

from tfopt.deployment.kit.model import KitModel

_BASE = Template("""\
# add_subdirectory(kit), then link ${prefix}_model$tflm_hint.
cmake_minimum_required(VERSION 3.13)
project(${prefix}_kit LANGUAGES C CXX$assembler)

add_library(${prefix}_model STATIC c/${prefix}_model$ending c/${prefix}_golden.c)
target_include_directories(${prefix}_model PUBLIC "$${CMAKE_CURRENT_SOURCE_DIR}/c")
target_compile_features(${prefix}_model PUBLIC c_std_11)
if(NOT MSVC)
  target_link_libraries(${prefix}_model PUBLIC m)
endif()
$incbin""")

_INCBIN = Template("""\
# The assembler looks for the file here, and the array is made anew when it changes.
target_include_directories(${prefix}_model PRIVATE "$${CMAKE_CURRENT_SOURCE_DIR}")
set_source_files_properties(c/${prefix}_model.S PROPERTIES
  OBJECT_DEPENDS "$${CMAKE_CURRENT_SOURCE_DIR}/$file")
""")

_TFLM = Template("""
# The target of your build that has LiteRT for Microcontrollers with its include folders; empty for none.
if(NOT DEFINED ${macro}_TFLM)  # a cache entry would hide a variable of the project around this one
  set(${macro}_TFLM "" CACHE STRING "Target of LiteRT for Microcontrollers")
endif()
if(${macro}_TFLM)
  add_library(${prefix}_tflm STATIC c/${prefix}_tflm.cc)
  target_compile_features(${prefix}_tflm PUBLIC cxx_std_17)
  target_link_libraries(${prefix}_tflm PUBLIC ${prefix}_model "$${${macro}_TFLM}")
  # Runs on the device, or on this machine: 0 where all golden vectors pass.
  add_executable(${prefix}_golden_test EXCLUDE_FROM_ALL c/${prefix}_golden_main.cc)
  target_link_libraries(${prefix}_golden_test PRIVATE ${prefix}_tflm)
endif()
""")


def cmake_lists(model: KitModel) -> str:
    """`CMakeLists.txt`."""
    words = {"prefix": model.prefix, "macro": model.macro, "file": model.flashed_file}
    assembled = model.form == "incbin"
    text = _BASE.substitute(
        words,
        ending=".S" if assembled else ".c",
        assembler=" ASM" if assembled else "",
        tflm_hint="" if model.not_on_tflm else f"; with -D{model.macro}_TFLM=TARGET, {model.prefix}_tflm",
        incbin=_INCBIN.substitute(words) if assembled else "",
    )
    return text if model.not_on_tflm else text + _TFLM.substitute(words)
