#include "eval/task_steps.h"

#include <unicode/locid.h>
#include <unicode/uchar.h>
#include <unicode/unistr.h>
#include <unicode/utf8.h>

#include <algorithm>

#include "core/base/error.h"
#include "core/tokenizer/splitter.h"
#include "eval/task_template.h"

namespace mla {
namespace {

std::string strip(std::string_view text) { return std::string(strip_space(text)); }

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  for (std::size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) text.replace(at, from.size(), to);
}

// Without WikiHow's marks: " [title]" ends a sentence, other brackets go with what they hold. Python's '.' does not cross a line, so
// neither does a bracket; double blanks are halved once, from left to right.
std::string without_marks(std::string text) {
  replace_all(text, " [title]", ". ");
  for (std::size_t at = text.find('['); at != std::string::npos; at = text.find('[', at)) {
    const std::size_t end = text.find_first_of("]\n", at);
    if (end == std::string::npos) break;
    if (text[end] == ']') text.erase(at, end + 1 - at);
    else at += 1;
  }
  replace_all(text, "  ", " ");
  return text;
}

std::string text_column(const Json& row, const char* name, const std::string& where) {
  return text_of(column(row, name, where), name, where);
}

void hellaswag(Json& row, bool lighteval, const std::string& where) {
  const auto clean = [&](const std::string& text) { return without_marks(lighteval ? text : strip(text)); };
  const std::string context = text_column(row, "ctx_a", where) + " " + capitalize(text_column(row, "ctx_b", where)) + (lighteval ? " " : "");
  Json choices = Json::array();
  for (const std::string& ending : render_list("{endings}", row, where)) choices.push_back(clean(ending));
  row["query"] = clean(text_column(row, "activity_label", where) + ": " + context);
  row["choices"] = choices;
}

void winogrande(Json& row, const std::string& where) {
  const std::string sentence = text_column(row, "sentence", where);
  const std::size_t blank = sentence.find('_');
  if (blank == std::string::npos) fail<CheckpointError>("task", "wanted a blank '_' in the sentence of ", where, ", got none");
  row["before"] = sentence.substr(0, blank);
  row["after"] = strip(sentence.substr(blank + 1));
}

void mmlu_pro(Json& row) {
  std::string target = row.contains("cot_content") && row["cot_content"].is_string() ? row["cot_content"].get<std::string>() : "";
  replace_all(target, "A: Let's think step by step. ", "");
  row["target"] = target;
}

void trivia_qa(Json& row, const std::string& where) {
  std::vector<std::string> aliases = render_list("{answer.aliases}", row, where);
  if (aliases.empty()) fail<CheckpointError>("task", "wanted at least one alias of the answer in ", where, ", got none");
  std::sort(aliases.begin(), aliases.end());  // UTF-8 sorts as code points do
  Json candidates = Json::array();
  std::string kept;
  for (std::size_t i = 0; i < aliases.size(); ++i) {
    if (i > 0 && aliases[i].starts_with(kept)) continue;
    kept = aliases[i];
    std::string lower;
    icu::UnicodeString::fromUTF8(kept).toLower(icu::Locale::getRoot()).toUTF8String(lower);
    std::erase_if(lower, [](char c) { return c > ' ' && c < 127 && std::string_view("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~").find(c) != std::string_view::npos; });
    candidates.push_back(lower);
  }
  row["candidates"] = candidates;
}

}  // namespace

const std::vector<std::string>& step_names() {
  static const std::vector<std::string> names{"hellaswag", "hellaswag-lighteval", "mmlu_pro", "trivia_qa", "winogrande"};
  return names;
}

void run_step(const std::string& step, Json& row, const std::string& where) {
  if (step == "hellaswag" || step == "hellaswag-lighteval") return hellaswag(row, step != "hellaswag", where);
  if (step == "winogrande") return winogrande(row, where);
  if (step == "mmlu_pro") return mmlu_pro(row);
  if (step == "trivia_qa") return trivia_qa(row, where);
  fail<ConfigError>("task", "unknown step '", step, "'");
}

std::string capitalize(const std::string& text) {
  const icu::UnicodeString all = icu::UnicodeString::fromUTF8(text);
  if (all.isEmpty()) return "";
  const icu::Locale& root = icu::Locale::getRoot();
  icu::UnicodeString first(all.char32At(0)), lowered(all), first_lowered(all.char32At(0));
  lowered.toLower(root);  // of the whole text, since a final sigma looks at what precedes it
  first_lowered.toLower(root);
  first.toTitle(nullptr, root);
  first.append(lowered, first_lowered.length(), lowered.length() - first_lowered.length());
  std::string out;
  return first.toUTF8String(out);
}

int64_t code_points(std::string_view text) {
  return std::count_if(text.begin(), text.end(), [](char byte) { return (static_cast<unsigned char>(byte) & 0xC0) != 0x80; });
}

}  // namespace mla
