// What Decoder's forward and the decode engine share of a latent's norm.
#pragma once

namespace mla {

constexpr double kLatentNormEps = 1e-6;  // of the latents' norms, as DeepSeek-V2's classes have it

}  // namespace mla
