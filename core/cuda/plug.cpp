#include "core/cuda/plug.h"

#include <dlfcn.h>

#include <cstdlib>

#include "core/base/error.h"

namespace mla::gpu {
namespace {

namespace fs = std::filesystem;

constexpr int kOutOfMemory = 2;      // cudaErrorMemoryAllocation
constexpr int kNoImage = 209;        // cudaErrorNoKernelImageForDevice
constexpr int kOldDriver = 35;       // cudaErrorInsufficientDriver
constexpr int kNoDevice = 100;       // cudaErrorNoDevice

std::string joined(const std::vector<fs::path>& places) {
  std::string text;
  for (const fs::path& place : places) text += (text.empty() ? "" : ", ") + place.string();
  return text;
}

const CudaTable& open_file(const fs::path& file) {
  void* handle = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    const char* reason = dlerror();
    fail<CudaError>("cuda", "wanted to open the CUDA module ", file.string(), ", got: ", reason != nullptr ? reason : "no reason");
  }
  using Entry = const CudaTable* (*)();
  const auto entry = reinterpret_cast<Entry>(dlsym(handle, kTableSymbol));
  if (entry == nullptr) fail<CudaError>("cuda", "wanted the function ", kTableSymbol, " in ", file.string(), ", but the file has none; it is no module of this program");
  const CudaTable* table = entry();
  check_table(*table, file.string());
  return *table;
}

}  // namespace

std::vector<fs::path> module_places() {
  if (const char* given = std::getenv("MLAFORGE_CUDA_MODULE"); given != nullptr && *given != '\0') return {fs::path(given)};
  std::error_code ignored;
  const fs::path program = fs::read_symlink("/proc/self/exe", ignored).parent_path();
  std::vector<fs::path> places;
  for (const char* folder : {".", "../lib", "../lib/mlaforge", MLAFORGE_MODULE_FOLDER, "../" MLAFORGE_MODULE_FOLDER}) {  // of a build, beside bin, beside libexec
    const fs::path place = (program / folder / kModuleName).lexically_normal();
    if (places.empty() || places.back() != place) places.push_back(place);
  }
  return places;
}

void check_table(const CudaTable& table, const std::string& where) {
  if (table.version != kTableVersion)
    fail<CudaError>("cuda", "wanted version ", kTableVersion, " of the CUDA module, got version ", table.version, " in ", where, "; build program and module together");
  if (table.bytes_of_table != sizeof(CudaTable) || table.bytes_of_decode != sizeof(DecodeArgs) || table.bytes_of_append != sizeof(CacheAppendArgs) || table.bytes_of_scores != sizeof(RunningScore))
    fail<CudaError>("cuda", "wanted the CUDA module of this build, but ", where, " has structs of other sizes; build program and module together");
}

const CudaTable& load_module(const std::vector<fs::path>& places) {
  std::error_code ignored;
  for (const fs::path& place : places)
    if (fs::is_regular_file(place, ignored)) return open_file(place);
  fail<CudaError>("cuda", "wanted the CUDA module ", kModuleName, ", looked for ", joined(places), ", found none; build with nvcc (docs/cuda.md) or name the file in MLAFORGE_CUDA_MODULE");
}

const CudaTable& open_module() {
  static const CudaTable& table = load_module(module_places());  // an error is thrown again by the next call
  return table;
}

Card open_card(const CudaTable& table, int index) {
  int count = 0;
  const int code = table.card_count(&count);
  if (code == kNoDevice || (code == 0 && count == 0)) fail<CudaError>("cuda", "wanted a CUDA device, but there is none; use --device cpu");
  if (code == kOldDriver) fail<CudaError>("cuda", "wanted a CUDA device with a driver for CUDA 13, but there is no driver or an older one (", table.error_text(code), "); update the driver, or use --device cpu");
  if (code != 0) fail<CudaError>("cuda", "wanted a CUDA device, got: ", table.error_text(code), "; use --device cpu");
  if (index < 0 || index >= count) fail<CudaError>("cuda", "wanted CUDA device ", index, ", got a machine with ", count);
  Card card{};
  if (const int failed = table.card(index, &card); failed != 0) fail<CudaError>("cuda", "wanted the properties of CUDA device ", index, ", got: ", table.error_text(failed));
  if (const int failed = table.probe(index); failed == kNoImage)
    fail<CudaError>("cuda", "wanted kernels for ", describe(card), ", but the module was built for ", table.architectures, "; configure with -DMLAFORGE_CUDA_ARCHITECTURES=", card.major, card.minor, "-real");
  else if (failed != 0)
    fail<CudaError>("cuda", "wanted to use ", describe(card), ", got: ", table.error_text(failed));
  if (const int failed = table.set_card(index); failed != 0) fail<CudaError>("cuda", "wanted to use ", describe(card), ", got: ", table.error_text(failed));
  return card;
}

std::string describe(const Card& card) {
  return std::string(card.name) + ", compute capability " + std::to_string(card.major) + "." + std::to_string(card.minor) + ", " + std::to_string(card.multiprocessors) + " multiprocessors";
}

DecodeKernel decode_kernel_named(const std::string& name) {
  if (name.empty() || name == "fitting") return DecodeKernel::fitting;
  if (name == "wgmma") return DecodeKernel::wgmma;
  fail<ConfigError>("cuda", "wanted a decode kernel 'fitting' or 'wgmma', got '", name, "'");
}

CardLimits limits_of(const Card& card) {
  const char* kernel = std::getenv("MLAFORGE_DECODE_KERNEL");
  return {card.multiprocessors, card.shared_bytes, card.major >= 8, card.major == 9 && card.minor == 0, decode_kernel_named(kernel != nullptr ? kernel : "")};
}

void Operators::require(int code, const char* what) const {
  if (code != 0) fail<CudaError>("cuda", "wanted to launch ", what, ", got: ", table_->error_text(code), " (", code, ")");
}
void Operators::decode(const DecodeArgs& args, void* stream) const {
  check_decode(args);
  if (args.shape.batch > 0) require(table_->decode(&args, stream), "decode");
}
void Operators::cache_append(const CacheAppendArgs& args, void* stream) const {
  check_cache_append(args);
  require(table_->cache_append(&args, stream), "cache_append");
}
void Operators::residual_norm(const ResidualNormArgs& args, void* stream) const {
  check_residual_norm(args);
  require(table_->residual_norm(&args, stream), "residual_norm");
}
void Operators::swiglu(const SwigluArgs& args, void* stream) const {
  check_swiglu(args);
  require(table_->swiglu(&args, stream), "swiglu");
}
void Operators::logit_block(const LogitBlockArgs& args, void* stream) const {
  check_logit_block(args);
  require(table_->logit_block(&args, stream), "logit_block");
}
void Operators::synchronize() const {
  if (const int code = table_->synchronize(); code != 0) fail<CudaError>("cuda", "wanted the kernels that were launched to finish, got: ", table_->error_text(code), " (", code, ")");
}

CardMemory::CardMemory(const CudaTable& table, std::size_t bytes) : table_(&table), bytes_(bytes) {
  const int code = bytes > 0 ? table.allocate(&data_, bytes) : 0;
  if (code == 0) return;
  Card card{};
  const bool known = table.card(0, &card) == 0;
  if (code == kOutOfMemory && known)
    fail<ResourceError>("cuda", "wanted ", bytes, " bytes of the card's memory, got ", card.free_bytes, " free of ", card.total_bytes, "; use a smaller batch or a shorter context");
  fail<CudaError>("cuda", "wanted ", bytes, " bytes of the card's memory, got: ", table.error_text(code));
}
void CardMemory::write(const void* host) const {
  if (const int code = bytes_ > 0 ? table_->copy_in(data_, host, bytes_) : 0; code != 0) fail<CudaError>("cuda", "wanted to copy ", bytes_, " bytes to the card, got: ", table_->error_text(code));
}
void CardMemory::read(void* host) const {
  if (const int code = bytes_ > 0 ? table_->copy_out(host, data_, bytes_) : 0; code != 0) fail<CudaError>("cuda", "wanted to copy ", bytes_, " bytes from the card, got: ", table_->error_text(code));
}

}  // namespace mla::gpu
