# What every target of this project is built with, and the functions that make targets.
include_guard(GLOBAL)
find_package(Threads REQUIRED)

find_program(HIVE_CCACHE ccache)
if(HIVE_CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${HIVE_CCACHE})
endif()
find_program(HIVE_MOLD mold)

add_library(hive_options INTERFACE)
add_library(hive::options ALIAS hive_options)
target_compile_features(hive_options INTERFACE cxx_std_20)
target_compile_options(hive_options INTERFACE
  -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror -fno-omit-frame-pointer)
# GCC 12 sees overflows in inlined string code that are not there (GCC bugs 105329, 105651).
target_compile_options(hive_options INTERFACE -Wno-stringop-overflow -Wno-restrict)
target_include_directories(hive_options INTERFACE ${CMAKE_SOURCE_DIR})
target_link_libraries(hive_options INTERFACE Threads::Threads)
if(HIVE_MOLD)
  target_link_options(hive_options INTERFACE -fuse-ld=mold)
endif()
if(HIVE_SANITIZE)
  # GCC warns about its own instrumentation (its manual says so of these); the uninstrumented presets keep the warnings.
  target_compile_options(hive_options INTERFACE -Wno-maybe-uninitialized -Wno-stringop-overread -Wno-array-bounds)
  # All libraries are compiled in groups then, in which files see each other's names.
  target_compile_options(hive_options INTERFACE -Wno-shadow -Wno-subobject-linkage)
endif()
if(HIVE_SANITIZE STREQUAL "address")
  target_compile_options(hive_options INTERFACE -fsanitize=address,undefined -fno-sanitize-recover=all)
  target_link_options(hive_options INTERFACE -fsanitize=address,undefined)
elseif(HIVE_SANITIZE STREQUAL "thread")
  target_compile_options(hive_options INTERFACE -fsanitize=thread -Wno-tsan)
  target_link_options(hive_options INTERFACE -fsanitize=thread)
endif()

# Messages are made on one thread and freed on another: the C library's allocator takes a lock for each, mimalloc none.
# Linked into every program, so that tests run with what users run; sanitizers bring their own.
if(NOT HIVE_SANITIZE)
  find_package(mimalloc REQUIRED)
  target_link_libraries(hive_options INTERFACE mimalloc)
endif()

# One precompiled header of standard and JSON headers, shared by all targets.
file(WRITE ${CMAKE_BINARY_DIR}/hive_pch.cpp "")
add_library(hive_pch OBJECT ${CMAKE_BINARY_DIR}/hive_pch.cpp)
target_link_libraries(hive_pch PRIVATE hive_options)
target_precompile_headers(hive_pch PRIVATE
  <algorithm> <array> <atomic> <chrono> <coroutine> <cstdint> <deque> <functional> <map> <memory> <mutex>
  <optional> <span> <string> <string_view> <thread> <unordered_map> <utility> <variant> <vector>
  <nlohmann/json.hpp>)

# hive_library(NAME SOURCES ... DEPS ... PRIVATE_DEPS ...): the target of one folder, alias hive::NAME.
function(hive_library name)
  cmake_parse_arguments(arg "" "" "SOURCES;DEPS;PRIVATE_DEPS" ${ARGN})
  add_library(hive_${name} STATIC ${arg_SOURCES})
  add_library(hive::${name} ALIAS hive_${name})
  target_link_libraries(hive_${name} PUBLIC hive_options ${arg_DEPS} PRIVATE ${arg_PRIVATE_DEPS})
  target_precompile_headers(hive_${name} REUSE_FROM hive_pch)
  if(HIVE_SANITIZE) # built whole or not at all
    hive_in_groups(hive_${name})
  endif()
endfunction()

# hive_in_groups(TARGET): sources compiled several at a time, so that the headers they share are read once. For targets
# of many files with heavy headers; what a file keeps to itself needs a name of its own in the folder.
function(hive_in_groups target)
  set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 5)
endfunction()

# hive_proto_library(NAME SOURCES ... INCLUDES DIR DEPS ...): code that protoc made, alias hive::NAME.
function(hive_proto_library name)
  cmake_parse_arguments(arg "" "INCLUDES" "SOURCES;DEPS" ${ARGN})
  add_library(hive_${name} STATIC ${arg_SOURCES})
  add_library(hive::${name} ALIAS hive_${name})
  target_compile_options(hive_${name} PRIVATE -w) # generated: not ours to mend
  if(HIVE_SANITIZE STREQUAL "address")
    target_compile_options(hive_${name} PRIVATE -fsanitize=address,undefined)
  elseif(HIVE_SANITIZE STREQUAL "thread")
    target_compile_options(hive_${name} PRIVATE -fsanitize=thread)
  endif()
  target_include_directories(hive_${name} SYSTEM PUBLIC ${arg_INCLUDES})
  target_link_libraries(hive_${name} PUBLIC ${arg_DEPS})
endfunction()

# hive_executable(NAME SOURCES ... DEPS ...)
function(hive_executable name)
  cmake_parse_arguments(arg "" "" "SOURCES;DEPS" ${ARGN})
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE hive_options ${arg_DEPS})
  target_precompile_headers(${name} REUSE_FROM hive_pch)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
endfunction()

# hive_test(NAME SOURCES ... DEPS ... LABELS ... [TIMEOUT seconds]): one GoogleTest binary, its cases known to ctest.
function(hive_test name)
  cmake_parse_arguments(arg "" "TIMEOUT" "SOURCES;DEPS;LABELS" ${ARGN})
  find_package(GTest REQUIRED)
  hive_executable(${name} SOURCES ${arg_SOURCES} DEPS ${arg_DEPS} GTest::gtest GTest::gmock GTest::gtest_main)
  hive_in_groups(${name})
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 60)
  endif()
  if(HIVE_SANITIZE) # on a busy machine a sanitizer's build takes many times as long
    math(EXPR arg_TIMEOUT "${arg_TIMEOUT} * 5")
  endif()
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES LABELS "${arg_LABELS}" TIMEOUT ${arg_TIMEOUT}
    ENVIRONMENT "HIVE_SOURCE_DIR=${CMAKE_SOURCE_DIR};HIVE_BIN_DIR=${CMAKE_BINARY_DIR}/bin;TSAN_OPTIONS=suppressions=${CMAKE_SOURCE_DIR}/tests/support/tsan.supp")
endfunction()
