#include <mlaforge.h>

#include <iostream>

int main(int, char** argv) {  // MODEL CALIBRATION_TEXT EVALUATION_TEXT STORE
  const mla::ConvertedModel model = mla::convert(argv[1], "transmla", {.method = {{"freqfold", 4}, {"kv_lora_rank", 128}}, .calibration = argv[2], .calibration_samples = 8});
  const mla::Evaluation scores = mla::evaluate(model, argv[3], {.window = 128, .max_windows = 2});
  std::cout << model.cache_values() << " of " << model.original_cache_values() << " cache values per token and layer, perplexity "
            << scores.stage("original").perplexity << " -> " << scores.stage("mla").perplexity << '\n';
  std::cout << "run " << mla::record(scores, argv[4]) << '\n';
}
