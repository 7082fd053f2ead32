// Reads what scripts/jieba_tables writes: dict.txt as in the package (word, count, tag), and hmm.txt with one table entry a line:
//   start STATE VALUE      trans FROM TO VALUE      emit STATE CODEPOINT(hex) VALUE
#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>

#include "core/base/error.h"
#include "core/base/files.h"
#include "eval/jieba/jieba.h"
#include "eval/scorers/text.h"

namespace mla {
namespace fs = std::filesystem;
namespace {

constexpr double kMinFloat = -3.14e100;
constexpr std::size_t kMostBytes = std::size_t{64} << 20;  // the package's dictionary has 5 MB
constexpr const char* kHow = "; scripts/bootstrap makes it of the PyPI package jieba 0.42.1";

[[noreturn]] void bad_line(const fs::path& file, std::size_t line, const char* wanted, std::string_view got) {
  fail<CheckpointError>("jieba", file.string(), ":", line, ": wanted ", wanted, ", got '", got.substr(0, 80), "'", kHow);
}

std::vector<std::string_view> fields_of(std::string_view line) {
  std::vector<std::string_view> fields;
  for (std::size_t begin = 0; begin <= line.size();) {
    const std::size_t end = std::min(line.find(' ', begin), line.size());
    fields.push_back(line.substr(begin, end - begin));
    begin = end + 1;
  }
  return fields;
}

template <class Each>
void each_line(const fs::path& file, Each each) {
  const std::string text = read_text_file(file, kMostBytes);
  std::size_t number = 0;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    std::string_view line(text.data() + begin, end - begin);
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    each(++number, line);
    begin = end + 1;
  }
}

template <class Number, class... Base>
bool parse(std::string_view text, Number& value, Base... base) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base...);
  return error == std::errc() && end == text.data() + text.size();
}

// 0 to 3 for B, E, M, S; -1 for anything else.
int state_of(std::string_view name) {
  const std::size_t found = name.size() == 1 ? std::string_view("BEMS").find(name[0]) : std::string_view::npos;
  return found == std::string_view::npos ? -1 : static_cast<int>(found);
}

// One line into the tables; false where it is none of the three forms.
bool read_entry(const std::vector<std::string_view>& fields, JiebaHmm& hmm) {
  double value = 0;
  if (fields.size() < 3 || !parse(fields.back(), value) || !std::isfinite(value)) return false;
  const int state = state_of(fields[1]);
  if (state < 0) return false;
  const auto from = static_cast<std::size_t>(state);
  if (fields[0] == "start" && fields.size() == 3) {
    hmm.start[from] = value;
    return true;
  }
  if (fields.size() != 4) return false;
  if (fields[0] == "trans") {
    const int to = state_of(fields[2]);
    if (to >= 0) hmm.transition[from][static_cast<std::size_t>(to)] = value;
    return to >= 0;
  }
  uint32_t point = 0;
  if (fields[0] != "emit" || !parse(fields[2], point, 16) || point > 0x10FFFF) return false;
  hmm.emission[from][static_cast<char32_t>(point)] = value;
  return true;
}

JiebaHmm read_hmm(const fs::path& file) {
  JiebaHmm hmm;
  hmm.start.fill(kMinFloat);
  for (auto& row : hmm.transition) row.fill(kMinFloat);
  each_line(file, [&](std::size_t number, std::string_view line) {
    if (line.empty() || line[0] == '#') return;
    if (!read_entry(fields_of(line), hmm)) bad_line(file, number, "start, trans or emit with states of B E M S and a number", line);
  });
  for (std::size_t state = 0; state < 4; ++state)
    if (hmm.emission[state].empty())
      fail<CheckpointError>("jieba", file.string(), ": wanted emit lines for all of B, E, M and S, got none for ", "BEMS"[state], kHow);
  return hmm;
}

bool holds_tables(const fs::path& folder) {
  std::error_code ignored;
  return fs::is_regular_file(folder / "dict.txt", ignored) && fs::is_regular_file(folder / "hmm.txt", ignored);
}

std::vector<fs::path> folders_to_try(const std::vector<fs::path>& roots) {
  std::vector<fs::path> folders;
  for (const fs::path& root : roots)
    if (!root.empty()) folders.push_back(root / "jieba");
  if (const char* cache = std::getenv("MLAFORGE_CACHE"); cache != nullptr && *cache != '\0') folders.push_back(fs::path(cache) / "jieba");
  std::error_code ignored;
  folders.push_back(fs::current_path(ignored) / ".cache" / "jieba");
  return folders;
}

}  // namespace

void Jieba::read_dictionary(const fs::path& file) {
  constexpr int64_t kLargest = int64_t{1} << 40;  // so that the total fits a double without rounding
  int64_t total = 0;
  each_line(file, [&](std::size_t number, std::string_view line) {
    const std::vector<std::string_view> fields = fields_of(line);
    int64_t count = 0;
    if (fields.size() < 2 || fields[0].empty() || !parse(fields[1], count) || count < 0 || count > kLargest)
      bad_line(file, number, "a word, a blank and its count", line);
    add_word(py::decode(fields[0]), count);
    total += count;
  });
  if (total == 0) fail<CheckpointError>("jieba", file.string(), ": wanted words with counts, got none", kHow);
  log_total_ = std::log(static_cast<double>(total));
}

Jieba Jieba::load(const fs::path& folder) {
  Jieba jieba;
  jieba.read_dictionary(folder / "dict.txt");
  jieba.hmm_ = read_hmm(folder / "hmm.txt");
  return jieba;
}

fs::path Jieba::find(const std::vector<fs::path>& roots) {
  for (const fs::path& folder : folders_to_try(roots))
    if (holds_tables(folder)) return folder;
  return {};
}

Jieba Jieba::load_found(const std::vector<fs::path>& roots) {
  if (const fs::path folder = find(roots); !folder.empty()) return load(folder);
  std::string tried;
  for (const fs::path& folder : folders_to_try(roots)) tried += (tried.empty() ? "" : ", ") + folder.string();
  fail<CheckpointError>("jieba", "wanted dict.txt and hmm.txt to cut Chinese text into words, got neither in ", tried, kHow);
}

}  // namespace mla
