# `cmake --install`: the program, every library with its headers, and a package for find_package(mlaforge). docs/library.md.
include(CMakePackageConfigHelpers)

set(MLA_LIBRARIES mla_options mla_torch mla_base mla_formats mla_tokenizer mla_tensor mla_checkpoint mla_model mla_gpu mla_operators mla_engine mla_calibration mla_distributed mla_methods
  mla_statistics mla_scorers mla_tasks mla_eval mla_results mla_plots mla_bench mla_sweep mla_commands mla_experiments)
add_library(mla_library INTERFACE)
target_link_libraries(mla_library INTERFACE mla_experiments)
target_include_directories(mla_library INTERFACE "$<INSTALL_INTERFACE:include>")
set_target_properties(mla_library PROPERTIES EXPORT_NAME mlaforge)

install(TARGETS ${MLA_LIBRARIES} mla_library EXPORT mlaforge_targets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}/mlaforge)
install(TARGETS mlaforge RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(TARGETS mlaforge_models RUNTIME DESTINATION ${CMAKE_INSTALL_LIBEXECDIR}/mlaforge)
if(TARGET mlaforge_cuda)
  install(TARGETS mlaforge_cuda LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}/mlaforge)
endif()
foreach(folder core methods eval results plots experiments)
  install(DIRECTORY ${PROJECT_SOURCE_DIR}/${folder} DESTINATION include/mlaforge FILES_MATCHING PATTERN "*.h")
endforeach()
install(FILES ${PROJECT_SOURCE_DIR}/experiments/mlaforge.h DESTINATION include)

set(package ${CMAKE_INSTALL_LIBDIR}/cmake/mlaforge)
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/mlaforgeConfig.cmake.in ${PROJECT_BINARY_DIR}/mlaforgeConfig.cmake INSTALL_DESTINATION ${package})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/mlaforgeConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/mlaforgeConfig.cmake ${PROJECT_BINARY_DIR}/mlaforgeConfigVersion.cmake ${PROJECT_SOURCE_DIR}/cmake/FindLibTorch.cmake
  DESTINATION ${package})
install(EXPORT mlaforge_targets NAMESPACE mlaforge:: DESTINATION ${package})
