// How tokens are generated: by the decode engine, or by LibTorch's operators through Decoder.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "core/base/json.h"
#include "core/engine/held_models.h"
#include "core/engine/machine.h"

namespace mla {

enum class DecodePath {
  automatic,  // the engine on a card, where it holds model and cache and the kernels' module is found; else LibTorch
  engine,     // on the CPU over the operators' references, which are slow
  libtorch
};

const std::vector<std::string>& decode_path_names();   // auto, engine, libtorch
DecodePath parse_decode_path(const std::string& name);  // throws ConfigError

// What generates, for one model and one cache.
struct DecodeWay {
  std::optional<EngineMachine> engine;  // what the engine runs on; nothing: LibTorch
  std::string reason;                   // why LibTorch, where `automatic` would have had the engine; else empty
  const char* name() const { return engine ? "engine" : "libtorch"; }
};

// `exactly`: the engine only where follows_rule(). With `automatic` on a card the reason for LibTorch is warned of, once each. Throws with `engine`:
// ConfigError with the reason, CudaError.
DecodeWay decode_way(DecodePath path, const Decoder& decoder, const CacheFormat& format, bool exactly);

// As records keep it: {"way": "libtorch", "reason": "layer 0 has experts"}; no reason, no key.
Json decode_record(const std::string& way, const std::string& reason);

}  // namespace mla
