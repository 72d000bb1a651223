# One library per room, one test program per room's tests: the link graph is the include graph.

# tandem_library(NAME SOURCES a.cc ... DEPENDS lib ...)
function(tandem_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPENDS" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  target_include_directories(${name} PUBLIC ${PROJECT_SOURCE_DIR})
  target_link_libraries(${name} PUBLIC tandem_options ${ARG_DEPENDS})
endfunction()

# All test programs of the label unit: what the sanitizer builds need.
add_custom_target(unit_tests)

# tandem_test(NAME SOURCES a_test.cc ... DEPENDS lib ... LABEL unit|golden|... [TIMEOUT s])
function(tandem_test name)
  cmake_parse_arguments(ARG "" "LABEL;TIMEOUT" "SOURCES;DEPENDS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR})
  target_link_libraries(${name} PRIVATE ${ARG_DEPENDS} GTest::gmock GTest::gtest_main)
  target_compile_definitions(${name} PRIVATE
    TANDEM_TEST_DATA="${PROJECT_SOURCE_DIR}/tests/golden/data"
    TANDEM_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()
  if("unit" IN_LIST ARG_LABEL)
    add_dependencies(unit_tests ${name})
  endif()
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES LABELS "${ARG_LABEL}" TIMEOUT ${ARG_TIMEOUT})
endfunction()
