#include "core/checkpoint/directory_writer.h"

#include <unistd.h>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/process.h"
#include "core/base/sha256.h"
#include "core/checkpoint/safetensors_file.h"

namespace mla {
namespace {

SafeType safe_type(const at::Tensor& tensor, const std::string& name) {
  switch (tensor.scalar_type()) {
    case at::kFloat: return SafeType::f32;
    case at::kHalf: return SafeType::f16;
    case at::kBFloat16: return SafeType::bf16;
    case at::kDouble: return SafeType::f64;
    case at::kLong: return SafeType::i64;
    default: fail<ShapeError>("directory_writer", "tensor ", name, " has a type that safetensors files of ours do not hold");
  }
}

}  // namespace

DirectoryWriter::DirectoryWriter(std::filesystem::path out, ModelConfig config) : out_(std::move(out)), config_(std::move(config)) {
  namespace fs = std::filesystem;
  std::error_code error;
  if (fs::exists(out_) && (!fs::is_directory(out_) || !fs::is_empty(out_)))
    fail<ConfigError>("directory_writer", "wanted a new or empty folder, got ", out_.string(), "; choose another --out or remove it");
  const std::string name = out_.has_filename() ? out_.string() : out_.parent_path().string();
  temporary_ = name + ".partial-" + std::to_string(getpid());
  fs::create_directories(temporary_, error);
  if (error) fail<ResourceError>("directory_writer", "cannot create ", temporary_.string(), ": ", error.message());
}

DirectoryWriter::~DirectoryWriter() {
  std::error_code ignored;
  if (!temporary_.empty()) std::filesystem::remove_all(temporary_, ignored);
}

void DirectoryWriter::add(const std::string& name, const at::Tensor& tensor) { tensors_.emplace_back(name, tensor); }

void DirectoryWriter::add_file(const std::string& name, const std::string& content) {
  write_file_atomically(temporary_ / name, content);
}

void DirectoryWriter::finish(Json conversion) {
  std::vector<SafeEntry> entries;
  for (const auto& [name, tensor] : tensors_)
    entries.push_back({name, safe_type(tensor, name), tensor.sizes().vec(), tensor.nbytes()});
  const std::filesystem::path weights = temporary_ / "model.safetensors";
  {
    AtomicFile file(weights);
    file.write(safetensors_header(entries));
    for (const auto& [name, tensor] : tensors_) {
      throw_if_interrupted();
      const at::Tensor plain = tensor.to(at::kCPU).contiguous();
      file.write(plain.const_data_ptr(), plain.nbytes());
    }
    file.commit();
  }
  add_file("config.json", config_to_hf(config_).dump(2) + '\n');
  conversion["sha256"] = {{"model.safetensors", sha256_of_file(weights)}};
  add_file("mla_conversion.json", conversion.dump(2) + '\n');
  std::error_code error;
  std::filesystem::remove(out_, error);  // an empty folder of that name
  std::filesystem::rename(temporary_, out_, error);
  if (error) fail<ResourceError>("directory_writer", "cannot move ", temporary_.string(), " to ", out_.string(), ": ", error.message());
  temporary_.clear();
}

}  // namespace mla
