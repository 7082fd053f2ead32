// Names of dtypes and devices. CUDA is opened only when a CUDA device is asked for.
#include <dlfcn.h>
#include <stdlib.h>

#include <ATen/Context.h>

#include <filesystem>

#include "core/base/error.h"
#include "core/base/names.h"
#include "core/model/decoder.h"

namespace mla {
namespace {

struct NamedType {
  const char* name;
  at::ScalarType type;
};
constexpr NamedType kTypes[] = {{"fp32", at::kFloat}, {"bf16", at::kBFloat16}, {"fp16", at::kHalf}};

// Registers ATen's CUDA back end; the reason why not, or empty.
std::string open_cuda() {
#ifndef MLAFORGE_CUDA
  return "this program was configured with MLAFORGE_CUDA=OFF";
#endif
  if (at::hasCUDA()) return {};
  if (!std::filesystem::exists("/dev/nvidiactl") && !std::filesystem::exists("/dev/dxg")) return "no NVIDIA device is present";
  if (dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL) == nullptr) {
    const char* reason = dlerror();
    return reason != nullptr ? reason : "libtorch_cuda.so cannot be opened";
  }
  return at::hasCUDA() ? std::string() : "the driver offers no usable device";
}

}  // namespace

at::ScalarType parse_dtype(const std::string& name) {
  for (const NamedType& entry : kTypes)
    if (name == entry.name) return entry.type;
  fail<ConfigError>("dtype", "unknown dtype '", name, "'", known_names_hint(name, {"fp32", "bf16", "fp16"}));
}

const char* dtype_name(at::ScalarType dtype) {
  for (const NamedType& entry : kTypes)
    if (dtype == entry.type) return entry.name;
  fail<ShapeError>("dtype", "wanted a floating dtype of a model, got ", at::toString(dtype));
}

at::Device parse_device(const std::string& name) {
  if (name == "cpu") return at::kCPU;
  if (name != "auto" && name != "cuda")
    fail<ConfigError>("device", "unknown device '", name, "'", known_names_hint(name, {"auto", "cpu", "cuda"}));
  const std::string reason = open_cuda();
  if (reason.empty()) return at::Device(at::kCUDA, 0);
  if (name == "auto") return at::kCPU;
  fail<ResourceError>("device", "wanted a CUDA device, but ", reason, "; use --device cpu");
}

void compute_deterministically(at::Device device) {
  if (device.is_cpu()) return;
  setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8", 0);  // read when cuBLAS is opened; without it ATen refuses its products in this mode
  at::globalContext().setDeterministicAlgorithms(true, /*warn_only=*/false);
  at::globalContext().setBenchmarkCuDNN(false);
  at::globalContext().setDeterministicFillUninitializedMemory(false);  // a debugging aid that writes all memory twice
}

}  // namespace mla
