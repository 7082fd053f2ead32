// The machines that device tests run on: the fake card everywhere, and the card of this machine where there is one.
#pragma once
#include <optional>

#include "core/base/error.h"
#include "core/model/layer_stream.h"
#include "tests/device/fake_card.h"
#include "tests/support/catch.h"

namespace mla::test {

// Says why the test is skipped where there is none.
inline std::optional<at::Device> real_card() {
  try {
    const at::Device card = parse_device("cuda");
    compute_deterministically(card);
    return card;
  } catch (const ResourceError& error) {
    skip(error.what());
    return std::nullopt;
  }
}

// What is to hold on any device, under the sentence that says it.
struct DeviceCheck {
  const char* name;
  void (*check)(at::Device);
};
inline void on_fake_card(const std::vector<DeviceCheck>& checks) {
  for (const auto& [name, check] : checks) DYNAMIC_SECTION(name) { check(fake_card()); }
}
inline void on_real_card(const std::vector<DeviceCheck>& checks) {
  const std::optional<at::Device> card = real_card();
  if (!card) return;
  for (const auto& [name, check] : checks) DYNAMIC_SECTION(name) { check(*card); }
}

inline Decoder on_device(Decoder model, at::Device device) {
  const auto move = [&](at::Tensor& t) {
    if (t.defined()) t = t.to(device);
  };
  move(model.embedding), move(model.final_norm), move(model.head);
  for (DecoderLayer& layer : model.layers) each_layer_tensor(layer, move);
  return model;
}

// Every tensor of the model is there.
inline void check_lies_on(const Decoder& model, at::Device device) {
  const auto check = [&](at::Tensor& t) {
    if (t.defined()) CHECK(t.device().type() == device.type());
  };
  for (DecoderLayer layer : model.layers) each_layer_tensor(layer, check);
}

constexpr double kFp64Span = 1e-8;  // what decompositions in fp64 owe one another across devices, relative

}  // namespace mla::test
