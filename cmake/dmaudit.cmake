# What every folder's CMakeLists uses: one way to make a library and one way to make a test.

find_package(Threads REQUIRED)

add_library(dmaudit_flags INTERFACE)
target_compile_features(dmaudit_flags INTERFACE cxx_std_20)
target_include_directories(dmaudit_flags INTERFACE ${CMAKE_SOURCE_DIR})
target_compile_options(dmaudit_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-missing-field-initializers
  $<$<BOOL:${DMAUDIT_WERROR}>:-Werror>
  $<$<COMPILE_LANG_AND_ID:CXX,GNU>:-Wno-interference-size>)
target_link_libraries(dmaudit_flags INTERFACE Threads::Threads)
if(DMAUDIT_SANITIZE)
  list(JOIN DMAUDIT_SANITIZE "," sanitizers)
  add_compile_options(-fsanitize=${sanitizers} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  if(DMAUDIT_SANITIZE MATCHES "address" AND CMAKE_CXX_COMPILER_ID MATCHES Clang)
    add_compile_options("SHELL:-mllvm -asan-use-stack-safety=1") # accesses that are proven to be in bounds need no check
  endif()
  add_link_options(-fsanitize=${sanitizers})
endif()

if(DMAUDIT_LTO)
  add_link_options(-fuse-ld=lld)
endif()

# Code that sanitizers do not instrument keeps the mirror in AddressSanitizer all the same.
if("${DMAUDIT_SANITIZE};${CMAKE_CXX_FLAGS}" MATCHES "address")
  target_compile_definitions(dmaudit_flags INTERFACE DMAUDIT_ASAN)
endif()

# dmaudit_library(NAME [UNDER_TEST] SOURCES a.cpp ... [LINK lib ...])
# UNDER_TEST: code that fuzzing is about. Only that is instrumented for coverage: in the harness it would cost more than
# half of the executions per second and teach the fuzzer nothing about the allocator.
function(dmaudit_library name)
  cmake_parse_arguments(A "UNDER_TEST" "" "SOURCES;LINK" ${ARGN})
  add_library(${name} STATIC ${A_SOURCES})
  target_link_libraries(${name} PUBLIC dmaudit_flags dmaudit_provider_interface ${A_LINK})
  if(CMAKE_CXX_COMPILER_ID MATCHES Clang)
    if(A_UNDER_TEST)
      if(DMAUDIT_COVERAGE)
        # Values in comparisons guide only mutation of bytes, of which there is little, and cost a tenth of the time.
        target_compile_options(${name} PRIVATE -fsanitize=fuzzer-no-link -fno-sanitize-coverage=trace-cmp,indirect-calls)
      endif()
    else()
      target_compile_options(${name} PRIVATE -fno-sanitize=fuzzer-no-link)
      if(NOT DMAUDIT_SANITIZE_HARNESS)
        target_compile_options(${name} PRIVATE -fno-sanitize=all -O3 $<$<BOOL:${DMAUDIT_LTO}>:-flto=thin>)
      endif()
    endif()
  endif()
endfunction()

# dmaudit_test(NAME SOURCES a_test.cpp ... [LINK lib ...] [LABELS quick] [RAPIDCHECK] [TIMEOUT seconds])
# One ctest entry for each test program.
function(dmaudit_test name)
  if(NOT DMAUDIT_TESTS)
    return()
  endif()
  cmake_parse_arguments(A "RAPIDCHECK" "TIMEOUT" "SOURCES;LINK;LABELS" ${ARGN})
  add_executable(${name} ${A_SOURCES})
  target_link_libraries(${name} PRIVATE dmaudit_flags dmaudit_provider_interface ${A_LINK} GTest::gtest_main)
  if(A_RAPIDCHECK)
    target_link_libraries(${name} PRIVATE rapidcheck rapidcheck_gtest)
  endif()
  add_test(NAME ${name} COMMAND ${name})
  if(NOT A_TIMEOUT)
    set(A_TIMEOUT 300)
  endif()
  set_tests_properties(${name} PROPERTIES LABELS "${A_LABELS}" TIMEOUT ${A_TIMEOUT})
endfunction()
