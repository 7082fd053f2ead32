#include "core/checkpoint/gguf_writer.h"

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/process.h"
#include "core/checkpoint/gguf_file.h"

namespace mla {
namespace {

constexpr std::size_t kAlignment = 32;
enum ValueType : uint32_t { kUint32 = 4, kInt32 = 5, kFloat32 = 6, kBool = 7, kText = 8, kArray = 9 };

template <class T>
void put(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

void put_text(std::string& out, std::string_view text) {
  put<uint64_t>(out, text.size());
  out += text;
}

GgufType type_of(const LaterTensor& tensor, const std::string& name) {
  switch (tensor.type()) {
    case at::kFloat: return GgufType::f32;
    case at::kHalf: return GgufType::f16;
    case at::kBFloat16: return GgufType::bf16;
    default: fail<ShapeError>("gguf", "wanted tensor ", name, " as fp32, fp16 or bf16, got ", tensor.type());
  }
}

std::size_t aligned(std::size_t size) { return (size + kAlignment - 1) / kAlignment * kAlignment; }

}  // namespace

void GgufWriter::key(std::string_view name, uint32_t type) {
  ++keys_;
  put_text(metadata_, name);
  put<uint32_t>(metadata_, type);
}

void GgufWriter::array(std::string_view name, uint32_t type, uint64_t size) {
  key(name, kArray);
  put<uint32_t>(metadata_, type);
  put<uint64_t>(metadata_, size);
}

void GgufWriter::add_uint(std::string_view name, uint64_t value) {
  if (value > UINT32_MAX) fail<ShapeError>("gguf", "wanted ", name, " below 2^32, got ", value);
  key(name, kUint32);
  put<uint32_t>(metadata_, static_cast<uint32_t>(value));
}

void GgufWriter::add_float(std::string_view name, double value) {
  key(name, kFloat32);
  put<float>(metadata_, static_cast<float>(value));
}

void GgufWriter::add_bool(std::string_view name, bool value) {
  key(name, kBool);
  put<uint8_t>(metadata_, value ? 1 : 0);
}

void GgufWriter::add_text(std::string_view name, std::string_view value) {
  key(name, kText);
  put_text(metadata_, value);
}

void GgufWriter::add_texts(std::string_view name, const std::vector<std::string>& values) {
  array(name, kText, values.size());
  for (const std::string& value : values) put_text(metadata_, value);
}

void GgufWriter::add_ints(std::string_view name, const std::vector<int32_t>& values) {
  array(name, kInt32, values.size());
  for (const int32_t value : values) put<int32_t>(metadata_, value);
}

void GgufWriter::add_floats(std::string_view name, const std::vector<float>& values) {
  array(name, kFloat32, values.size());
  for (const float value : values) put<float>(metadata_, value);
}

void GgufWriter::add(const std::string& name, LaterTensor tensor) {
  if (tensor.shape().size() != 1) return void(tensors_.emplace_back(name, std::move(tensor)));
  const std::vector<int64_t> shape = tensor.shape();
  tensors_.emplace_back(name, LaterTensor(at::kFloat, shape, [name, tensor = std::move(tensor)] { return tensor.take(name).to(at::kFloat); }));
}

void GgufWriter::write(const std::filesystem::path& path) const {
  std::string head = "GGUF";
  put<uint32_t>(head, 3);
  put<uint64_t>(head, tensors_.size());
  put<uint64_t>(head, keys_);
  head += metadata_;
  std::size_t offset = 0;
  for (const auto& [name, tensor] : tensors_) {
    put_text(head, name);
    put<uint32_t>(head, static_cast<uint32_t>(tensor.shape().size()));
    for (auto size = tensor.shape().rbegin(); size != tensor.shape().rend(); ++size) put<uint64_t>(head, static_cast<uint64_t>(*size));  // fastest first
    put<uint32_t>(head, static_cast<uint32_t>(type_of(tensor, name)));
    put<uint64_t>(head, offset);
    offset += aligned(tensor.bytes());
  }
  head.resize(aligned(head.size()));
  AtomicFile file(path);
  file.write(head);
  for (const auto& [name, tensor] : tensors_) {
    throw_if_interrupted();
    const at::Tensor plain = tensor.take(name);
    file.write(plain.const_data_ptr(), plain.nbytes());
    file.write(std::string(aligned(plain.nbytes()) - plain.nbytes(), '\0'));
  }
  file.commit();
}

}  // namespace mla
