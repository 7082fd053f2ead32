#include "eval/task_runner.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "core/base/error.h"
#include "core/base/json.h"
#include "core/base/progress.h"
#include "core/base/sha256.h"
#include "eval/scorers/answers.h"
#include "eval/scorers/scorers.h"
#include "eval/truncate.h"

namespace mla {
namespace {

// The first of the largest values of f.
template <class F>
std::size_t best_of(std::size_t count, const F& f) {
  std::size_t best = 0;
  for (std::size_t i = 1; i < count; ++i)
    if (f(i) > f(best)) best = i;
  return best;
}

// Which choice each metric takes.
std::size_t choice_by(const std::string& metric, const ChoiceItem& item, const std::vector<ContinuationScore>& scores) {
  return best_of(scores.size(), [&](std::size_t i) {
    const double length = metric == "acc" ? 1 : static_cast<double>(metric == "acc_bytes" ? item.choice_bytes[i] : item.choice_chars[i]);
    return scores[i].log_likelihood / length;
  });
}

// What token_statistics() wants to know of the right answer's tokens, for task_metrics().
Json answer_tokens(const ContinuationScore& model, const ContinuationScore& reference) {
  Json tokens{{"nll", Json::array()}, {"reference_nll", Json::array()}, {"kld", Json::array()}, {"same_top", Json::array()}};
  for (std::size_t t = 0; t < model.each.size(); ++t) {
    tokens["nll"].push_back(model.each[t].nll);
    tokens["reference_nll"].push_back(reference.each[t].nll);
    tokens["kld"].push_back(model.each[t].kld);
    tokens["same_top"].push_back(model.each[t].same_top ? 1 : 0);
  }
  return tokens;
}

AnswerRow choice_row(const TaskSpec& spec, const std::string& stage, std::size_t index, const ChoiceItem& item, const std::vector<ContinuationScore>& scores,
                     const std::vector<ContinuationScore>* reference) {
  Json detail{{"ll", Json::array()}, {"greedy", Json::array()}};
  AnswerRow row{spec.name, stage, static_cast<int64_t>(index), item.id, sha256_hex(item_text(item)), "", std::to_string(item.gold), 0, 0, ""};
  for (const ContinuationScore& score : scores) {
    detail["ll"].push_back(score.log_likelihood);
    detail["greedy"].push_back(score.greedy);
    row.tokens += score.tokens;
  }
  for (std::size_t m = 0; m < spec.metrics.size(); ++m) {
    const std::size_t chosen = choice_by(spec.metrics[m], item, scores);
    const double right = static_cast<int64_t>(chosen) == item.gold ? 1 : 0;
    detail["metrics"][spec.metrics[m]] = right;
    if (m == 0) row.prediction = std::to_string(chosen), row.score = right;
  }
  if (const auto gold = static_cast<std::size_t>(item.gold); reference != nullptr) {
    detail["metrics"]["kld_gold"] = scores[gold].divergence;
    detail["answer"] = answer_tokens(scores[gold], (*reference)[gold]);
  }
  row.detail = detail.dump();
  return row;
}

std::set<int64_t> done_positions(const std::vector<AnswerRow>& have, const std::string& stage) {
  std::set<int64_t> done;
  for (const AnswerRow& row : have)
    if (row.stage == stage) done.insert(row.position);
  return done;
}

void answer_choices(const TaskInputs& in, const std::vector<StageModel>& stages, const TaskRunOptions& options, const std::vector<AnswerRow>& have, AnswerSink& sink) {
  const std::vector<ChoiceItem>& items = in.items.choices;
  std::size_t start = items.size();  // the first item that some stage has no answer to
  for (const StageModel& stage : stages) {
    const std::set<int64_t> done = done_positions(have, stage.stage);
    std::size_t first = 0;
    while (first < items.size() && done.count(static_cast<int64_t>(first)) > 0) ++first;
    start = std::min(start, first);
  }
  if (start == items.size()) return;
  std::vector<RequestItem> requests;
  for (const ChoiceItem& item : items) {
    requests.emplace_back();
    for (const auto& [context, continuation] : item.requests) requests.back().push_back(encode_request(in.tokenizer, context, continuation, !options.chat.empty()));
  }
  std::vector<LanguageModel*> models;
  for (const StageModel& stage : stages) models.push_back(stage.model);
  Progress progress(in.spec.name, "items", static_cast<int64_t>(items.size()));
  score_continuations(models, requests, {.max_length = options.max_length, .batch_items = options.batch, .start = start, .division = options.division},
                      [&](std::size_t first, const std::vector<ItemScores>& scores) {
                        std::vector<AnswerRow> rows;
                        for (std::size_t i = 0; i < scores.size(); ++i)
                          for (std::size_t s = 0; s < stages.size(); ++s)
                            rows.push_back(choice_row(in.spec, stages[s].stage, first + i, items[first + i], scores[i][s], s == 0 ? nullptr : &scores[i][0]));
                        sink.add(rows);
                        progress.advance(static_cast<int64_t>(first + scores.size()));
                      });
}

GenerationRequest generation_request(const TaskInputs& in, const GenerationItem& item, const TaskRunOptions& options) {
  const int64_t room = options.max_length - item.max_new_tokens;
  if (room < 1)
    fail<ConfigError>("task", "wanted --max-length above the ", item.max_new_tokens, " tokens that item ", item.id, " of ", in.spec.name, " may answer with, got ", options.max_length);
  const Tokenizer& tokenizer = in.tokenizer;
  const bool chat = !options.chat.empty() && item.chat, longbench = in.spec.kind == TaskKind::longbench;
  GenerationRequest request{{}, item.max_new_tokens, item.min_new_tokens, item.stop, chat ? chat_stop_ids(options.chat, tokenizer) : tokenizer.stop_ids()};
  if (item.min_new_tokens > 0) {  // samsum: stops are token ids there, and none comes before the first token
    for (const std::string& stop : item.stop) request.stop_ids.push_back(tokenizer.encode(stop).back());
    request.stop.clear();
  }
  const TruncateOptions cut{.max_length = longbench && options.truncate == "longbench" ? options.max_length : room, .bos = tokenizer.adds_bos()};
  if (longbench && options.truncate == "longbench") {
    const std::string text = truncate_longbench(tokenizer, item.prompt, cut);
    request.prompt = chat ? encode_chat(tokenizer, render_chat(options.chat, {{"user", text}}, tokenizer)) : tokenizer.encode(text, {.add_special = true});
  } else if (longbench) {
    request.prompt = truncate_tokens(tokenizer, item.prompt, cut);
  } else {  // lm-evaluation-harness cuts from the left
    request.prompt = chat ? encode_chat(tokenizer, item.prompt) : tokenizer.encode(item.prompt, {.add_special = true});
    if (static_cast<int64_t>(request.prompt.size()) > room) request.prompt.erase(request.prompt.begin(), request.prompt.end() - room);
  }
  if (request.prompt.empty()) request.prompt.push_back(tokenizer.bos_id() >= 0 ? tokenizer.bos_id() : tokenizer.eos_id());
  return request;
}

// The task's first answer behind the prompt, under the reference and the stage.
std::vector<ItemScores> score_answers(const TaskInputs& in, const std::vector<LanguageModel*>& models, const std::vector<GenerationRequest>& requests,
                                      const std::vector<Generated>& group, const TaskRunOptions& options) {
  std::vector<RequestItem> items;
  for (const Generated& one : group) {
    const std::string& answer = in.items.generations[one.request].answers.front();
    const std::vector<int32_t> ids = in.tokenizer.encode(answer.empty() || answer.front() == ' ' || !options.chat.empty() ? answer : ' ' + answer);
    items.push_back({{requests[one.request].prompt, ids.empty() ? std::vector<int32_t>{in.tokenizer.eos_id()} : ids}});
  }
  std::vector<ItemScores> all;
  score_continuations(models, items, {.max_length = options.max_length},
                      [&](std::size_t, const std::vector<ItemScores>& scores) { all.insert(all.end(), scores.begin(), scores.end()); });
  return all;
}

AnswerRow generation_row(const TaskInputs& in, const std::string& stage, const Generated& generated, const ItemScores* answer, ScoreContext& context) {
  const GenerationItem& item = in.items.generations[generated.request];
  AnswerRow row{in.spec.name, stage, static_cast<int64_t>(generated.request), item.id, sha256_hex(item.prompt), generated.text,
                item.answers.front(), 0, static_cast<int64_t>(generated.ids.size()), ""};
  const std::string_view judged = item.first_line ? first_line(generated.text) : std::string_view(generated.text);
  Json detail{{"length", item.length}, {"decode", generated.decode}};
  for (std::size_t m = 0; m < in.spec.scores.size(); ++m) {
    const double value = score(in.spec.scores[m].scorer, judged, {item.answers, item.all_classes}, context);
    detail["metrics"][in.spec.scores[m].metric] = value;
    if (m == 0) row.score = value;
  }
  if (answer != nullptr) {
    detail["metrics"]["kld_gold"] = (*answer)[1].front().divergence;
    detail["answer"] = answer_tokens((*answer)[1].front(), (*answer)[0].front());
  }
  if (generated.cache_tokens > 0) detail["metrics"][kCacheBytes] = static_cast<double>(generated.cache_bytes) / static_cast<double>(generated.cache_tokens);
  row.detail = detail.dump();
  return row;
}

void answer_generations(const TaskInputs& in, const std::vector<StageModel>& stages, const TaskRunOptions& options, const std::vector<AnswerRow>& have, AnswerSink& sink) {
  std::vector<GenerationRequest> requests;
  for (const GenerationItem& item : in.items.generations) requests.push_back(generation_request(in, item, options));
  ScoreContext context{options.jieba, options.rouge_compat, 0};
  for (const StageModel& stage : stages) {
    const std::set<int64_t> done = done_positions(have, stage.stage);
    BatchOptions batches;
    batches.cache = options.cache;
    batches.decode = options.decode;
    batches.division = options.division;
    if (options.batch > 0) batches.batch = options.batch;
    batches.done.resize(requests.size());
    for (const int64_t position : done)
      if (position < static_cast<int64_t>(requests.size())) batches.done[static_cast<std::size_t>(position)] = true;
    Progress progress(in.spec.name + " " + stage.stage, "items", static_cast<int64_t>(requests.size()));
    auto answered = static_cast<int64_t>(done.size());
    generate_batches(*stage.model, in.tokenizer, requests, batches, [&](const std::vector<Generated>& group) {
      std::vector<AnswerRow> rows;
      std::vector<ItemScores> answers;
      if (options.answer_kld && &stage != &stages.front()) answers = score_answers(in, {stages.front().model, stage.model}, requests, group, options);
      for (std::size_t i = 0; i < group.size(); ++i) rows.push_back(generation_row(in, stage.stage, group[i], answers.empty() ? nullptr : &answers[i], context));
      sink.add(rows);
      progress.advance(answered = std::min(answered + static_cast<int64_t>(group.size()), static_cast<int64_t>(requests.size())));
    });
  }
  if (context.rouge_cliffs > 0) warn(std::to_string(context.rouge_cliffs) + " pairs lie past the recursion limit at which the package rouge gives up");
}

}  // namespace

void answer_task(const TaskInputs& inputs, const std::vector<StageModel>& stages, const TaskRunOptions& options, const std::vector<AnswerRow>& have, AnswerSink& sink) {
  const bool choices = inputs.spec.kind == TaskKind::multiple_choice || inputs.spec.kind == TaskKind::partial_choice;
  choices ? answer_choices(inputs, stages, options, have, sink) : answer_generations(inputs, stages, options, have, sink);
}

void wrap_items(const TaskSpec& spec, const std::string& chat, const Tokenizer& tokenizer, TaskItems& items) {
  const auto wrapped = [&](const std::string& system, const std::string& text) {
    std::vector<ChatMessage> messages;
    if (!system.empty()) messages.push_back({"system", system});
    messages.push_back({"user", text});
    return render_chat(chat, messages, tokenizer);
  };
  for (ChoiceItem& item : items.choices)
    for (auto& [context, continuation] : item.requests) context = wrapped(item.system, context);
  if (spec.kind == TaskKind::longbench) return;
  for (GenerationItem& item : items.generations) item.prompt = wrapped(item.system, item.prompt);
}

TokenRequest encode_request(const Tokenizer& tokenizer, std::string context, std::string continuation, bool chat) {
  const std::size_t end = context.find_last_not_of(" \t\n\r\f\v") + 1;  // npos + 1 = 0: nothing but blanks
  continuation = context.substr(end) + continuation;
  context.resize(end);
  TokenRequest request;
  if (context.empty()) {
    const int32_t prefix = tokenizer.bos_id() >= 0 ? tokenizer.bos_id() : tokenizer.eos_id();
    if (prefix < 0) fail<ConfigError>("task", "wanted a context, or a tokenizer with BOS or EOS, got an empty context and neither");
    return {{prefix}, tokenizer.encode(continuation)};
  }
  const auto encode = [&](const std::string& text) { return chat ? encode_chat(tokenizer, text) : tokenizer.encode(text, {.add_special = true}); };
  request.context = encode(context);
  const std::vector<int32_t> whole = encode(context + continuation);
  request.continuation.assign(whole.begin() + static_cast<std::ptrdiff_t>(std::min(request.context.size(), whole.size())), whole.end());
  return request;
}

}  // namespace mla
