#include "core/tokenizer/normalizer.h"

#include <unicode/bytestream.h>
#include <unicode/normalizer2.h>

#include "core/base/error.h"

namespace mla {
namespace {

std::string nfc(const std::string& text) {
  UErrorCode error = U_ZERO_ERROR;
  const icu::Normalizer2* normalizer = icu::Normalizer2::getNFCInstance(error);
  std::string out;
  icu::StringByteSink<std::string> sink(&out);
  if (U_SUCCESS(error)) normalizer->normalizeUTF8(0, text, sink, nullptr, error);
  if (U_FAILURE(error)) fail<CheckpointError>("tokenizer", "ICU cannot bring a text to NFC: ", u_errorName(error));
  return out;
}

}  // namespace

void replace_every(std::string& text, std::string_view from, std::string_view to) {
  if (from.empty()) return;
  std::string out;
  std::size_t begin = 0;
  for (std::size_t at = text.find(from); at != std::string::npos; at = text.find(from, begin)) {
    out.append(text, begin, at - begin).append(to);
    begin = at + from.size();
  }
  if (begin > 0) text = out.append(text, begin);
}

std::string normalize(std::string_view text, const std::vector<NormalizerStep>& steps) {
  std::string out(text);
  for (const NormalizerStep& step : steps) {
    if (step.kind == NormalizerStep::Kind::nfc) out = nfc(out);
    else if (step.kind == NormalizerStep::Kind::replace) replace_every(out, step.from, step.to);
    else if (!out.empty()) out.insert(0, step.to);
  }
  return out;
}

}  // namespace mla
