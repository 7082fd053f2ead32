// One block of each quantised GGUF type, as ggml's files lay it out: bytes to fp32 weights.
#pragma once
#include <cstddef>

namespace mla::quant {

// 32 weights.
void q4_0(const std::byte* in, float* out);
void q4_1(const std::byte* in, float* out);
void q5_0(const std::byte* in, float* out);
void q5_1(const std::byte* in, float* out);
void q8_0(const std::byte* in, float* out);
void iq4_nl(const std::byte* in, float* out);
// 256 weights.
void q2_k(const std::byte* in, float* out);
void q3_k(const std::byte* in, float* out);
void q4_k(const std::byte* in, float* out);
void q5_k(const std::byte* in, float* out);
void q6_k(const std::byte* in, float* out);
void iq4_xs(const std::byte* in, float* out);

}  // namespace mla::quant
