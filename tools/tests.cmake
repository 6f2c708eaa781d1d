# Tests of the shadow's and the harness's parts, of the command and of the layering. Included by the top CMakeLists once every
# target exists. Paths are relative to the source folder, so that the file may be included from anywhere.
if(NOT DMAUDIT_TESTS)
  return()
endif()

foreach(subject registry state)
  dmaudit_test(shadow_${subject}_test SOURCES ${CMAKE_SOURCE_DIR}/shadow/${subject}_test.cpp LINK dmaudit_shadow LABELS quick)
endforeach()
set(auditor_tests)
foreach(subject auditor auditor_blocks auditor_client auditor_lines auditor_mappings auditor_noncoherent auditor_opaque auditor_pools auditor_scatter)
  list(APPEND auditor_tests ${CMAKE_SOURCE_DIR}/shadow/${subject}_test.cpp)
endforeach()
dmaudit_test(shadow_auditor_test SOURCES ${auditor_tests} LINK dmaudit_shadow LABELS quick)

foreach(subject world contents session execute report campaign model verify)
  dmaudit_test(harness_${subject}_test SOURCES ${CMAKE_SOURCE_DIR}/harness/${subject}_test.cpp LINK dmaudit_harness dmaudit_providers LABELS quick)
endforeach()

dmaudit_test(harness_verify_same_test SOURCES ${CMAKE_SOURCE_DIR}/harness/verify_same_test.cpp LINK dmaudit_harness dmaudit_providers)

if(TARGET dmaudit)
  add_test(NAME cli_test COMMAND bash ${CMAKE_SOURCE_DIR}/tools/cli_test.sh $<TARGET_FILE:dmaudit>)
  set_tests_properties(cli_test PROPERTIES LABELS quick TIMEOUT 300)
endif()

add_test(NAME layering_test COMMAND bash ${CMAKE_SOURCE_DIR}/tools/layering_test.sh ${CMAKE_SOURCE_DIR})
set_tests_properties(layering_test PROPERTIES LABELS quick TIMEOUT 60)
add_test(NAME api_coverage_test COMMAND bash ${CMAKE_SOURCE_DIR}/tools/api_coverage_test.sh ${CMAKE_SOURCE_DIR})
set_tests_properties(api_coverage_test PROPERTIES LABELS quick TIMEOUT 60)
