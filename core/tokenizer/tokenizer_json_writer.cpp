// Writes what tokenizer_json.cpp reads.
#include "core/tokenizer/normalizer.h"
#include "core/tokenizer/tokenizer_parts.h"

namespace mla {
namespace {

Json sequence(const char* list, const Json& steps) { return {{"type", "Sequence"}, {list, steps}}; }

Json replace(const std::string& from, const std::string& to) {
  return {{"type", "Replace"}, {"pattern", {{"String", from}}}, {"content", to}};
}

Json normalizer_json(const std::vector<NormalizerStep>& steps) {
  Json list = Json::array();
  for (const NormalizerStep& step : steps) {
    if (step.kind == NormalizerStep::Kind::nfc) list.push_back({{"type", "NFC"}});
    else if (step.kind == NormalizerStep::Kind::prepend) list.push_back({{"type", "Prepend"}, {"prepend", step.to}});
    else list.push_back(replace(step.from, step.to));
  }
  if (list.empty()) return nullptr;
  return list.size() == 1 ? list[0] : sequence("normalizers", list);
}

Json byte_level(bool use_regex) { return {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", use_regex}}; }

Json pretokenizer_json(const TokenizerData& data) {
  if (data.metaspace) {
    const char* scheme = data.prefix == Prefix::never ? "never" : data.prefix == Prefix::first ? "first" : "always";
    return {{"type", "Metaspace"}, {"replacement", kBlank}, {"prepend_scheme", scheme}, {"split", data.pretokenizer == Pretokenizer::words}};
  }
  if (data.vocabulary == Vocabulary::characters) return nullptr;
  if (data.pretokenizer == Pretokenizer::smollm) return sequence("pretokenizers", {{{"type", "Digits"}, {"individual_digits", true}}, byte_level(true)});
  if (const char* pattern = split_pattern(data.pretokenizer))
    return sequence("pretokenizers", {{{"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}, {"invert", false}}, byte_level(false)});
  return byte_level(true);
}

Json decoder_json(const TokenizerData& data) {
  if (data.vocabulary == Vocabulary::bytes) return {{"type", "ByteLevel"}, {"add_prefix_space", true}, {"trim_offsets", true}, {"use_regex", true}};
  Json steps{replace(kBlank, " "), {{"type", "ByteFallback"}}, {{"type", "Fuse"}}};
  if (data.strip_blank) steps.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  return sequence("decoders", steps);
}

Json post_processor_json(const TokenizerData& data) {
  if (data.before.empty() && data.after.empty()) return nullptr;
  Json single = Json::array(), pair = Json::array(), tokens = Json::object();
  const auto put = [&](Json& list, const std::vector<int32_t>& ids, int type) {
    for (const int32_t id : ids) {
      const std::string& name = data.tokens[static_cast<std::size_t>(id)];
      list.push_back({{"SpecialToken", {{"id", name}, {"type_id", type}}}});
      tokens[name] = {{"id", name}, {"ids", {id}}, {"tokens", {name}}};
    }
  };
  const auto text = [](const char* name, int type) { return Json{{"Sequence", {{"id", name}, {"type_id", type}}}}; };
  const auto around = [&](Json& list, const char* name, int type) {
    put(list, data.before, type);
    list.push_back(text(name, type));
    put(list, data.after, type);
  };
  around(single, "A", 0);
  around(pair, "A", 0);
  around(pair, "B", 1);
  return {{"type", "TemplateProcessing"}, {"single", single}, {"pair", pair}, {"special_tokens", tokens}};
}

}  // namespace

Json tokenizer_to_json(const TokenizerData& data) {
  Json vocab = Json::object(), merges = Json::array(), added = Json::array();
  for (std::size_t i = 0; i < data.tokens.size(); ++i) vocab[data.tokens[i]] = i;
  for (const auto& [left, right] : data.merges) merges.push_back({left, right});
  for (const AddedToken& token : data.added)
    added.push_back({{"id", token.id}, {"content", data.tokens[static_cast<std::size_t>(token.id)]}, {"special", token.special}, {"single_word", token.single_word},
                     {"lstrip", token.lstrip}, {"rstrip", token.rstrip}, {"normalized", token.normalized}});
  Json model{{"type", "BPE"}, {"dropout", nullptr}, {"unk_token", nullptr}, {"continuing_subword_prefix", nullptr}, {"end_of_word_suffix", nullptr},
             {"fuse_unk", false}, {"byte_fallback", data.vocabulary == Vocabulary::characters}, {"vocab", vocab}, {"merges", merges}};
  if (data.ignore_merges) model["ignore_merges"] = true;
  return {{"version", "1.0"},
          {"truncation", nullptr},
          {"padding", nullptr},
          {"added_tokens", added},
          {"normalizer", normalizer_json(data.normalizer)},
          {"pre_tokenizer", pretokenizer_json(data)},
          {"post_processor", post_processor_json(data)},
          {"decoder", decoder_json(data)},
          {"model", model}};
}

}  // namespace mla
