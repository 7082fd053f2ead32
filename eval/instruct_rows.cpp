#include "eval/instruct_rows.h"

#include <algorithm>

#include "core/base/error.h"
#include "eval/task_template.h"

namespace mla {
namespace {

// How one layout spells a question and its options.
struct Spelling {
  const char* opening;
  const char* option;       // "Answer" of "Answer1: "
  const char* label;        // "answer" of "answer1"
  const char* between;      // two options
  const char* before_format;
};

constexpr Spelling kAnswers{"Please choose the correct answer to the question: ", "Answer", "answer", " ", "\n\n"};
constexpr Spelling kSolutions{"Please choose the correct solution to the question: ", "Solution", "solution", "\n\n", "\n\n"};
constexpr Spelling kOptions{"Please choose the correct answer to fill in the blank to complete the given sentence: ", "Option", "option", " ", " "};
constexpr const char* kTrueFalse = "Please answer the following question with true or false, question: ";
constexpr const char* kTrueFalseEnd = "\n\nAnswer format: true/false";

struct Parsed {
  std::string question;
  std::vector<std::string> options;
  int64_t gold = 0;
};

std::string mark(const Spelling& spelling, std::size_t number) { return spelling.option + std::to_string(number) + ": "; }

std::string spell(const Spelling& spelling, const Parsed& parsed) {
  std::string text = spelling.opening + parsed.question + "\n\n", labels;
  for (std::size_t i = 0; i < parsed.options.size(); ++i) {
    text += (i == 0 ? "" : spelling.between) + mark(spelling, i + 1) + parsed.options[i];
    labels += (i == 0 ? "" : "/") + std::string(spelling.label) + std::to_string(i + 1);
  }
  return text + spelling.before_format + "Answer format: " + labels;
}

// The stretch of `text` from `at` to the only later `end`; moves `at` behind it.
std::string take(const std::string& text, std::size_t& at, const std::string& end, const std::string& where) {
  const std::size_t found = text.find(end, at);
  if (found == std::string::npos) fail<CheckpointError>("instruct", "wanted '", end, "' in the instruction of ", where, ", got none");
  if (text.find(end, found + 1) != std::string::npos)
    fail<CheckpointError>("instruct", "wanted '", end, "' once in the instruction of ", where, ", got it twice");
  const std::string part = text.substr(at, found - at);
  at = found + end.size();
  return part;
}

Parsed parse(const Spelling& spelling, const std::string& text, const std::string& answer, const std::string& where) {
  const std::string opening = spelling.opening, format = "Answer format: ";
  if (!text.starts_with(opening)) fail<CheckpointError>("instruct", "wanted an instruction that begins '", opening, "' in ", where);
  const std::size_t labels = text.rfind(format);
  if (labels == std::string::npos) fail<CheckpointError>("instruct", "wanted '", format, "' in the instruction of ", where, ", got none");
  const std::size_t count = 1 + static_cast<std::size_t>(std::count(text.begin() + static_cast<std::ptrdiff_t>(labels), text.end(), '/'));

  Parsed parsed;
  std::size_t at = opening.size();
  parsed.question = take(text, at, "\n\n" + mark(spelling, 1), where);
  for (std::size_t i = 1; i < count; ++i) parsed.options.push_back(take(text, at, spelling.between + mark(spelling, i + 1), where));
  parsed.options.push_back(take(text, at, spelling.before_format + format, where));
  for (std::size_t i = 0; i < count; ++i)
    if (answer == spelling.label + std::to_string(i + 1)) parsed.gold = static_cast<int64_t>(i) + 1;
  if (parsed.gold == 0)
    fail<CheckpointError>("instruct", "wanted one of ", count, " labels as answer in ", where, ", got '", answer, "'");
  parsed.gold -= 1;
  if (spell(spelling, parsed) != text) fail<CheckpointError>("instruct", "wanted an instruction of the usual shape in ", where, ", got another");
  return parsed;
}

Json lettered(const Parsed& parsed, const char* question) {
  Json labels = Json::array();
  for (std::size_t i = 0; i < parsed.options.size(); ++i) labels.push_back(std::string(1, static_cast<char>('A' + i)));
  return {{question, parsed.question}, {"choices", {{"text", parsed.options}, {"label", labels}}}, {"answerKey", labels[static_cast<std::size_t>(parsed.gold)]}};
}

Json parse_boolq(const std::string& text, const std::string& answer, const std::string& where) {
  const std::string opening = kTrueFalse, end = kTrueFalseEnd;
  if (!text.starts_with(opening) || !text.ends_with(end) || text.size() < opening.size() + end.size())
    fail<CheckpointError>("instruct", "wanted an instruction from '", opening, "' to 'Answer format: true/false' in ", where, ", got another");
  if (answer != "true" && answer != "false") fail<CheckpointError>("instruct", "wanted true or false as answer in ", where, ", got '", answer, "'");
  return {{"question", text.substr(opening.size(), text.size() - opening.size() - end.size())}, {"label", answer == "true" ? 1 : 0}};
}

void require_options(const Parsed& parsed, std::size_t wanted, const std::string& where) {
  if (parsed.options.size() != wanted)
    fail<CheckpointError>("instruct", "wanted ", wanted, " options in ", where, ", got ", parsed.options.size());
}

}  // namespace

const std::vector<std::string>& instruct_layouts() {
  static const std::vector<std::string> layouts{"instruct-arc",  "instruct-boolq",      "instruct-openbookqa",
                                                "instruct-piqa", "instruct-social_iqa", "instruct-winogrande"};
  return layouts;
}

Json parse_instruct_row(const Json& row, const std::string& layout, const std::string& where) {
  const std::string text = text_of(column(row, "instruction", where), "instruction", where);
  const std::string answer = text_of(column(row, "answer", where), "answer", where);
  if (column(row, "output", where) != "the correct answer is " + answer)
    fail<CheckpointError>("instruct", "wanted an output that repeats the answer '", answer, "' in ", where, ", got another");
  if (layout == "instruct-boolq") return parse_boolq(text, answer, where);
  if (layout == "instruct-arc") return lettered(parse(kAnswers, text, answer, where), "question");
  if (layout == "instruct-openbookqa") return lettered(parse(kAnswers, text, answer, where), "question_stem");
  if (layout == "instruct-social_iqa") {
    const Parsed parsed = parse(kAnswers, text, answer, where);
    return {{"question", parsed.question}, {"answers", parsed.options}, {"label", parsed.gold + 1}};
  }
  const bool piqa = layout == "instruct-piqa";
  const Parsed parsed = parse(piqa ? kSolutions : kOptions, text, answer, where);
  require_options(parsed, 2, where);
  if (piqa) return {{"goal", parsed.question}, {"sol1", parsed.options[0]}, {"sol2", parsed.options[1]}, {"label", parsed.gold}};
  return {{"sentence", parsed.question}, {"option1", parsed.options[0]}, {"option2", parsed.options[1]}, {"answer", std::to_string(parsed.gold + 1)}};
}

}  // namespace mla
