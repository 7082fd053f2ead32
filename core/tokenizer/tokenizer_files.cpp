// The two file formats of a byte-level BPE vocabulary. Everything in them is untrusted.
#include "core/base/error.h"
#include "core/checkpoint/gguf_file.h"
#include "core/tokenizer/tokenizer.h"

namespace mla {
namespace {

constexpr std::size_t kMaxVocabulary = std::size_t{1} << 21;

std::pair<std::string, std::string> split_merge(const std::string& line, const std::string& where) {
  const std::size_t space = line.find(' ');
  if (space == std::string::npos || space == 0 || space + 1 == line.size() || line.find(' ', space + 1) != std::string::npos)
    fail<CheckpointError>("tokenizer", where, ": wanted a merge of two tokens, got '", line, "'");
  return {line.substr(0, space), line.substr(space + 1)};
}

// The pre_tokenizer objects that are known, matched as a whole.
Json byte_level() { return {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", true}}; }
Json digits_then_bytes() {
  return {{"type", "Sequence"}, {"pretokenizers", {{{"type", "Digits"}, {"individual_digits", true}}, byte_level()}}};
}

Pretokenizer pretokenizer_of(Json json, const std::string& where) {
  const auto forget_offsets = [](Json& step) {  // they do not change the ids
    if (step.is_object() && step.value("type", Json()) == "ByteLevel") step["trim_offsets"] = true;
  };
  forget_offsets(json);
  if (json.is_object() && json.contains("pretokenizers"))
    for (Json& step : json["pretokenizers"]) forget_offsets(step);
  if (json == byte_level()) return Pretokenizer::gpt2;
  if (json == digits_then_bytes()) return Pretokenizer::smollm;
  fail<CheckpointError>("tokenizer", where, ": pre_tokenizer ", json.dump(), " is not known; known: ByteLevel, Digits + ByteLevel");
}

// Options of the model that would change the ids; absent, null, false and "" are their neutral values.
void refuse_unfollowed(const Json& model, const std::string& where) {
  for (const char* key : {"dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback", "ignore_merges"}) {
    const Json value = model.value(key, Json());
    if (!value.is_null() && value != false && value != "" && value != 0)
      fail<CheckpointError>("tokenizer", where, ": model.", key, " ", value.dump(), " is not supported");
  }
}

}  // namespace

TokenizerData tokenizer_from_gguf(const std::filesystem::path& path) {
  const GgufFile file(path);
  const std::string where = path.string();
  if (const std::string model = file.get_string("tokenizer.ggml.model"); model != "gpt2")
    fail<CheckpointError>("tokenizer", where, ": wanted tokenizer.ggml.model gpt2, got ", model);
  TokenizerData data;
  const std::string pre = file.has("tokenizer.ggml.pre") ? file.get_string("tokenizer.ggml.pre") : "gpt-2";
  if (pre == "smollm") data.pretokenizer = Pretokenizer::smollm;
  else if (pre != "gpt-2") fail<CheckpointError>("tokenizer", where, ": tokenizer.ggml.pre ", pre, " is not known; known: gpt-2, smollm");
  data.tokens = file.get_strings("tokenizer.ggml.tokens");
  if (data.tokens.size() > kMaxVocabulary) fail<CheckpointError>("tokenizer", where, ": wanted at most 2^21 tokens, got ", data.tokens.size());
  data.special.assign(data.tokens.size(), false);
  if (file.has("tokenizer.ggml.token_type")) {
    const std::vector<int64_t>& types = file.get_ints("tokenizer.ggml.token_type");
    if (types.size() != data.tokens.size()) fail<CheckpointError>("tokenizer", where, ": wanted a token_type for each of ", data.tokens.size(), " tokens, got ", types.size());
    for (std::size_t i = 0; i < types.size(); ++i) data.special[i] = types[i] == 3 || types[i] == 4;  // control, user-defined
  }
  for (const std::string& line : file.get_strings("tokenizer.ggml.merges")) data.merges.push_back(split_merge(line, where));
  const auto id = [&](const char* key) {
    if (!file.has(key)) return -1;
    const uint64_t value = file.get_uint(key);
    if (value >= data.tokens.size()) fail<CheckpointError>("tokenizer", where, ": ", key, " is not in the vocabulary: ", value);
    return static_cast<int32_t>(value);
  };
  data.bos_id = id("tokenizer.ggml.bos_token_id");
  data.eos_id = id("tokenizer.ggml.eos_token_id");
  return data;
}

TokenizerData tokenizer_from_json(const Json& json, const std::string& where) {
  const auto bad = [&](const std::string& what) { fail<CheckpointError>("tokenizer", where, ": ", what); };
  if (!json.is_object() || !json.contains("model") || !json["model"].is_object()) bad("wanted an object with a model");
  const Json& model = json["model"];
  if (model.value("type", Json()) != "BPE") bad("wanted model type BPE, got " + model.value("type", Json()).dump());
  if (json.contains("normalizer") && !json["normalizer"].is_null()) bad("a normalizer is not supported");
  if (!model.contains("vocab") || !model["vocab"].is_object() || !model.contains("merges") || !model["merges"].is_array())
    bad("wanted model.vocab as an object and model.merges as a list");
  refuse_unfollowed(model, where);
  TokenizerData data;
  data.pretokenizer = pretokenizer_of(json.value("pre_tokenizer", Json()), where);
  const auto place = [&](const std::string& token, const Json& id, bool special) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() >= kMaxVocabulary) bad(std::string("wanted ids in [0, 2^21) in ") + (special ? "added_tokens" : "model.vocab") + ", got " + id.dump());
    const std::size_t at = id;
    if (at >= data.tokens.size()) data.tokens.resize(at + 1), data.special.resize(at + 1);
    if (!data.tokens[at].empty() && data.tokens[at] != token) bad("model.vocab: id " + id.dump() + " stands for two tokens");
    data.tokens[at] = token;
    if (special) data.special[at] = true;
  };
  for (const auto& item : model["vocab"].items()) place(item.key(), item.value(), false);
  for (const Json& added : json.value("added_tokens", Json::array())) {
    if (!added.is_object() || !added.value("content", Json()).is_string()) bad("wanted added_tokens with a content each");
    place(added["content"], added.value("id", Json()), true);
  }
  for (std::size_t id = 0; id < data.tokens.size(); ++id)
    if (data.tokens[id].empty()) bad("model.vocab: id " + std::to_string(id) + " has no token");
  for (const Json& merge : model["merges"]) {
    if (merge.is_string()) data.merges.push_back(split_merge(merge, where));
    else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) data.merges.emplace_back(merge[0], merge[1]);
    else bad("wanted model.merges of two tokens each, got " + merge.dump());
  }
  const Json note = json.value("mlaforge", Json::object());  // our own writer's; bos and eos have no place in the format
  const auto noted_id = [&](const std::string& key) {
    const Json id = note.is_object() ? note.value(key, Json(-1)) : Json();
    if (!id.is_number_integer() || id.get<int64_t>() < -1 || id.get<int64_t>() >= std::ssize(data.tokens))
      bad("mlaforge." + key + " is not in the vocabulary: " + id.dump());
    return id.get<int32_t>();
  };
  data.bos_id = noted_id("bos_id");
  data.eos_id = noted_id("eos_id");
  return data;
}

Json Tokenizer::to_tokenizer_json() const {
  Json vocab = Json::object(), merges = Json::array(), added = Json::array();
  for (std::size_t i = 0; i < data_.tokens.size(); ++i) vocab[data_.tokens[i]] = i;
  for (const auto& [left, right] : data_.merges) merges.push_back({left, right});
  for (const int32_t id : special_ids_)
    added.push_back({{"id", id}, {"content", piece(id)}, {"special", true}, {"single_word", false}, {"lstrip", false}, {"rstrip", false}, {"normalized", false}});
  return {{"version", "1.0"},
          {"truncation", nullptr},
          {"padding", nullptr},
          {"added_tokens", added},
          {"normalizer", nullptr},
          {"pre_tokenizer", data_.pretokenizer == Pretokenizer::smollm ? digits_then_bytes() : byte_level()},
          {"post_processor", nullptr},
          {"decoder", {{"type", "ByteLevel"}, {"add_prefix_space", true}, {"trim_offsets", true}, {"use_regex", true}}},
          {"model", {{"type", "BPE"}, {"dropout", nullptr}, {"unk_token", nullptr}, {"continuing_subword_prefix", nullptr},
                     {"end_of_word_suffix", nullptr}, {"fuse_unk", false}, {"byte_fallback", false}, {"vocab", vocab}, {"merges", merges}}},
          {"mlaforge", {{"bos_id", data_.bos_id}, {"eos_id", data_.eos_id}}}};
}

}  // namespace mla
