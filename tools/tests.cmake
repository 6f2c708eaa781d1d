# Tests of the shadow's and the harness's parts, of the command and of the layering. Included by the top CMakeLists once every
# target exists. Paths are relative to the source folder, so that the file may be included from anywhere.
if(NOT DMAUDIT_TESTS)
  return()
endif()

foreach(subject auditor registry state)
  dmaudit_test(shadow_${subject}_test SOURCES ${CMAKE_SOURCE_DIR}/shadow/${subject}_test.cpp LINK dmaudit_shadow LABELS quick)
endforeach()
