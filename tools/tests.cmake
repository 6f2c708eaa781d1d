# Tests of the shadow's and the harness's parts, of the command and of the layering. Included by the top CMakeLists once every
# target exists. Paths are relative to the source folder, so that the file may be included from anywhere.
if(NOT DMAUDIT_TESTS)
  return()
endif()

foreach(subject registry state classes)
  dmaudit_test(shadow_${subject}_test SOURCES ${CMAKE_SOURCE_DIR}/shadow/${subject}_test.cpp LINK dmaudit_shadow LABELS quick)
endforeach()
set(auditor_tests)
foreach(subject auditor auditor_blocks auditor_client auditor_iommu auditor_lines auditor_mappings auditor_noncoherent auditor_opaque auditor_pools auditor_scatter)
  list(APPEND auditor_tests ${CMAKE_SOURCE_DIR}/shadow/${subject}_test.cpp)
endforeach()
dmaudit_test(shadow_auditor_test SOURCES ${auditor_tests} LINK dmaudit_shadow LABELS quick)

foreach(subject world contents session execute report campaign model illegal room codes open brackets)
  dmaudit_test(harness_${subject}_test SOURCES ${CMAKE_SOURCE_DIR}/harness/${subject}_test.cpp LINK dmaudit_harness dmaudit_providers LABELS quick)
endforeach()
# Waits for providers that do not come back.
dmaudit_test(harness_child_test SOURCES ${CMAKE_SOURCE_DIR}/harness/child_test.cpp LINK dmaudit_harness dmaudit_providers TIMEOUT 900)

target_sources(harness_execute_test PRIVATE ${CMAKE_SOURCE_DIR}/harness/execute_protocol_test.cpp)

# Exhaustive search: all of its tests, and those that are quick.
dmaudit_test(harness_verify_test SOURCES ${CMAKE_SOURCE_DIR}/harness/verify_test.cpp LINK dmaudit_harness dmaudit_providers TIMEOUT 1800)
if(DMAUDIT_TESTS)
  add_test(NAME harness_verify_quick_test COMMAND harness_verify_test
           --gtest_filter=Choices.*:Adversaries.*:StateKeys.*:Verify.Refuses*:Verify.Notices*)
  set_tests_properties(harness_verify_quick_test PROPERTIES LABELS quick TIMEOUT 600)
endif()
# Waits for a provider that does not come back.
dmaudit_test(harness_verify_child_test SOURCES ${CMAKE_SOURCE_DIR}/harness/verify_child_test.cpp LINK dmaudit_harness dmaudit_providers TIMEOUT 1800)
dmaudit_test(harness_verify_same_test SOURCES ${CMAKE_SOURCE_DIR}/harness/verify_same_test.cpp LINK dmaudit_harness dmaudit_providers TIMEOUT 2400)
if(DMAUDIT_TESTS)
  set_tests_properties(harness_verify_same_test PROPERTIES COST 1000) # the longest
endif()

dmaudit_test(harness_findings_test SOURCES ${CMAKE_SOURCE_DIR}/harness/findings_test.cpp LINK dmaudit_harness dmaudit_providers LABELS properties TIMEOUT 1800)

if(TARGET dmaudit)
  add_test(NAME cli_test COMMAND bash ${CMAKE_SOURCE_DIR}/tools/cli_test.sh $<TARGET_FILE:dmaudit>)
  set_tests_properties(cli_test PROPERTIES LABELS quick TIMEOUT 900)
  # No false alarm in five million conforming operations. By hand: tools/campaign.sh build/release/bin/dmaudit 100000000
  add_test(NAME conforming_campaign COMMAND bash ${CMAKE_SOURCE_DIR}/tools/campaign.sh $<TARGET_FILE:dmaudit> 5000000)
  set_tests_properties(conforming_campaign PROPERTIES LABELS campaign TIMEOUT 600 COST 500)
  foreach(what pages compared)
    add_test(NAME ${what}_test COMMAND bash ${CMAKE_SOURCE_DIR}/tools/${what}_test.sh $<TARGET_FILE:dmaudit> ${CMAKE_SOURCE_DIR})
    set_tests_properties(${what}_test PROPERTIES LABELS quick TIMEOUT 120)
  endforeach()
endif()

add_test(NAME layering_test COMMAND bash ${CMAKE_SOURCE_DIR}/tools/layering_test.sh ${CMAKE_SOURCE_DIR})
set_tests_properties(layering_test PROPERTIES LABELS quick TIMEOUT 60)
add_test(NAME api_coverage_test COMMAND bash ${CMAKE_SOURCE_DIR}/tools/api_coverage_test.sh ${CMAKE_SOURCE_DIR})
set_tests_properties(api_coverage_test PROPERTIES LABELS quick TIMEOUT 60)
