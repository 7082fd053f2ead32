#include <cstdio>
#include <iostream>

#include "experiments/commands.h"
#include "experiments/outcome.h"
#include "experiments/pipeline.h"
#include "experiments/processes.h"
#include "experiments/recording.h"
#include "experiments/run_tasks.h"
#include "results/kld_block.h"

namespace mla {
namespace {

struct RunFlags {
  RunRequest request;
  std::string format = "text";
  bool kld = false;
};

std::string line_of(const StageScore& score) {
  char text[256];
  const std::string title = score.stage == "mla" ? "MLA" : score.stage == "partial_rope" ? "partial RoPE" : score.stage;
  std::snprintf(text, sizeof text, "%-13s PPL = %.4f +/- %.4f", title.c_str(), score.perplexity, score.std_error);
  std::string line = text;
  if (score.divergence) {
    const auto& d = *score.divergence;
    std::snprintf(text, sizeof text, "   KL = %.5f +/- %.5f nats   same top %.2f %%   ratio %.4f +/- %.4f", d.mean, d.std_error,
                  100 * d.same_top, d.ppl_ratio, d.ppl_ratio_std_error);
    line += text;
  }
  return line;
}

void print_text(const RunOutcome& outcome, bool kld) {
  const RunRecord& record = outcome.record;
  std::cout << record.config.at("label").get<std::string>() << " on " << record.model << ", " << record.corpus << ", "
            << record.protocol << ", " << record.dtype << '\n';
  for (const StageScore& score : outcome.scores) std::cout << line_of(score) << '\n';
  if (kld) std::cout << '\n' << write_kld_block(to_metrics(outcome.scores, record.protocol), "mla") << '\n';
  std::cout << "KV cache      " << *record.kv_values << " of " << *record.kv_values_original << " values per token and layer\n";
  double seconds = 0;
  for (const StageTime& time : record.times) seconds += time.seconds;
  std::printf("Run %lld: %.1f s, peak memory %.0f MB\n", static_cast<long long>(outcome.run_id), seconds, record.peak_rss_mb);
  const StageScore& last = outcome.scores.back();
  std::printf("Final estimate: PPL = %.4f +/- %.5f\n", last.perplexity, last.std_error);
}

void print_with_tasks(const RunFlags& flags, const RunOutcome& outcome) {
  if (flags.format != "json") {
    if (!outcome.scores.empty()) print_text(outcome, flags.kld);
    for (const TaskOutcome& task : outcome.tasks) print_task(task);
    return;
  }
  Json tasks = Json::array();
  for (const TaskOutcome& task : outcome.tasks) tasks.push_back(task_json(task));
  Json all = outcome.scores.empty() ? Json{{"run_id", outcome.run_id}} : outcome_json(outcome.run_id, outcome.record, to_metrics(outcome.scores, outcome.record.protocol));
  all["tasks"] = std::move(tasks);
  std::cout << all.dump(2) << '\n';
}

void run(const RunFlags& flags) {
  require_one_process("run");
  const RunOutcome outcome = run_pipeline(flags.request);
  if (!outcome.tasks.empty()) return print_with_tasks(flags, outcome);
  if (outcome.found_done) {
    const Json stored = stored_outcome(Store::open_read_only(flags.request.store), outcome.run_id);
    std::cout << (flags.format == "json" ? stored.dump(2) : "Run " + std::to_string(outcome.run_id) + " is in the store already: " +
                                                              stored.at("label").get<std::string>()) << '\n';
  } else if (flags.format == "json") {
    std::cout << outcome_json(outcome.run_id, outcome.record, to_metrics(outcome.scores, outcome.record.protocol)).dump(2) << '\n';
  } else {
    print_text(outcome, flags.kld);
  }
}

}  // namespace

void add_run_request_flags(CLI::App& command, RunRequest& request) {
  add_model_flags(command, request.model);
  add_method_flags(command, request.method);
  add_calibration_flags(command, request.calibration);
  add_corpus_flags(command, request.corpus, false);
  add_task_flags(command, request.tasks);
  add_cache_flags(command, request.cache);
}

void add_run_command(CLI::App& app) {
  auto flags = std::make_shared<RunFlags>();
  CLI::App* command = app.add_subcommand("run", "Calibrate, convert and score a model in one process, and store the result");
  add_run_request_flags(*command, flags->request);
  command->add_option("--store", flags->request.store, "Run database, made when it is not there [runs.db]");
  command->add_flag("--skip-done", flags->request.skip_done, "Do nothing when the store holds this very run");
  command->add_option("--out", flags->request.out, "Also write the converted model to this new folder, as `convert` does");
  command->add_flag("--kld", flags->kld, "Print llama-perplexity's whole block of divergence statistics (they are stored in any case)");
  add_format_flag(*command, flags->format, {"text", "json"});
  add_examples(*command,
               "  mlaforge run --model model.gguf --method transmla --freqfold 4 --kv-lora-rank 256 \\\n"
               "      --cal-dataset debian-faq --cal-nsamples 32 --corpus debian-policy --window 512 --max-windows 16\n"
               "  mlaforge run --model model.gguf --method transmla --freqfold 4 --kv-lora-rank 128 --balance-kv-ratio none \\\n"
               "      --calibration-ids ids.json --corpus wikitext2-tok --window 512 --format json\n"
               "  mlaforge run --model model.gguf --method transmla --freqfold auto --select-on test --cache-values 192 \\\n"
               "      --calibration-ids ids.json --corpus wikitext2-tok --window 512\n"
               "  mlaforge run --model model.gguf --method transmla --freqfold 4 --kv-lora-rank 128 --cal-dataset debian-faq --tasks arc_easy,piqa\n"
               "  mlaforge run --model model.gguf --method original --tasks arc_easy,piqa\n"
               "  mlaforge run --model model.gguf --method mha2mla --rope-dim 32 --qk-norms ranks.json --corpus text.txt\n"
               "  mlaforge run --model model.gguf --method mha2mla --rope-selection high --rope-dim 32 --svd none --corpus text.txt\n");
  command->callback([flags] { run(*flags); });
}

}  // namespace mla
