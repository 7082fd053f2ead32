#include <iostream>

#include "core/base/process.h"
#include "core/base/progress.h"
#include "experiments/commands.h"
#include "experiments/data_root.h"
#include "experiments/model_export.h"
#include "experiments/pipeline.h"
#include "experiments/run_steps.h"

namespace mla {
namespace {

struct ConvertFlags {
  ModelFlags model;
  MethodFlags method;
  CalibrationFlags calibration;
  ExportFlags target;
  std::string out;
};

void convert_model(const ConvertFlags& flags) {
  require_new_directory(flags.out);
  method_options(flags.method);  // refused before a model is read
  const Prepared prepared = prepare(load_model(flags.model), flags.model.data_root, flags.method, flags.calibration, nullptr);
  const LoadedModel& model = prepared.model;
  const Recipe& recipe = prepared.resolved.recipe;
  Calibrator& calibrator = *prepared.calibrator;
  for (const std::string& warning : calibrator.warnings()) warn(warning);
  const Conversion conversion = convert(model.decoder, recipe, calibrator.callback(), calibrator.samples());
  const Json exported = write_conversion(model, flags.method.method, prepared.resolved, calibrator, conversion, flags.target, flags.out);
  std::cout << flags.out << ": " << recipe.label << ", " << conversion.converted.cache_values_per_token_per_layer() << " of "
            << model.decoder.cache_values_per_token_per_layer() << " cache values per token and layer, "
            << conversion.converted.parameters() << " parameters\n"
            << describe_export(exported, flags.out);
}

}  // namespace

void add_convert_command(CLI::App& app) {
  auto flags = std::make_shared<ConvertFlags>();
  CLI::App* command = app.add_subcommand("convert", "Write the converted model as a folder, for this program or another");
  add_model_flags(*command, flags->model);
  add_method_flags(*command, flags->method);
  add_calibration_flags(*command, flags->calibration);
  add_export_flags(*command, flags->target);
  command->add_option("--out,--save-path", flags->out, "Folder to make; must not exist, or be empty")->required();
  add_examples(*command,
               "  mlaforge convert --model model.gguf --method transmla --freqfold 4 --kv-lora-rank 256 \\\n"
               "      --cal-dataset debian-faq --cal-nsamples 32 --out converted\n"
               "  mlaforge convert --model model.gguf --method transmla --freqfold 4 --kv-lora-rank 255 --cal-dataset debian-faq \\\n"
               "      --for transformers --out for-transformers\n"
               "  mlaforge convert --model model.gguf --method transmla --freqfold auto --cache-values 192 --cal-dataset rows.jsonl --cal-field text \\\n"
               "      --out converted\n"
               "  mlaforge convert --model model.gguf --method mha2mla --rope-dim 32 --cal-dataset debian-faq --save-qk-norms ranks.json --out partial\n"
               "  mlaforge convert --model model.gguf --method mha2mla --rope-selection high --rope-dim 32 --svd none --out partial\n"
               "  mlaforge eval --model converted --reference model.gguf --corpus debian-policy --window 512\n");
  command->callback([flags] { convert_model(*flags); });
}

}  // namespace mla
