#include <iostream>

#include "core/base/progress.h"
#include "experiments/commands.h"
#include "experiments/data_root.h"
#include "experiments/pipeline.h"
#include "experiments/run_steps.h"
#include "experiments/streaming.h"

namespace mla {
namespace {

struct ConvertFlags {
  StreamRequest request;
  std::optional<bool> streams;
};

std::string convert_in_memory(const StreamRequest& request) {
  const Prepared prepared = prepare(load_model(request.model), request.model.data_root, request.method, request.calibration, nullptr);
  Calibrator& calibrator = *prepared.calibrator;
  for (const std::string& warning : calibrator.warnings()) warn(warning);
  const Conversion made = convert(prepared.model.decoder, prepared.resolved.recipe, calibrator.callback(), calibrator.samples());
  const WrittenConversion written{prepared.model.decoder, made.converted, made.ranks, made.healing};
  const Json exported = write_conversion(prepared.model, request.method.method, prepared.resolved, calibrator, written, request.target, request.out);
  return describe_written(request.out, prepared.resolved.recipe.label, written) + describe_export(exported, request.out);
}

void convert_model(const ConvertFlags& flags) {
  require_new_directory(flags.request.out);
  method_options(flags.request.method);  // refused before a model is read
  std::cout << (decide_streaming(flags.request, flags.streams) ? convert_layer_by_layer(flags.request) : convert_in_memory(flags.request));
}

}  // namespace

void add_convert_command(CLI::App& app) {
  auto flags = std::make_shared<ConvertFlags>();
  CLI::App* command = app.add_subcommand("convert", "Write the converted model as a folder, for this program or another");
  add_model_flags(*command, flags->request.model);
  add_method_flags(*command, flags->request.method);
  add_calibration_flags(*command, flags->request.calibration);
  add_export_flags(*command, flags->request.target);
  command->add_flag_callback("--stream", [flags] { flags->streams = true; },
                             "Layer by layer from file to file, one layer in memory [where the weights need more than half of the free memory]");
  command->add_flag_callback("--no-stream", [flags] { flags->streams = false; }, "The whole model in memory, however large");
  command->add_option("--out,--save-path", flags->request.out, "Folder to make; must not exist, or be empty")->required();
  add_examples(*command,
               "  mlaforge convert --model model.gguf --method transmla --freqfold 4 --kv-lora-rank 256 \\\n"
               "      --cal-dataset debian-faq --cal-nsamples 32 --out converted\n"
               "  mlaforge convert --model model.gguf --method transmla --freqfold 4 --kv-lora-rank 255 --cal-dataset debian-faq \\\n"
               "      --for transformers --out for-transformers\n"
               "  mlaforge convert --model Llama-3.1-8B --dtype bf16 --stream --method transmla --freqfold 4 --kv-lora-rank 512 --cal-dataset wikitext2 --out converted\n"
               "  mlaforge convert --model model.gguf --method transmla --freqfold auto --cache-values 192 --cal-dataset rows.jsonl --cal-field text \\\n"
               "      --out converted\n"
               "  mlaforge convert --model model.gguf --method mha2mla --rope-dim 32 --cal-dataset debian-faq --save-qk-norms ranks.json --out partial\n"
               "  mlaforge convert --model model.gguf --method mha2mla --rope-selection high --rope-dim 32 --svd none --out partial\n"
               "  mlaforge eval --model converted --reference model.gguf --corpus debian-policy --window 512\n");
  command->callback([flags] { convert_model(*flags); });
}

}  // namespace mla
