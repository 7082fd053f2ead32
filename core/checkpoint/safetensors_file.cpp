#include "core/checkpoint/safetensors_file.h"

#include <algorithm>
#include <cstring>

#include "core/base/error.h"
#include "core/base/json.h"

namespace mla {
namespace {

struct TypeName {
  const char* name;
  SafeType type;
  std::size_t size;
};
constexpr TypeName kTypes[] = {{"F32", SafeType::f32, 4}, {"F16", SafeType::f16, 2}, {"BF16", SafeType::bf16, 2},
                               {"F64", SafeType::f64, 8}, {"I64", SafeType::i64, 8}};

struct Placed {
  uint64_t begin, end;
  std::string name;
};

// A non-negative integer below 2^62, so that sums of two cannot wrap.
bool is_size(const Json& value) { return value.is_number_unsigned() && value.get<uint64_t>() < uint64_t{1} << 62; }

}  // namespace

std::size_t size_of(SafeType type) {
  for (const TypeName& entry : kTypes)
    if (entry.type == type) return entry.size;
  fail<CheckpointError>("safetensors", "unknown tensor type");
}

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path) : file_(path) {
  const std::string where = path.string();
  const auto bytes = file_.bytes();
  if (bytes.size() < 8) fail<CheckpointError>("safetensors", where, ": wanted 8 bytes of header length, got ", bytes.size());
  uint64_t length;
  std::memcpy(&length, bytes.data(), 8);
  if (length > 100000000 || length > bytes.size() - 8)
    fail<CheckpointError>("safetensors", where, " at byte 0: wanted a header of at most ", bytes.size() - 8, " bytes, got ", length,
                          "; the file is cut or not safetensors");
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()) + 8, length);
  if (text.empty() || text.front() != '{') fail<CheckpointError>("safetensors", where, " at byte 8: wanted '{'");
  const Json header = parse_json(text, where);
  const auto data = bytes.subspan(8 + length);

  std::vector<Placed> placed;
  for (const auto& item : header.items()) {
    const Json& entry = item.value();
    if (item.key() == "__metadata__") {
      if (!entry.is_object() || std::any_of(entry.begin(), entry.end(), [](const Json& v) { return !v.is_string(); }))
        fail<CheckpointError>("safetensors", where, ": wanted __metadata__ to map texts to texts");
      continue;
    }
    const auto bad = [&](const char* what) { fail<CheckpointError>("safetensors", where, ": tensor ", item.key(), ": wanted ", what, ", got ", entry.dump()); };
    if (!entry.is_object() || !entry.contains("dtype") || !entry.contains("shape") || !entry.contains("data_offsets")) bad("dtype, shape and data_offsets");
    const Json &dtype = entry["dtype"], &shape = entry["shape"], &offsets = entry["data_offsets"];
    const TypeName* type = nullptr;
    for (const TypeName& known : kTypes)
      if (dtype == known.name) type = &known;
    if (type == nullptr) bad("dtype F32, F16, BF16, F64 or I64");
    if (!shape.is_array() || shape.size() > 8 || !std::all_of(shape.begin(), shape.end(), is_size)) bad("a shape of non-negative integers");
    if (!offsets.is_array() || offsets.size() != 2 || !is_size(offsets[0]) || !is_size(offsets[1])) bad("two data_offsets");
    const uint64_t begin = offsets[0], end = offsets[1];
    uint64_t extent = type->size;  // bytes, with empty dimensions as one: strides are counted so
    bool empty = false;
    SafeTensor tensor{type->type, {}, {}};
    for (const Json& dim : shape) {
      tensor.shape.push_back(dim.get<int64_t>());
      empty = empty || dim == 0;
      if (dim != 0 && (__builtin_mul_overflow(extent, dim.get<uint64_t>(), &extent) || extent >> 62 != 0)) bad("a shape whose size can be counted");
    }
    const uint64_t size = empty ? 0 : extent;
    if (begin > end || end > data.size()) bad("data_offsets within the file");
    if (end - begin != size) bad("data_offsets that fit the shape");
    tensor.bytes = data.subspan(begin, size);
    placed.push_back({begin, end, item.key()});
    tensors_.emplace(item.key(), std::move(tensor));
  }
  std::sort(placed.begin(), placed.end(), [](const Placed& a, const Placed& b) { return std::tie(a.begin, a.end) < std::tie(b.begin, b.end); });
  uint64_t expected = 0;
  for (const Placed& tensor : placed) {
    if (tensor.begin != expected)
      fail<CheckpointError>("safetensors", where, ": wanted tensor ", tensor.name, " at data byte ", expected,
                            " (no hole, no overlap), got ", tensor.begin);
    expected = tensor.end;
  }
  if (expected != data.size())
    fail<CheckpointError>("safetensors", where, ": wanted ", expected, " data bytes, got ", data.size());
}

std::string safetensors_header(const std::vector<SafeEntry>& entries) {
  nlohmann::ordered_json header;
  header["__metadata__"] = {{"format", "pt"}};
  std::size_t begin = 0;
  for (const SafeEntry& entry : entries) {
    const char* name = nullptr;
    for (const TypeName& known : kTypes)
      if (known.type == entry.type) name = known.name;
    header[entry.name] = {{"dtype", name}, {"shape", entry.shape}, {"data_offsets", {begin, begin + entry.bytes}}};
    begin += entry.bytes;
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');
  const uint64_t length = text.size();
  std::string prefix(8, '\0');
  std::memcpy(prefix.data(), &length, 8);
  return prefix + text;
}

}  // namespace mla
