#include "tests/support/smollm2.h"

#include <cstring>

#include "tests/support/catch.h"

namespace mla::test {

const RealModel* real_model() {
  static const std::unique_ptr<RealModel> model = [] {
    const fs::path path = smollm2();
    if (path.empty()) return std::unique_ptr<RealModel>();
    auto loaded = std::make_unique<RealModel>();
    loaded->tokenizer = Tokenizer::load(path);
    loaded->decoder = load_decoder(*Checkpoint::open(path), at::kCPU, at::kFloat);
    loaded->samples = samples_from_ids(golden("calibration_tokens.json"), loaded->decoder.config.vocab_size);
    return loaded;
  }();
  if (!model) skip("SmolLM2-135M-Instruct is not here; scripts/bootstrap fetches it");
  return model.get();
}

CollectStats shared_stats(const RealModel& model) {
  static std::map<std::string, CalibrationStats> known;
  return [&model](const Decoder& decoder, const StatKinds& kinds, const std::string& state) {
    const std::string key = state + (kinds.pair_norms ? " pairs" : "") + (kinds.input_moments ? " moments" : "");
    auto found = known.find(key);
    if (found == known.end()) found = known.emplace(key, collect_stats(decoder, model.samples, kinds)).first;
    return found->second;
  };
}

Conversion convert_real(const RealModel& model, const std::string& method, const Json& options) {
  return convert(model.decoder, find_recipe(method).make(options, model.decoder.config), shared_stats(model));
}

at::Tensor golden_tensor(const SafetensorsFile& file, const std::string& name) {
  const SafeTensor& stored = file.tensors().at(name);
  const at::ScalarType type = stored.type == SafeType::f64 ? at::kDouble : stored.type == SafeType::i64 ? at::kLong : at::kFloat;
  const at::Tensor tensor = at::empty(stored.shape, type);
  std::memcpy(tensor.data_ptr(), stored.bytes.data(), stored.bytes.size());
  return tensor;
}

}  // namespace mla::test
