#include <cstdio>
#include <iostream>

#include "core/base/error.h"
#include "eval/cached_model.h"
#include "experiments/cache_options.h"
#include "experiments/commands.h"
#include "experiments/data_root.h"
#include "experiments/decode_flag.h"
#include "experiments/model_record.h"
#include "experiments/outcome.h"
#include "experiments/pipeline.h"
#include "experiments/processes.h"
#include "experiments/recording.h"
#include "experiments/run_tasks.h"
#include "experiments/task_evaluation.h"
#include "results/kld_block.h"

namespace mla {
namespace {

struct EvalFlags {
  ModelFlags model;
  CorpusFlags corpus;
  TaskFlags tasks;
  CacheFlags cache;
  ProcessFlags processes;
  std::string reference, store = "runs.db", format = "text";
  bool kld = false;
};

RunRecord make_record(const EvalFlags& flags, const LoadedModel& model, const Windows& windows) {
  RunRecord record = model_record(model, flags.corpus.limit, !flags.reference.empty());
  record.corpus = windows.corpus;
  record.protocol = windows.protocol;
  record.inputs.push_back({"corpus", flags.corpus.corpus, windows.sha256});
  record.stage_versions = {{"score", 1}};
  record.ad_hoc_limit = flags.corpus.limit > 0;
  return record;
}

std::optional<LoadedModel> load_reference(const EvalFlags& flags, const LoadedModel& model) {
  if (flags.reference.empty()) return std::nullopt;
  ModelFlags wanted = flags.model;
  wanted.model = flags.reference;
  LoadedModel reference = load_model(wanted);
  if (reference.tokenizer->sha256() != model.tokenizer->sha256())
    fail<ConfigError>("eval", "wanted --reference with the tokenizer of --model, got another; divergence is over one vocabulary");
  return reference;
}

void print_text(int64_t run_id, const RunRecord& record, const std::vector<StageScore>& scores, bool kld) {
  std::cout << record.config.at("label").get<std::string>() << " of " << record.model << " on " << record.corpus << ", " << record.protocol
            << ", " << record.dtype << ", run " << run_id << '\n';
  const StageScore& last = scores.back();
  if (kld) std::cout << '\n' << write_kld_block(to_metrics(scores, record.protocol), last.stage) << '\n' << std::flush;
  if (last.divergence)
    std::printf("KL to the reference: %.5f +/- %.5f nats, same top %.2f %%, ratio %.4f +/- %.4f\n", last.divergence->mean,
                last.divergence->std_error, 100 * last.divergence->same_top, last.divergence->ppl_ratio, last.divergence->ppl_ratio_std_error);
  std::printf("Final estimate: PPL = %.4f +/- %.5f\n", last.perplexity, last.std_error);
}

void evaluate_tasks(EvalFlags flags) {
  if (!flags.corpus.corpus.empty()) fail<UsageError>("eval", "wanted either --corpus or --tasks, got both");
  const std::unique_ptr<ProcessGroup> processes = join_processes(flags.processes);
  const bool first = processes == nullptr || processes->first();
  flags.tasks.division = processes.get();
  flags.tasks.limit = flags.corpus.limit;
  flags.tasks.answer_kld = flags.kld;
  flags.tasks.cache = cache_format(flags.cache, parse_dtype(flags.model.dtype));
  const std::vector<TaskSpec> specs = find_tasks(flags.tasks, flags.model.data_root);
  if (first) require_writable_store(flags.store);
  choose_chat(flags.tasks, find_model(flags.model.model));
  const LoadedModel model = load_model(flags.model);
  const std::optional<LoadedModel> reference = load_reference(flags, model);
  DecoderModel judged(model.decoder);
  std::optional<DecoderModel> original;
  std::vector<StageModel> stages;
  if (reference) stages.push_back({"original", &original.emplace(reference->decoder)});
  stages.push_back({is_converted(model) || reference ? "mla" : "original", &judged});

  std::optional<Store> store;
  if (first) store.emplace(Store::open(flags.store));
  Json all = Json::array();
  for (const TaskSpec& spec : specs) {
    const int64_t max_position = model.decoder.config.max_position;
    const LoadedTask task = load_task(spec, flags.tasks, flags.model.data_root, *model.tokenizer, max_position);
    if (!first) {
      help_task(task, flags.tasks, stages, *model.tokenizer, max_position);
      continue;
    }
    RunRecord record = model_record(model, flags.corpus.limit, !flags.reference.empty());
    if (reference) record.inputs.push_back({"reference", flags.reference, model_inputs(*reference)[0].sha256});
    record = task_record(task, flags.tasks, max_position, std::move(record));
    const TaskOutcome outcome = run_task(task, flags.tasks, stages, *model.tokenizer, max_position, std::move(record), *store);
    if (flags.format == "json") all.push_back(task_json(outcome));
    else print_task(outcome, flags.kld);
  }
  if (processes) processes->finish();
  if (first && flags.format == "json") std::cout << all.dump(2) << '\n';
}

void evaluate(const EvalFlags& flags) {
  if (flags.kld && flags.reference.empty()) fail<UsageError>("eval", "wanted --reference MODEL with --kld: a divergence is to something, got none");
  if (!flags.tasks.tasks.empty()) return evaluate_tasks(flags);
  refuse_engine(flags.tasks.decode, "eval");
  if (!flags.tasks.chat_template.empty()) fail<UsageError>("eval", "wanted --tasks beside --template: a text is no conversation, got --corpus");
  if (flags.corpus.corpus.empty()) fail<UsageError>("eval", "wanted a text (--corpus) or tasks (--tasks), got neither");
  const CacheFormat cache = cache_format(flags.cache, parse_dtype(flags.model.dtype));
  const std::unique_ptr<ProcessGroup> processes = join_processes(flags.processes);
  const bool first = processes == nullptr || processes->first();
  if (processes && !cache.own()) fail<UsageError>("eval", "wanted one process beside --kv-cache with a text, got several");
  find_text(flags.corpus.corpus, TextRole::corpus, flags.model.data_root);
  if (first) require_writable_store(flags.store);
  const LoadedModel model = load_model(flags.model);
  const std::optional<LoadedModel> reference = load_reference(flags, model);
  std::vector<std::string> warnings;
  const Windows windows = corpus_windows(flags.corpus, flags.model.data_root, *model.tokenizer, warnings);
  RunRecord record = make_record(flags, model, windows);
  record.warnings = warnings;
  if (!cache.own()) {
    record.protocol += "/kv-" + cache_format_name(cache);
    record.config["kv_cache"] = cache_format_json(cache);
  }
  if (reference) record.inputs.push_back({"reference", flags.reference, model_inputs(*reference)[0].sha256});

  std::vector<StageScore> scores;
  const auto measure = [&](RunRecord& running, SampleSink* sink) {
    std::vector<std::unique_ptr<LanguageModel>> models;
    std::optional<StoredHidden> stored;
    std::vector<StageModel> stages;
    const auto add_stage = [&](const char* name, const Decoder& decoder) {
      if (cache.own()) models.push_back(std::make_unique<DecoderModel>(decoder));
      else models.push_back(std::make_unique<CachedModel>(decoder, cache));
      stages.push_back({name, models.back().get()});
    };
    if (reference) add_stage("original", reference->decoder);
    if (reference && cache.own()) stages.back().model = &stored.emplace(*models.back(), model_key_of(*reference), flags.corpus.hidden);
    add_stage(is_converted(model) || reference ? "mla" : "original", model.decoder);
    std::vector<StageScore> measured = score_windows(stages, windows, {.sink = sink, .division = processes.get()});
    if (stored) report_stored_hidden(*stored, flags.corpus.hidden);
    for (std::size_t s = 0; s < measured.size(); ++s)
      if (const auto* cached = dynamic_cast<const CachedModel*>(stages[s].model)) measured[s].cache_bytes_per_token = cached->cache_bytes_per_token();
    for (const StageScore& stage : measured) add_stage_time(running.times, {"score_" + stage.stage, stage.seconds, stage.cpu_seconds});
    check_sanity(running, measured, model.decoder.config.vocab_size);
    return measured;
  };
  if (!first) {
    measure(record, nullptr);
    return processes->finish();
  }
  Store store = Store::open(flags.store);
  const int64_t run_id = record_run(store, record, [&](RunRecord& running, SampleSink& sink) { return measure(running, &sink); }, scores);
  if (processes) processes->finish();
  if (flags.format == "json") std::cout << outcome_json(run_id, record, to_metrics(scores, record.protocol)).dump(2) << '\n';
  else print_text(run_id, record, scores, flags.kld);
}

}  // namespace

void add_eval_command(CLI::App& app) {
  auto flags = std::make_shared<EvalFlags>();
  CLI::App* command = app.add_subcommand("eval", "Score a model, original or converted, on a text or on tasks");
  add_model_flags(*command, flags->model);
  add_corpus_flags(*command, flags->corpus, false);
  add_task_flags(*command, flags->tasks);
  add_cache_flags(*command, flags->cache);
  add_process_flags(*command, flags->processes);
  command->add_option("--reference", flags->reference, "Original model: adds KL divergence, same-top share and perplexity ratio to it");
  command->add_flag("--kld", flags->kld, "Print llama-perplexity's whole block of divergence statistics; with --tasks over the right answers' tokens");
  command->add_option("--store", flags->store, "Run database, made when it is not there [runs.db]");
  add_format_flag(*command, flags->format, {"text", "json"});
  add_examples(*command,
               "  mlaforge eval --model model.gguf --corpus debian-policy --window 512 --max-windows 16\n"
               "  mlaforge eval --model converted --reference model.gguf --corpus text.txt --window 512 --format json\n"
               "  mlaforge eval --model converted --reference model.gguf --corpus debian-policy --protocol llama.cpp --window 512 --kld\n"
               "  mlaforge eval --model converted --reference model.gguf --tasks arc_easy,piqa --kld --data-root data\n"
               "  mlaforge eval --model model.gguf --tasks longbench/multi_news --apply-chat-template --max-length 3500\n"
               "  mlaforge eval --model converted --tasks longbench/multi_news --kv-cache int4 --kv-backend hqq --kv-residual-rule transformers\n"
               "  mlaforge eval --model model.gguf --corpus text.txt --window 512 --max-windows 4 --kv-cache int2 --kv-group-size 32\n"
               "  torchrun --no-python --nproc-per-node 2 mlaforge eval --model model.gguf --tasks arc_easy --threads 8\n"
               "  srun -n 8 --cpus-per-task 8 mlaforge eval --model model.gguf --corpus debian-policy --threads 8\n");
  command->callback([flags] { evaluate(*flags); });
}

}  // namespace mla
