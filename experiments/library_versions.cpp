#include <ATen/Version.h>
#include <CLI/Version.hpp>
#include <sqlite3.h>
#include <torch/csrc/api/include/torch/version.h>

#include "experiments/build_info.h"

namespace mla {

Json library_versions() {
  const std::string json = std::to_string(NLOHMANN_JSON_VERSION_MAJOR) + '.' + std::to_string(NLOHMANN_JSON_VERSION_MINOR) + '.' +
                           std::to_string(NLOHMANN_JSON_VERSION_PATCH);
  return {{"libtorch", TORCH_VERSION}, {"mkl", at::get_mkl_version()},     {"onednn", at::get_mkldnn_version()},
          {"openmp", at::get_openmp_version()},                            {"cpu", at::get_cpu_capability()},
          {"sqlite", sqlite3_libversion()}, {"nlohmann_json", json},       {"cli11", CLI11_VERSION},
          {"compiler", build_info().compiler}};
}

}  // namespace mla
