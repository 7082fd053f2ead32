// Names of dtypes and devices. CUDA is opened only when a CUDA device is asked for.
#include <dlfcn.h>

#include <ATen/Context.h>

#include <cstdlib>
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

// Equal commands give equal bits on a card too: cuBLAS gets workspaces of its own per stream, ATen takes its deterministic kernels and says where
// it has none. What memory holds before it is written is left alone, which costs nothing.
void make_deterministic() {
  setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8", 0);  // read when cuBLAS is first used; the user's own choice stays
  at::globalContext().setDeterministicAlgorithms(true, true);
  at::globalContext().setDeterministicFillUninitializedMemory(false);
  at::globalContext().setBenchmarkCuDNN(false);
}

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
  if (!at::hasCUDA()) return "the driver offers no usable device";
  make_deterministic();
  return {};
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

}  // namespace mla
