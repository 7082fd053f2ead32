#include "experiments/decode_flag.h"

#include "core/base/error.h"

namespace mla {

CLI::Option* add_decode_flag(CLI::App& command, std::string& decode, const std::string& more) {
  return command
      .add_option("--decode", decode, "What generates: engine (paged caches, our operators), libtorch; auto: the engine on a card, where it holds model and cache, else LibTorch" + more + " [auto]")
      ->check(CLI::IsMember(decode_path_names()));
}

void refuse_engine(const std::string& decode, const char* command) {
  if (parse_decode_path(decode) == DecodePath::engine)
    fail<UsageError>(command, "wanted --tasks beside --decode engine: nothing of a text is generated, and LibTorch reads it, got none; leave --decode out");
}

}  // namespace mla
