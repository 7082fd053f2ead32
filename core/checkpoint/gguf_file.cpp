#include "core/checkpoint/gguf_file.h"

#include <cstring>

#include "core/base/error.h"
#include "core/checkpoint/dequantize.h"

namespace mla {
namespace {

// Bounds on what a file may ask for before anything is allocated.
constexpr uint64_t kMaxKeys = 65536, kMaxTensors = 1000000, kMaxString = 16u << 20, kMaxKey = 65535, kMaxArray = 1u << 24,
                   kMaxDim = uint64_t{1} << 31, kMaxName = 63;

// Takes bytes from the front of the file; every read says what it wanted them for.
class Reader {
 public:
  explicit Reader(const MappedFile& file) : path_(file.path().string()), all_(file.bytes()) {}
  std::size_t offset() const { return offset_; }
  std::size_t remaining() const { return all_.size() - offset_; }

  const std::byte* take(std::size_t count, const std::string& what) {
    if (count > remaining())
      error("wanted " + std::to_string(count) + " bytes for " + what + ", got " + std::to_string(remaining()) + ": the file is cut");
    const std::byte* at = all_.data() + offset_;
    offset_ += count;
    return at;
  }
  template <class T>
  T number(const std::string& what) {
    T value;
    std::memcpy(&value, take(sizeof value, what), sizeof value);
    return value;
  }
  uint64_t count(const std::string& what, uint64_t limit) {
    const auto value = number<uint64_t>(what);
    if (value > limit) error("wanted " + what + " of at most " + std::to_string(limit) + ", got " + std::to_string(value));
    return value;
  }
  std::string string(const std::string& what, uint64_t limit) {
    const uint64_t size = count("length of " + what, limit);
    const std::byte* at = take(size, what);
    return {reinterpret_cast<const char*>(at), size};
  }
  [[noreturn]] void error(const std::string& text) const {
    fail<CheckpointError>("gguf", path_, " at byte ", offset_, ": ", text);
  }

 private:
  std::string path_;
  std::span<const std::byte> all_;
  std::size_t offset_ = 0;
};

enum ValueType : uint32_t { u8, i8, u16, i16, u32, i32, f32, boolean, text, array, u64, i64, f64 };

GgufValue scalar(Reader& in, uint32_t type, const std::string& key) {
  switch (type) {
    case u8: return uint64_t{in.number<uint8_t>(key)};
    case u16: return uint64_t{in.number<uint16_t>(key)};
    case u32: return uint64_t{in.number<uint32_t>(key)};
    case u64: return in.number<uint64_t>(key);
    case i8: return int64_t{in.number<int8_t>(key)};
    case i16: return int64_t{in.number<int16_t>(key)};
    case i32: return int64_t{in.number<int32_t>(key)};
    case i64: return in.number<int64_t>(key);
    case f32: return double{in.number<float>(key)};
    case f64: return in.number<double>(key);
    case boolean: return in.number<uint8_t>(key) != 0;
    case text: return in.string("value of " + key, kMaxString);
    default: in.error("wanted a known value type for " + key + ", got " + std::to_string(type));
  }
}

GgufValue array_value(Reader& in, const std::string& key) {
  const auto type = in.number<uint32_t>("element type of " + key);
  const uint64_t size = in.count("length of " + key, kMaxArray);
  if (size > in.remaining()) in.error("wanted " + std::to_string(size) + " elements for " + key + ", more than the file holds");
  if (type == array) in.error("nested arrays are not supported, in " + key);
  if (type == text) {
    std::vector<std::string> values;
    values.reserve(size);
    for (uint64_t i = 0; i < size; ++i) values.push_back(in.string("an element of " + key, kMaxString));
    return values;
  }
  if (type == f32 || type == f64) {
    std::vector<double> values;
    for (uint64_t i = 0; i < size; ++i) values.push_back(std::get<double>(scalar(in, type, key)));
    return values;
  }
  std::vector<int64_t> values;
  for (uint64_t i = 0; i < size; ++i) {
    const GgufValue value = scalar(in, type, key);
    if (const auto* wide = std::get_if<uint64_t>(&value)) values.push_back(static_cast<int64_t>(*wide));
    else if (const auto* integer = std::get_if<int64_t>(&value)) values.push_back(*integer);
    else values.push_back(std::get<bool>(value) ? 1 : 0);
  }
  return values;
}

// Bytes of a tensor, every product checked.
std::size_t byte_size(Reader& in, const GgufTensor& tensor) {
  uint64_t elements = 1;
  for (const int64_t dim : tensor.shape)
    if (__builtin_mul_overflow(elements, static_cast<uint64_t>(dim), &elements) || elements > uint64_t{1} << 40)
      in.error("tensor " + tensor.name + " has too many elements");
  const GgufBlock block = block_of(tensor.type);
  if (tensor.shape.back() % block.elements != 0)
    in.error("wanted rows of tensor " + tensor.name + " to be a multiple of " + std::to_string(block.elements) + ", got " +
             std::to_string(tensor.shape.back()));
  return elements / static_cast<uint64_t>(block.elements) * static_cast<uint64_t>(block.bytes);
}

GgufTensor tensor_entry(Reader& in) {
  GgufTensor tensor;
  tensor.name = in.string("a tensor name", kMaxName);
  if (tensor.name.empty()) in.error("a tensor name is empty");
  const auto dims = in.number<uint32_t>("number of dimensions of " + tensor.name);
  if (dims < 1 || dims > 4) in.error("wanted 1 to 4 dimensions for tensor " + tensor.name + ", got " + std::to_string(dims));
  for (uint32_t d = 0; d < dims; ++d) {
    const auto size = in.number<uint64_t>("a dimension of " + tensor.name);
    if (size < 1 || size > kMaxDim) in.error("wanted dimensions in [1, 2^31] for tensor " + tensor.name + ", got " + std::to_string(size));
    tensor.shape.insert(tensor.shape.begin(), static_cast<int64_t>(size));
  }
  const auto type = in.number<uint32_t>("type of " + tensor.name);
  if (!is_known_type(type)) in.error("wanted type " + known_types() + " of tensor " + tensor.name + ", got type " + std::to_string(type));
  tensor.type = static_cast<GgufType>(type);
  tensor.offset = in.number<uint64_t>("offset of " + tensor.name);
  return tensor;
}

}  // namespace

int64_t GgufTensor::elements() const {
  int64_t product = 1;
  for (const int64_t dim : shape) product *= dim;
  return product;
}

GgufFile::GgufFile(const std::filesystem::path& path) : file_(path) {
  Reader in(file_);
  if (std::memcmp(in.take(4, "the magic"), "GGUF", 4) != 0)
    fail<CheckpointError>("gguf", path.string(), " is not a GGUF file: wanted the magic GGUF at byte 0");
  const auto version = in.number<uint32_t>("the version");
  if (version != 2 && version != 3)
    in.error("wanted version 2 or 3, got " + std::to_string(version) + (version >> 24 != 0 ? ": the file is big-endian" : ""));
  const uint64_t tensor_count = in.count("number of tensors", kMaxTensors), key_count = in.count("number of keys", kMaxKeys);

  for (uint64_t i = 0; i < key_count; ++i) {
    const std::string key = in.string("a key", kMaxKey);
    if (key.empty()) in.error("a key is empty");
    const auto type = in.number<uint32_t>("type of " + key);
    GgufValue value = type == array ? array_value(in, key) : scalar(in, type, key);
    if (!values_.emplace(key, std::move(value)).second) in.error("key " + key + " stands twice");
  }
  const uint64_t alignment = has("general.alignment") ? get_uint("general.alignment") : 32;
  if (alignment < 8 || alignment > 4096 || (alignment & (alignment - 1)) != 0)
    in.error("wanted general.alignment to be a power of two in [8, 4096], got " + std::to_string(alignment));

  for (uint64_t i = 0; i < tensor_count; ++i) {
    tensors_.push_back(tensor_entry(in));
    if (!index_.emplace(tensors_.back().name, i).second) in.error("tensor " + tensors_.back().name + " stands twice");
  }
  const auto padded = [&](std::size_t size) { return (size + (alignment - 1)) / alignment * alignment; };
  const std::size_t data = padded(in.offset());
  std::size_t running = 0;
  for (GgufTensor& tensor : tensors_) {
    const std::size_t size = byte_size(in, tensor);
    if (tensor.offset != running)
      in.error("wanted tensor " + tensor.name + " at offset " + std::to_string(running) + " (no hole, no overlap), got " +
               std::to_string(tensor.offset));
    if (data > file_.bytes().size() || running > file_.bytes().size() - data || size > file_.bytes().size() - data - running)
      in.error("tensor " + tensor.name + " ends behind the end of the file: the file is cut");
    tensor.offset = data + running;
    tensor.bytes = file_.bytes().subspan(tensor.offset, size);
    running += padded(size);
  }
}

std::vector<std::string> GgufFile::keys() const {
  std::vector<std::string> keys;
  for (const auto& [key, value] : values_) keys.push_back(key);
  return keys;
}

const GgufTensor* GgufFile::find(const std::string& name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &tensors_[found->second];
}

template <class T>
const T& GgufFile::get(const std::string& key, const char* wanted) const {
  const auto found = values_.find(key);
  if (found == values_.end()) fail<CheckpointError>("gguf", file_.path().string(), ": key ", key, " is missing");
  if (const T* value = std::get_if<T>(&found->second)) return *value;
  fail<CheckpointError>("gguf", file_.path().string(), ": wanted key ", key, " to be ", wanted, ", got another type");
}

uint64_t GgufFile::get_uint(const std::string& key) const {
  const auto found = values_.find(key);
  if (found != values_.end())
    if (const auto* value = std::get_if<int64_t>(&found->second); value != nullptr && *value >= 0) return static_cast<uint64_t>(*value);
  return get<uint64_t>(key, "an integer");
}
double GgufFile::get_float(const std::string& key) const { return get<double>(key, "a number"); }
bool GgufFile::get_bool(const std::string& key) const { return get<bool>(key, "a boolean"); }
const std::string& GgufFile::get_string(const std::string& key) const { return get<std::string>(key, "a text"); }
const std::vector<std::string>& GgufFile::get_strings(const std::string& key) const {
  return get<std::vector<std::string>>(key, "a list of texts");
}
const std::vector<int64_t>& GgufFile::get_ints(const std::string& key) const {
  return get<std::vector<int64_t>>(key, "a list of integers");
}
const std::vector<double>& GgufFile::get_floats(const std::string& key) const {
  return get<std::vector<double>>(key, "a list of numbers");
}

}  // namespace mla
