# Imported targets for LibTorch as the PyPI wheel or the zip of the project lays it out: no import of torch, no FindCUDA.
#   torch::cpu              what CPU programs link
#   torchlib::<name>        each shared library that is there (torch_cuda, c10_cuda, ...)
# LibTorch_ROOT (a cache variable, or in the environment) names the folder that holds include/ and lib/; where it is empty,
# scripts/bootstrap's copy and then the interpreter's own torch package are taken.
if(NOT LibTorch_ROOT)
  set(fetched "${PROJECT_SOURCE_DIR}/.cache")
  if(DEFINED ENV{MLAFORGE_CACHE})
    set(fetched "$ENV{MLAFORGE_CACHE}")
  endif()
  if(DEFINED ENV{LibTorch_ROOT})
    set(LibTorch_ROOT "$ENV{LibTorch_ROOT}")
  elseif(EXISTS "${fetched}/libtorch/torch/lib/libtorch_cpu.so")
    set(LibTorch_ROOT "${fetched}/libtorch/torch")
  else()
    find_package(Python3 COMPONENTS Interpreter QUIET)
    if(Python3_FOUND)
      execute_process(
        COMMAND ${Python3_EXECUTABLE} -c "import importlib.util as u; s = u.find_spec('torch'); print(s.submodule_search_locations[0] if s else '')"
        OUTPUT_VARIABLE LibTorch_ROOT OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
    endif()
  endif()
endif()
set(LibTorch_ROOT "${LibTorch_ROOT}" CACHE PATH "Folder with LibTorch's include/ and lib/")

include(FindPackageHandleStandardArgs)
find_path(LibTorch_INCLUDE_DIR ATen/ATen.h PATHS "${LibTorch_ROOT}/include" NO_DEFAULT_PATH)
find_library(LibTorch_LIBRARY torch_cpu PATHS "${LibTorch_ROOT}/lib" NO_DEFAULT_PATH)
find_package_handle_standard_args(LibTorch
  REQUIRED_VARS LibTorch_LIBRARY LibTorch_INCLUDE_DIR
  REASON_FAILURE_MESSAGE "run scripts/bootstrap, or set LibTorch_ROOT to a LibTorch 2.11 or newer")

if(LibTorch_FOUND AND NOT TARGET torch::cpu)
  foreach(name c10 torch_cpu c10_cuda torch_cuda torch)
    if(EXISTS "${LibTorch_ROOT}/lib/lib${name}.so")
      add_library(torchlib::${name} SHARED IMPORTED GLOBAL)
      set_target_properties(torchlib::${name} PROPERTIES IMPORTED_LOCATION "${LibTorch_ROOT}/lib/lib${name}.so")
    endif()
  endforeach()
  add_library(torch::cpu INTERFACE IMPORTED GLOBAL)
  target_include_directories(torch::cpu SYSTEM INTERFACE
    "${LibTorch_INCLUDE_DIR}" "${LibTorch_INCLUDE_DIR}/torch/csrc/api/include")
  target_compile_definitions(torch::cpu INTERFACE USE_DISTRIBUTED USE_C10D_GLOO)
  target_link_libraries(torch::cpu INTERFACE torchlib::torch_cpu torchlib::c10 pthread)
  # libtorch_cpu.so names symbols of libraries that a CPU program never calls.
  target_link_options(torch::cpu INTERFACE "-Wl,--allow-shlib-undefined")
endif()
