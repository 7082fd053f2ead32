#include "eval/needle.h"

#include <array>
#include <cmath>
#include <sstream>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/python_random.h"
#include "core/base/sha256.h"
#include "eval/task_template.h"

namespace mla {
namespace {

constexpr std::array kCities{"Amsterdam", "Bergen", "Cairo", "Dublin", "Edinburgh", "Florence", "Geneva", "Havana", "Istanbul", "Jakarta", "Kyoto", "Lisbon"};

// `count` tokens from `start` on, from the beginning again where the text ends.
std::vector<int32_t> stretch(const std::vector<int32_t>& haystack, std::size_t start, std::size_t count) {
  std::vector<int32_t> out(count);
  for (std::size_t i = 0; i < count; ++i) out[i] = haystack[(start + i) % haystack.size()];
  return out;
}

bool ends_sentence(const std::string& piece) { return !piece.empty() && (piece.back() == '.' || piece.back() == '\n'); }

std::size_t needle_place(const Tokenizer& tokenizer, const std::vector<int32_t>& body, double depth) {
  auto place = static_cast<std::size_t>(std::llround(depth * static_cast<double>(body.size())));
  if (depth >= 1) return body.size();
  while (place > 0 && !ends_sentence(tokenizer.piece(body[place - 1]))) --place;
  return place;
}

struct Maker {
  const TaskSpec& spec;
  const Tokenizer& tokenizer;
  const std::vector<int32_t>& haystack;
  PythonRandom random;

  GenerationItem item(int64_t length, double depth) {
    const std::string number = std::to_string(1000000 + random.below(9000000));
    Json row{{"city", kCities[random.below(kCities.size())]}, {"number", number}};
    const std::size_t start = random.below(haystack.size());
    const std::string needle = " " + render(spec.needle.needle, row, spec.name) + " ";
    row["question"] = render(spec.needle.question, row, spec.name);
    row["context"] = needle;
    const auto around = static_cast<int64_t>(tokenizer.encode(render(spec.prompt, row, spec.name)).size());
    if (around >= length) fail<ConfigError>("needle", "wanted a length above the ", around, " tokens of the bare prompt, got ", length);

    const std::vector<int32_t> body = stretch(haystack, start, static_cast<std::size_t>(length - around));
    const std::size_t place = needle_place(tokenizer, body, depth);
    const std::span<const int32_t> all(body);
    row["context"] = tokenizer.decode(all.first(place)) + needle + tokenizer.decode(all.subspan(place));
    std::ostringstream id;
    id << length << '@' << depth;
    return {.id = id.str(), .prompt = render(spec.prompt, row, spec.name), .stop = spec.generation.stop,
            .max_new_tokens = spec.generation.max_new_tokens, .answers = render_list(spec.generation.answers, row, spec.name), .length = length, .chat = spec.chat};
  }
};

}  // namespace

TaskItems needle_items(const TaskSpec& spec, const std::filesystem::path& root, const Tokenizer& tokenizer) {
  if (spec.kind != TaskKind::needle) fail<ConfigError>("needle", "wanted a needle task, got '", spec.name, "'");
  if (!is_there(spec.data, root))
    fail<CheckpointError>("data", "wanted ", spec.data.file, ", which is not there; looked for ", place_of(spec.data, root).string(), "; ", spec.data.how);
  const std::string text = read_text_file(place_of(spec.data, root));
  const std::vector<int32_t> haystack = tokenizer.encode(text);
  if (haystack.empty()) fail<CheckpointError>("needle", "wanted a text in ", spec.data.file, ", got none");
  TaskItems items{.data_sha256 = sha256_hex(text)};
  Maker maker{spec, tokenizer, haystack, PythonRandom(static_cast<uint64_t>(spec.needle.seed))};
  for (const int64_t length : spec.needle.lengths)
    for (const double depth : spec.needle.depths) items.generations.push_back(maker.item(length, depth));
  return items;
}

}  // namespace mla
