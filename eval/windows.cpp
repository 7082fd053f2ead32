#include "eval/windows.h"

#include <algorithm>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/names.h"
#include "core/base/sha256.h"
#include "core/calibration/text_rows.h"

namespace mla {
namespace {

// One window and the range of its predictions that count: prediction t is of token t + 1.
struct Piece {
  std::vector<int64_t> ids;
  int64_t first = 0;
};

int64_t bos_of(const Tokenizer& tokenizer) {
  if (tokenizer.bos_id() < 0) fail<ConfigError>("windows", "wanted a tokenizer with a BOS token for --bos, got one without; take --bos none");
  return tokenizer.bos_id();
}

std::vector<int64_t> tokens_of(const std::string& text, const Tokenizer& tokenizer, const WindowOptions& options) {
  const std::vector<int32_t> ids = tokenizer.encode(text);
  std::vector<int64_t> all;
  if (options.bos == "text") all.push_back(bos_of(tokenizer));
  all.insert(all.end(), ids.begin(), ids.end());
  return all;
}

std::vector<int64_t> slice(const std::vector<int64_t>& ids, int64_t begin, int64_t end) { return {ids.begin() + begin, ids.begin() + end}; }

std::vector<Piece> disjoint(const std::vector<int64_t>& ids, int64_t window, int64_t first) {
  std::vector<Piece> pieces;
  for (int64_t begin = 0; begin + window <= static_cast<int64_t>(ids.size()); begin += window) pieces.push_back({slice(ids, begin, begin + window), first});
  return pieces;
}

std::vector<Piece> strided(const std::vector<int64_t>& ids, int64_t window, int64_t stride) {
  std::vector<Piece> pieces;
  const auto count = static_cast<int64_t>(ids.size());
  for (int64_t begin = 0, scored = 1; begin < count && scored < count; begin += stride) {
    const int64_t end = std::min(begin + window, count);
    pieces.push_back({slice(ids, begin, end), std::max<int64_t>(0, scored - begin - 1)});  // nothing predicts a text's or, without overlap, a window's first token
    scored = end;
  }
  return pieces;
}

// get_rolling_token_windows with a context of one token, then make_disjoint_window (lm_eval.utils).
void add_rolling(const std::vector<int64_t>& ids, int64_t prefix, int64_t window, std::vector<Piece>& pieces) {
  std::vector<int64_t> all{prefix};
  all.insert(all.end(), ids.begin(), ids.end());
  const auto count = static_cast<int64_t>(ids.size());
  for (int64_t done = 0; done < count;) {
    const int64_t end = std::min(done + window, count), begin = std::max<int64_t>(0, end - window);  // in `all`, the window reads begin .. end-1
    pieces.push_back({slice(all, begin, end + 1), done - begin});
    done = end;
  }
}

std::vector<Piece> documents(const std::string& text, const Tokenizer& tokenizer, int64_t window, Windows& windows) {
  const int64_t prefix = tokenizer.bos_id() >= 0 ? tokenizer.bos_id() : tokenizer.eos_id();
  if (prefix < 0) fail<ConfigError>("windows", "wanted a tokenizer with BOS or EOS for the protocol lm-eval, got one without");
  std::vector<Piece> pieces;
  for (const std::string& page : wikitext_pages(text)) {
    windows.words += count_words(page);
    windows.bytes += static_cast<int64_t>(page.size());
    const std::vector<int32_t> ids = tokenizer.encode(wikitext_detokenize(page));
    windows.text_tokens += static_cast<int64_t>(ids.size());
    add_rolling({ids.begin(), ids.end()}, prefix, window, pieces);
  }
  return pieces;
}

std::vector<Piece> pieces_of(const std::string& text, const Tokenizer& tokenizer, const WindowOptions& options, Windows& windows) {
  if (options.protocol == "lm-eval") return documents(text, tokenizer, options.window, windows);
  const std::vector<int64_t> ids = tokens_of(text, tokenizer, options);
  windows.text_tokens = static_cast<int64_t>(ids.size());
  std::vector<Piece> pieces = options.protocol == "hf-stride"   ? strided(ids, options.window, options.stride > 0 ? options.stride : std::max<int64_t>(1, options.window / 2))
                              : options.protocol == "llama.cpp" ? disjoint(ids, options.window, options.window / 2)
                                                                : disjoint(ids, options.window, 0);
  if (options.bos == "window")
    for (Piece& piece : pieces) piece.ids[0] = bos_of(tokenizer);
  return pieces;
}

std::string protocol_name(const WindowOptions& options) {
  std::string name = options.protocol + '/' + std::to_string(options.window);
  if (options.protocol == "hf-stride") name += '/' + std::to_string(options.stride > 0 ? options.stride : std::max<int64_t>(1, options.window / 2));
  return options.bos == "none" ? name : name + "/bos-" + options.bos;
}

// The pieces as tensors; lengths and scored stay undefined where they would say "all".
void fill(const std::vector<Piece>& pieces, Windows& windows) {
  std::size_t longest = 0;
  bool equal = true, all = true;
  for (const Piece& piece : pieces) {
    longest = std::max(longest, piece.ids.size());
    equal = equal && piece.ids.size() == pieces.front().ids.size();
    all = all && piece.first == 0;
  }
  const auto count = static_cast<int64_t>(pieces.size()), width = static_cast<int64_t>(longest);
  windows.ids = at::zeros({count, width}, at::kLong);
  if (!equal) windows.lengths = at::zeros({count}, at::kLong);
  if (!equal || !all) windows.scored = at::zeros({count, width - 1}, at::kBool);
  for (int64_t i = 0; i < count; ++i) {
    const Piece& piece = pieces[static_cast<std::size_t>(i)];
    const auto size = static_cast<int64_t>(piece.ids.size());
    windows.ids[i].narrow(0, 0, size).copy_(at::tensor(piece.ids, at::kLong));
    if (windows.lengths.defined()) windows.lengths[i] = size;
    if (windows.scored.defined()) windows.scored[i].slice(0, piece.first, size - 1).fill_(true);
  }
}

}  // namespace

const std::vector<std::string>& window_protocols() {
  static const std::vector<std::string> names{"hf-chunk", "hf-stride", "llama.cpp", "lm-eval"};
  return names;
}

void cut_windows(Windows& windows, int64_t count) {
  if (count >= windows.ids.size(0)) return;
  for (at::Tensor* tensor : {&windows.ids, &windows.lengths, &windows.scored})
    if (tensor->defined()) *tensor = tensor->narrow(0, 0, count);
  windows.words = windows.bytes = 0;
}

Windows cut_text(const std::filesystem::path& text, const Tokenizer& tokenizer, const WindowOptions& options) {
  if (options.window < 2) fail<ConfigError>("windows", "wanted --window of at least 2 tokens, got ", options.window);
  if (options.stride > options.window) fail<ConfigError>("windows", "wanted --stride of at most --window = ", options.window, ", got ", options.stride);
  if (options.bos != "none" && options.protocol == "lm-eval") fail<ConfigError>("windows", "wanted no --bos with the protocol lm-eval, which has its own rule, got ", options.bos);
  const std::string content = read_text_file(text);
  Windows windows;
  const bool joins = !options.rows.empty() && options.protocol != "lm-eval";  // which finds the pages of the text as it stands
  std::vector<Piece> pieces = pieces_of(joins ? joined_rows(text, content, options.rows) : content, tokenizer, options, windows);
  const auto whole = static_cast<int64_t>(pieces.size()), skipped = options.skip_windows;
  if (whole <= skipped)
    fail<ConfigError>("windows", "wanted at least one window of ", options.window, " tokens ", skipped > 0 ? "behind --skip-windows " + std::to_string(skipped) + " " : "",
                      "in ", text.string(), ", got ", windows.text_tokens, " tokens; use a longer text or a smaller --window");
  const int64_t rest = whole - skipped, count = options.max_windows > 0 ? std::min(options.max_windows, rest) : rest;
  if (count < whole && options.protocol == "lm-eval")
    fail<ConfigError>("windows", "wanted neither --max-windows nor --skip-windows with the protocol lm-eval, whose words and bytes are of the whole text; --limit cuts ad hoc");
  pieces = {pieces.begin() + skipped, pieces.begin() + skipped + count};
  fill(pieces, windows);
  windows.protocol = protocol_name(options);
  if (skipped > 0) windows.protocol += "/windows" + std::to_string(skipped + 1) + '-' + std::to_string(skipped + count);
  else if (count < whole) windows.protocol += "/first" + std::to_string(count);
  windows.corpus = text.stem().string();
  windows.sha256 = sha256_hex(content);
  return windows;
}

}  // namespace mla
