// Reads a tokenizer.json. Everything in it is untrusted, and what would change the ids in a way that is not followed is refused by name.
#include <algorithm>

#include "core/base/error.h"
#include "core/tokenizer/normalizer.h"
#include "core/tokenizer/tokenizer_parts.h"

namespace mla {

std::pair<std::string, std::string> split_merge(const std::string& line, const std::string& where) {
  const std::size_t space = line.find(' ');
  if (space == std::string::npos || space == 0 || space + 1 == line.size() || line.find(' ', space + 1) != std::string::npos)
    fail<CheckpointError>("tokenizer", where, ": wanted a merge of two tokens, got '", line, "'");
  return {line.substr(0, space), line.substr(space + 1)};
}

const char* split_pattern(Pretokenizer kind) {
  if (kind == Pretokenizer::llama3)
    return "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
  if (kind == Pretokenizer::qwen2)
    return "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
  return nullptr;
}

namespace {

class TokenizerJson {
 public:
  TokenizerJson(const Json& json, const std::string& where) : json_(json), where_(where) {}

  TokenizerData read() {
    if (!json_.is_object() || !json_.contains("model") || !json_["model"].is_object()) bad("wanted an object with a model");
    read_model_options();
    read_normalizer();
    read_pretokenizer();
    read_decoder();
    read_vocabulary();
    read_post_processor(json_.value("post_processor", Json()));
    data_.bos_id = noted_id("bos_id");
    data_.eos_id = noted_id("eos_id");
    return std::move(data_);
  }

 private:
  template <class... Text>
  [[noreturn]] void bad(const Text&... text) const {
    fail<CheckpointError>("tokenizer", where_, ": ", text...);
  }

  static std::string type_of(const Json& part) {
    const Json type = part.is_object() ? part.value("type", Json()) : Json();
    return type.is_string() ? type.get<std::string>() : std::string();
  }

  // The steps of a part: none of null, those of a Sequence under `list`, else the part itself.
  std::vector<Json> steps_of(const char* part, const char* list) const {
    const Json json = json_.value(part, Json());
    if (json.is_null()) return {};
    if (type_of(json) != "Sequence") return {json};
    if (!json.contains(list) || !json[list].is_array()) bad("wanted ", part, ".", list, " as a list");
    return json[list];
  }

  [[noreturn]] void unknown(const char* part, const Json& step, const char* known) const {
    bad(part, " ", step.dump(-1, ' ', false, Json::error_handler_t::replace), " is not supported; known: ", known);
  }

  // Options of the model that would change the ids; absent, null, false and "" are their neutral values.
  void read_model_options() {
    const Json& model = json_["model"];
    if (model.value("type", Json()) != "BPE") bad("wanted model type BPE, got ", model.value("type", Json()).dump());
    const auto given = [&](const char* key) {
      const Json value = model.value(key, Json());
      return !value.is_null() && value != false && value != "" && value != 0;
    };
    for (const char* key : {"dropout", "continuing_subword_prefix", "end_of_word_suffix"})
      if (given(key)) bad("model.", key, " ", model[key].dump(), " is not supported");
    for (const char* key : {"ignore_merges", "byte_fallback"})
      if (given(key) && model[key] != true) bad("wanted model.", key, " to be true or false, got ", model[key].dump());
    data_.ignore_merges = given("ignore_merges");
    if (given("byte_fallback")) data_.vocabulary = Vocabulary::characters;
    else if (given("unk_token")) bad("model.unk_token ", model["unk_token"].dump(), " without byte_fallback is not supported");
  }

  void read_normalizer() {
    constexpr std::size_t kLongestStep = 64;  // bytes, so that no file makes a text grow without measure
    const char* known = "NFC, Prepend, Replace of a string, Sequence; texts of at most 64 bytes";
    for (const Json& step : steps_of("normalizer", "normalizers")) {
      const std::string type = type_of(step);
      const auto text = [&](const Json& value) {
        if (!value.is_string() || value.get_ref<const std::string&>().size() > kLongestStep) unknown("normalizer", step, known);
        return value.get<std::string>();
      };
      if (type == "NFC") data_.normalizer.push_back({});
      else if (type == "Prepend") data_.normalizer.push_back({NormalizerStep::Kind::prepend, "", text(step.value("prepend", Json()))});
      else if (type == "Replace")
        data_.normalizer.push_back({NormalizerStep::Kind::replace, text(string_pattern(step)), text(step.value("content", Json()))});
      else unknown("normalizer", step, known);
    }
  }

  // {"pattern": {"String": "x"}} -> "x"; null otherwise.
  static Json string_pattern(const Json& step) {
    const Json pattern = step.value("pattern", Json());
    return pattern.is_object() && pattern.size() == 1 ? pattern.value("String", Json()) : Json();
  }

  bool is_byte_level(const Json& step, bool use_regex) const {
    return type_of(step) == "ByteLevel" && step.value("add_prefix_space", Json(true)) == false && step.value("use_regex", Json(true)) == use_regex;
  }

  bool is_split(const Json& step, const Json& pattern, const char* behavior) const {
    return type_of(step) == "Split" && step.value("pattern", Json()) == pattern && step.value("behavior", Json()) == behavior && step.value("invert", Json(false)) == false;
  }

  void read_pretokenizer() {
    const std::vector<Json> steps = steps_of("pre_tokenizer", "pretokenizers");
    data_.vocabulary == Vocabulary::bytes ? read_byte_level(steps) : read_metaspace(steps);
  }

  void read_byte_level(const std::vector<Json>& steps) {
    if (steps.size() == 1 && is_byte_level(steps[0], true)) return;
    if (steps.size() == 2 && type_of(steps[0]) == "Digits" && steps[0].value("individual_digits", Json()) == true && is_byte_level(steps[1], true)) {
      data_.pretokenizer = Pretokenizer::smollm;
      return;
    }
    if (steps.size() == 2 && is_byte_level(steps[1], false))
      for (const Pretokenizer kind : {Pretokenizer::llama3, Pretokenizer::qwen2})
        if (is_split(steps[0], {{"Regex", split_pattern(kind)}}, "Isolated")) {
          data_.pretokenizer = kind;
          return;
        }
    unknown("pre_tokenizer", json_.value("pre_tokenizer", Json()),
            "ByteLevel without add_prefix_space; Digits + ByteLevel; the Split patterns of Llama-3 and of Qwen2 + ByteLevel; with model.byte_fallback: none, Metaspace");
  }

  void read_metaspace(const std::vector<Json>& steps) {
    data_.pretokenizer = Pretokenizer::whole;
    if (steps.empty()) return;
    const char* known = "none, Metaspace of U+2581, a Split at blanks that the normalizer has replaced";
    if (steps.size() > 1) unknown("pre_tokenizer", json_["pre_tokenizer"], known);
    const bool replaced = std::any_of(data_.normalizer.begin(), data_.normalizer.end(), [](const NormalizerStep& step) { return step.from == " "; });
    if (replaced && is_split(steps[0], {{"String", " "}}, "MergedWithPrevious")) return;
    if (type_of(steps[0]) != "Metaspace" || steps[0].value("replacement", Json(kBlank)) != kBlank) unknown("pre_tokenizer", steps[0], known);
    const Json scheme = steps[0].value("prepend_scheme", steps[0].value("add_prefix_space", Json(true)) == false ? Json("never") : Json("always"));
    if (scheme != "never" && scheme != "first" && scheme != "always") unknown("pre_tokenizer", steps[0], known);
    data_.metaspace = true;
    data_.prefix = scheme == "never" ? Prefix::never : scheme == "first" ? Prefix::first : Prefix::always;
    if (steps[0].value("split", Json(true)) != false) data_.pretokenizer = Pretokenizer::words;
  }

  void read_decoder() {
    const std::vector<Json> steps = steps_of("decoder", "decoders");
    if (data_.vocabulary == Vocabulary::bytes) {
      if (steps.size() != 1 || type_of(steps[0]) != "ByteLevel") unknown("decoder", json_.value("decoder", Json()), "ByteLevel");
      return;
    }
    const char* known = "Replace of U+2581 by a blank, ByteFallback, Fuse, and perhaps Strip of one blank at the start";
    const auto is = [&](std::size_t i, const char* type) { return i < steps.size() && type_of(steps[i]) == type; };
    const bool common = is(0, "Replace") && string_pattern(steps[0]) == kBlank && steps[0].value("content", Json()) == " " && is(1, "ByteFallback") && is(2, "Fuse");
    if (!common || steps.size() > 4) unknown("decoder", json_.value("decoder", Json()), known);
    if (steps.size() == 3) return;
    const Json& strip = steps[3];
    const bool nothing = strip.is_object() && strip.value("start", Json()) == 0;
    if (!is(3, "Strip") || strip.value("content", Json()) != " " || strip.value("stop", Json()) != 0 || (!nothing && strip.value("start", Json()) != 1))
      unknown("decoder", strip, known);
    data_.strip_blank = !nothing;
  }

  void place(const std::string& token, const Json& id, bool added) {
    if (!id.is_number_integer() || id.get<int64_t>() < 0 || id.get<int64_t>() >= static_cast<int64_t>(kMaxVocabulary))
      bad("wanted ids in [0, 2^21) in ", added ? "added_tokens" : "model.vocab", ", got ", id.dump());
    const std::size_t at = id;
    if (at >= data_.tokens.size()) data_.tokens.resize(at + 1), data_.special.resize(at + 1);
    if (!data_.tokens[at].empty() && data_.tokens[at] != token) bad("model.vocab: id ", id.dump(), " stands for two tokens");
    data_.tokens[at] = token;
  }

  void read_vocabulary() {
    const Json& model = json_["model"];
    if (!model.contains("vocab") || !model["vocab"].is_object() || !model.contains("merges") || !model["merges"].is_array())
      bad("wanted model.vocab as an object and model.merges as a list");
    for (const auto& item : model["vocab"].items()) place(item.key(), item.value(), false);
    for (const Json& added : json_.value("added_tokens", Json::array())) read_added(added);
    for (std::size_t id = 0; id < data_.tokens.size(); ++id)
      if (data_.tokens[id].empty()) bad("model.vocab: id ", id, " has no token");
    for (const Json& merge : model["merges"]) {
      if (merge.is_string()) data_.merges.push_back(split_merge(merge, where_));
      else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) data_.merges.emplace_back(merge[0], merge[1]);
      else bad("wanted model.merges of two tokens each, got ", merge.dump());
    }
  }

  void read_added(const Json& added) {
    if (!added.is_object() || !added.value("content", Json()).is_string()) bad("wanted added_tokens with a content each");
    const auto flag = [&](const char* key, bool fallback) {
      const Json value = added.value(key, Json(fallback));
      if (!value.is_boolean()) bad("wanted added_tokens.", key, " to be true or false, got ", value.dump());
      return value.get<bool>();
    };
    place(added["content"], added.value("id", Json()), true);
    const AddedToken token{.id = added["id"], .special = flag("special", true), .single_word = flag("single_word", false), .lstrip = flag("lstrip", false),
                           .rstrip = flag("rstrip", false), .normalized = flag("normalized", false)};
    data_.special[static_cast<std::size_t>(token.id)] = token.special;
    data_.added.push_back(token);
  }

  // Ids that stand before and after a single text.
  void read_post_processor(const Json& part) {
    const std::string type = type_of(part);
    if (part.is_null() || type == "ByteLevel") return;
    if (type == "Sequence" && part.value("processors", Json()).is_array()) {
      for (const Json& step : part["processors"]) read_post_processor(step);
      return;
    }
    if (type != "TemplateProcessing" || !part.value("single", Json()).is_array()) unknown("post_processor", part, "ByteLevel, TemplateProcessing, Sequence");
    bool seen = false;  // the text
    for (const Json& item : part["single"]) {
      if (item.is_object() && item.contains("Sequence")) {
        seen = true;
        continue;
      }
      const Json named = item.is_object() ? item.value("SpecialToken", Json()) : Json();
      const Json name = named.is_object() ? named.value("id", Json()) : Json(), tokens = part.value("special_tokens", Json());
      if (!name.is_string() || !tokens.is_object() || !tokens.value(name.get<std::string>(), Json()).is_object()) unknown("post_processor", item, "Sequence, SpecialToken with its ids");
      for (const Json& id : tokens[name.get<std::string>()].value("ids", Json::array())) {
        if (!id.is_number_integer() || id.get<int64_t>() < 0 || id.get<int64_t>() >= std::ssize(data_.tokens)) bad("post_processor names an id that is not in the vocabulary: ", id.dump());
        (seen ? data_.after : data_.before).push_back(id);
      }
    }
  }

  // A note of our earlier folders; bos and eos have no place in the format, and stand in tokenizer_config.json.
  int32_t noted_id(const char* key) const {
    const Json note = json_.value("mlaforge", Json::object());
    const Json id = note.is_object() ? note.value(key, Json(-1)) : Json();
    if (!id.is_number_integer() || id.get<int64_t>() < -1 || id.get<int64_t>() >= std::ssize(data_.tokens))
      bad("mlaforge.", key, " is not in the vocabulary: ", id.dump());
    return id.get<int32_t>();
  }

  const Json& json_;
  const std::string& where_;
  TokenizerData data_;
};

}  // namespace

TokenizerData tokenizer_from_json(const Json& json, const std::string& where) { return TokenizerJson(json, where).read(); }

}  // namespace mla
