#include <iostream>

#include "core/base/error.h"
#include "experiments/commands.h"
#include "experiments/data_root.h"
#include "experiments/model_export.h"
#include "experiments/run_options.h"

namespace mla {
namespace {

struct ExportModelFlags {
  ModelFlags model;
  ExportFlags target;
  std::string text, out;
  int64_t samples = 16;
};

CalibrationSamples samples_of(const ExportModelFlags& flags, const LoadedModel& model) {
  if (flags.text.empty()) return built_in_samples(*model.tokenizer, model.decoder.config.max_position);
  const Text text = find_text(flags.text, TextRole::calibration, flags.model.data_root);
  SampleOptions options;
  options.samples = flags.samples;
  options.rows.rule = text.rule;
  return sample_text(text.path, *model.tokenizer, options);
}

void export_converted(const ExportModelFlags& flags) {
  require_new_directory(flags.out);
  const LoadedModel model = load_model(flags.model);
  const CalibrationSamples samples = samples_of(flags, model);
  Json record = model.conversion.is_null() ? Json::object() : model.conversion;
  record.erase("sha256");
  const Json exported = export_model({model, model.decoder, record, samples}, flags.target, flags.out);
  std::cout << describe_export(exported, flags.out);
}

}  // namespace

void add_export_model_command(CLI::App& app) {
  auto flags = std::make_shared<ExportModelFlags>();
  CLI::App* command = app.add_subcommand("export-model", "Write a converted folder again, for another program to load");
  add_model_flags(*command, flags->model);
  add_export_flags(*command, flags->target);
  command->add_option("--cal-dataset", flags->text, "Text that a latent norm is calibrated on and parity measured on: a file, or one of the named texts [a short one of our own]");
  command->add_option("--cal-nsamples", flags->samples, "Samples of 256 tokens of it [16]")->check(CLI::PositiveNumber);
  command->add_option("--out,--save-path", flags->out, "Folder to make; must not exist, or be empty")->required();
  add_examples(*command,
               "  mlaforge export-model --model converted --for transformers --out for-transformers\n"
               "  mlaforge export-model --model converted --for vllm --dtype bf16 --cal-dataset debian-faq --out for-vllm\n"
               "  mlaforge export-model --model converted --for llama.cpp --dtype fp16 --out for-llama.cpp   # for-llama.cpp/model.gguf\n");
  command->callback([flags] { export_converted(*flags); });
}

}  // namespace mla
