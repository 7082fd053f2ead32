// What a model's folder says of its tokenizer beside tokenizer.json.
#include <algorithm>

#include "core/base/error.h"
#include "core/tokenizer/tokenizer_data.h"

namespace mla {
namespace {

Json object_of(const std::filesystem::path& file) {
  if (!std::filesystem::is_regular_file(file)) return Json::object();
  Json json = read_json_file(file);
  if (!json.is_object()) fail<CheckpointError>("tokenizer", file.string(), ": wanted an object");
  return json;
}

int32_t id_of_token(const TokenizerData& data, const Json& token, const std::filesystem::path& file) {
  const Json text = token.is_object() ? token.value("content", Json()) : token;
  if (text.is_null()) return -1;
  for (std::size_t i = 0; text.is_string() && i < data.tokens.size(); ++i)
    if (data.tokens[i] == text.get_ref<const std::string&>()) return static_cast<int32_t>(i);
  fail<CheckpointError>("tokenizer", file.string(), ": wanted bos_token and eos_token to be tokens of tokenizer.json, got ", text.dump());
}

// Ids of a number, of a list of them, of null.
std::vector<int32_t> ids_of(const TokenizerData& data, const Json& value, const char* field, const std::filesystem::path& file) {
  std::vector<int32_t> ids;
  if (value.is_null()) return ids;
  for (const Json& id : value.is_array() ? value : Json::array({value})) {
    if (!id.is_number_integer() || id.get<int64_t>() < 0 || id.get<int64_t>() >= std::ssize(data.tokens))
      fail<CheckpointError>("tokenizer", file.string(), ": wanted ", field, " to be ids of the vocabulary, got ", value.dump());
    ids.push_back(id.get<int32_t>());
  }
  return ids;
}

}  // namespace

void add_folder_ids(TokenizerData& data, const std::filesystem::path& folder) {
  const std::filesystem::path named = folder / "tokenizer_config.json", generation = folder / "generation_config.json", model = folder / "config.json";
  const Json names = object_of(named), ends = object_of(generation), config = object_of(model);
  const auto fill = [&](int32_t& id, const char* token, const char* field) {
    if (id < 0) id = id_of_token(data, names.value(token, Json()), named);
    if (id >= 0) return;
    if (const std::vector<int32_t> ids = ids_of(data, config.value(field, Json()), field, model); !ids.empty()) id = ids.front();
  };
  fill(data.bos_id, "bos_token", "bos_token_id");
  fill(data.eos_id, "eos_token", "eos_token_id");
  if (data.eos_id >= 0) data.stop_ids = {data.eos_id};
  for (const Json* source : {&ends, &config})
    for (const int32_t id : ids_of(data, source->value("eos_token_id", Json()), "eos_token_id", source == &ends ? generation : model))
      if (std::find(data.stop_ids.begin(), data.stop_ids.end(), id) == data.stop_ids.end()) data.stop_ids.push_back(id);
}

}  // namespace mla
