# Looks for an nvcc that works: CUDACXX, the PATH, CUDA_HOME, CUDA_PATH, the usual folder. Without one everything but the kernels' module is built.
set(MLAFORGE_CUDA_ARCHITECTURES "80-real;90a-real;100" CACHE STRING "Architectures of the kernels' module, as CMAKE_CUDA_ARCHITECTURES has them")
set(CMAKE_CUDA_ARCHITECTURES OFF)  # of targets that name none: there are none
if(NOT CMAKE_CUDA_COMPILER AND NOT DEFINED ENV{CUDACXX})
  find_program(MLAFORGE_NVCC nvcc PATHS "$ENV{CUDA_HOME}/bin" "$ENV{CUDA_PATH}/bin" /usr/local/cuda/bin)
  if(MLAFORGE_NVCC)
    set(ENV{CUDACXX} "${MLAFORGE_NVCC}")
  endif()
endif()
include(CheckLanguage)
check_language(CUDA)  # a toolkit without its libraries is none
if(CMAKE_CUDA_COMPILER)
  enable_language(CUDA)
endif()
