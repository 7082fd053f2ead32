// How tokens are generated: by the decode engine, or by LibTorch's operators through Decoder.
#pragma once
#include <optional>
#include <string>
#include <vector>

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

// What the engine runs on where that path takes it; nothing where it takes LibTorch. `exactly`: only where follows_rule(). With `automatic` on a
// card the reason for LibTorch is warned of, once each. Throws with `engine`: ConfigError with the reason, CudaError.
std::optional<EngineMachine> machine_of(DecodePath path, const Decoder& decoder, const CacheFormat& format, bool exactly);

}  // namespace mla
