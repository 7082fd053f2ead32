#include "core/checkpoint/safetensors_folder.h"

#include <algorithm>
#include <cstring>

#include "core/base/error.h"
#include "core/base/json.h"

namespace mla {

namespace {

// Numbers whose exponent is all ones: infinities and NaNs. Read as bits, since a sum would make an fp32 copy of 16-bit tensors.
template <class Bits>
int64_t count_not_finite(const void* data, int64_t count, Bits exponent) {
  const Bits* bits = static_cast<const Bits*>(data);
  int64_t bad = 0;
  constexpr int64_t kBlock = 4096;
  for (int64_t begin = 0; begin < count; begin += kBlock) {
    const int64_t end = std::min(count, begin + kBlock);
    Bits found = 0;  // of a whole block, without a branch
    for (int64_t i = begin; i < end; ++i) found |= static_cast<Bits>((bits[i] & exponent) == exponent);
    if (found != 0) bad += std::count_if(bits + begin, bits + end, [&](Bits value) { return (value & exponent) == exponent; });
  }
  return bad;
}

int64_t count_not_finite(const at::Tensor& tensor) {
  const void* data = tensor.const_data_ptr();
  switch (tensor.scalar_type()) {
    case at::kBFloat16: return count_not_finite<uint16_t>(data, tensor.numel(), 0x7F80);
    case at::kHalf: return count_not_finite<uint16_t>(data, tensor.numel(), 0x7C00);
    case at::kFloat: return count_not_finite<uint32_t>(data, tensor.numel(), 0x7F800000);
    case at::kDouble: return count_not_finite<uint64_t>(data, tensor.numel(), 0x7FF0000000000000);
    default: return 0;
  }
}

}  // namespace

void require_finite_tensor(const at::Tensor& tensor, const std::string& name, const std::filesystem::path& path) {
  if (const int64_t bad = count_not_finite(tensor.contiguous()); bad > 0)
    fail<CheckpointError>("checkpoint", path.string(), ": tensor ", name, " holds ", bad, " NaN or infinite values");
}

SafetensorsFolder::SafetensorsFolder(const std::filesystem::path& folder) : path_(folder) {
  const std::filesystem::path index = path_ / "model.safetensors.index.json";
  if (!std::filesystem::exists(index)) {
    add_file("model.safetensors");
    return;
  }
  const Json root = read_json_file(index), map = root.is_object() ? root.value("weight_map", Json()) : Json();
  if (!map.is_object()) fail<CheckpointError>("checkpoint", index.string(), ": wanted a weight_map object");
  for (const auto& item : map.items()) {
    if (!item.value().is_string()) fail<CheckpointError>("checkpoint", index.string(), ": wanted file names in weight_map");
    const std::string name = item.value();
    if (name.empty() || name.find_first_of(std::string_view("/\0", 2)) != std::string::npos || name.front() == '.')
      fail<CheckpointError>("checkpoint", index.string(), ": wanted a file of this folder for ", item.key(), ", got ", name);
    if (!files_.count(name)) add_file(name);
    if (owner_.find(item.key()) == owner_.end() || owner_.at(item.key()) != files_.at(name))
      fail<CheckpointError>("checkpoint", index.string(), ": ", name, " holds no tensor ", item.key());
  }
}

std::vector<std::string> SafetensorsFolder::names() const {
  std::vector<std::string> all;
  for (const auto& [name, file] : owner_) all.push_back(name);
  return all;
}

const SafeTensor& SafetensorsFolder::find(const std::string& name) const {
  const auto found = owner_.find(name);
  if (found == owner_.end()) fail<CheckpointError>("checkpoint", path_.string(), ": tensor ", name, " is missing");
  return found->second->tensors().at(name);
}

std::vector<int64_t> SafetensorsFolder::shape(const std::string& name) const { return find(name).shape; }

at::Tensor SafetensorsFolder::load(const std::string& name, at::ScalarType dtype) const {
  const SafeTensor& tensor = find(name);
  const MappedFile& file = owner_.at(name)->file();
  static const std::map<SafeType, at::ScalarType> types{{SafeType::f32, at::kFloat}, {SafeType::f16, at::kHalf}, {SafeType::bf16, at::kBFloat16},
                                                        {SafeType::f64, at::kDouble}, {SafeType::i64, at::kLong}};
  at::Tensor raw = at::empty(tensor.shape, types.at(tensor.type));
  if (!tensor.bytes.empty()) std::memcpy(raw.data_ptr(), tensor.bytes.data(), tensor.bytes.size());
  file.release(static_cast<std::size_t>(tensor.bytes.data() - file.bytes().data()), tensor.bytes.size());
  const at::Tensor values = raw.to(dtype);
  require_finite_tensor(values, name, path_);
  return values;
}

void SafetensorsFolder::add_file(const std::string& name) {
  const auto file = std::make_shared<SafetensorsFile>(path_ / name);
  files_[name] = file;
  for (const auto& [tensor, entry] : file->tensors())
    if (!owner_.emplace(tensor, file).second)
      fail<CheckpointError>("checkpoint", path_.string(), ": tensor ", tensor, " stands in two files, one of them ", name);
}

}  // namespace mla
