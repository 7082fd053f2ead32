#include "eval/windows.h"

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/sha256.h"

namespace mla {
Windows chunk_text(const std::filesystem::path& text, const Tokenizer& tokenizer, const WindowOptions& options) {
  if (options.window < 2) fail<ConfigError>("windows", "wanted --window of at least 2 tokens, got ", options.window);
  const std::string content = read_text_file(text);
  const std::vector<int32_t> ids = tokenizer.encode(content);
  const auto tokens = static_cast<int64_t>(ids.size());
  const int64_t whole = tokens / options.window, skipped = options.skip_windows;
  if (whole <= skipped)
    fail<ConfigError>("windows", "wanted at least one window of ", options.window, " tokens ", skipped > 0 ? "behind --skip-windows " + std::to_string(skipped) + " " : "",
                      "in ", text.string(), ", got ", tokens, " tokens; use a longer text or a smaller --window");
  const int64_t rest = whole - skipped, count = options.max_windows > 0 ? std::min(options.max_windows, rest) : rest;

  Windows windows;
  const auto first = ids.begin() + skipped * options.window;
  windows.ids = at::tensor(std::vector<int64_t>(first, first + count * options.window), at::kLong).view({count, options.window});
  windows.protocol = "hf-chunk/" + std::to_string(options.window);
  if (skipped > 0) windows.protocol += "/windows" + std::to_string(skipped + 1) + '-' + std::to_string(skipped + count);
  else if (count < whole) windows.protocol += "/first" + std::to_string(count);
  windows.corpus = text.stem().string();
  windows.sha256 = sha256_hex(content);
  windows.text_tokens = tokens;
  return windows;
}

}  // namespace mla
