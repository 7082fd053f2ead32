# How our libraries and tests are declared. All torch libraries share one precompiled header, so they share their options.
function(mla_add_library name)
  add_library(${name} STATIC ${ARGN})
  target_link_libraries(${name} PUBLIC mla_options nlohmann_json::nlohmann_json)
endfunction()

function(mla_add_torch_library name)
  add_library(${name} STATIC ${ARGN})
  target_link_libraries(${name} PUBLIC mla_torch)
  target_precompile_headers(${name} REUSE_FROM mla_torch_pch)
endfunction()

# One executable and one ctest entry per folder of tests/. Tests of the torch libraries share one precompiled header.
function(mla_add_test name)
  add_executable(${name} ${ARGN})
  target_link_libraries(${name} PRIVATE mla_catch_main)
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES
    ENVIRONMENT "MLAFORGE_SOURCE_DIR=${PROJECT_SOURCE_DIR};MLAFORGE_BINARY=$<$<TARGET_EXISTS:mlaforge>:$<TARGET_FILE:mlaforge>>")
endfunction()

function(mla_add_torch_test name)
  mla_add_test(${name} ${ARGN})
  target_link_libraries(${name} PRIVATE mla_test_support)
  set_target_properties(${name} PROPERTIES POSITION_INDEPENDENT_CODE OFF)  # as the header was compiled
  target_precompile_headers(${name} REUSE_FROM mla_test_support)
endfunction()
