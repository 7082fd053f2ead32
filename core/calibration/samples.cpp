#include "core/calibration/samples.h"

#include <ATen/CPUGeneratorImpl.h>

#include <limits>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/sha256.h"

namespace mla {
namespace {

// One padded batch; 0 pads, the mask says where.
CalibrationBatch make_batch(const std::vector<std::vector<int64_t>>& rows) {
  std::size_t longest = 0;
  for (const auto& row : rows) longest = std::max(longest, row.size());
  CalibrationBatch batch{at::zeros({static_cast<int64_t>(rows.size()), static_cast<int64_t>(longest)}, at::kLong),
                         at::zeros({static_cast<int64_t>(rows.size()), static_cast<int64_t>(longest)}, at::kBool)};
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto size = static_cast<int64_t>(rows[i].size());
    batch.ids[static_cast<int64_t>(i)].narrow(0, 0, size).copy_(at::tensor(rows[i], at::kLong));
    batch.mask[static_cast<int64_t>(i)].narrow(0, 0, size).fill_(true);
  }
  return batch;
}

std::string key_of(const std::vector<CalibrationBatch>& batches) {
  std::string all;
  for (const CalibrationBatch& batch : batches) {
    const at::Tensor ids = batch.ids.masked_fill(batch.mask.logical_not(), -1).contiguous();
    all += std::to_string(ids.size(0)) + 'x' + std::to_string(ids.size(1)) + ':';
    all.append(static_cast<const char*>(ids.const_data_ptr()), ids.nbytes());
  }
  return sha256_hex(all);
}

std::vector<int64_t> wide(const std::vector<int32_t>& ids, std::size_t limit) {
  return {ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(std::min(ids.size(), limit))};
}

}  // namespace

int64_t CalibrationSamples::tokens() const {
  int64_t count = 0;
  for (const CalibrationBatch& batch : batches) count += batch.mask.sum().item<int64_t>();
  return count;
}

CalibrationSamples sample_text(const std::filesystem::path& text, const Tokenizer& tokenizer, const SampleOptions& options) {
  const std::string content = read_text_file(text);
  std::vector<std::string> rows = text_rows(text, content, options.rows);
  const auto wanted = static_cast<std::size_t>(options.samples), length = static_cast<std::size_t>(options.max_seqlen);
  const std::size_t all = wanted + static_cast<std::size_t>(options.held_out);
  at::Generator generator = at::detail::createCPUGenerator(options.seed);
  std::vector<std::string> texts;
  std::vector<at::Tensor> held_out;
  while (texts.size() + held_out.size() < all && !rows.empty()) {
    const int64_t start = at::randint(0, static_cast<int64_t>(rows.size()), {1}, generator).item<int64_t>();
    auto used = static_cast<std::size_t>(start);
    std::vector<int32_t> tokens;
    while (tokens.size() < length && used < rows.size()) {
      const std::vector<int32_t> more = tokenizer.encode(tokens.empty() ? rows[used] : "\n\n" + rows[used]);
      tokens.insert(tokens.end(), more.begin(), more.end());
      ++used;
    }
    rows.erase(rows.begin() + start, rows.begin() + static_cast<std::ptrdiff_t>(used));
    if (tokens.size() < length) continue;
    tokens.resize(length);
    if (texts.size() < wanted) texts.push_back(tokenizer.decode(tokens, false));
    else held_out.push_back(at::tensor(wide(tokens, length), at::kLong));
  }
  if (texts.size() + held_out.size() < all)
    fail<ConfigError>("calibration", "wanted ", wanted, " samples of ", length, " tokens", options.held_out > 0 ? " and " + std::to_string(options.held_out) + " held out" : "",
                      " from ", text.string(), ", got ", texts.size() + held_out.size(), "; use a longer text, or a smaller --cal-nsamples or --cal-max-seqlen");

  // The loader's own draws: a permutation of the samples, then for its one epoch a base seed and the order.
  generator = at::detail::createCPUGenerator(options.seed);
  const auto count = static_cast<int64_t>(texts.size());
  const at::Tensor chosen = at::randperm(count, generator, at::TensorOptions(at::kLong));
  at::empty({}, at::kLong).random_(generator);
  const at::Tensor order = chosen.index_select(0, at::randperm(count, generator, at::TensorOptions(at::kLong)));

  CalibrationSamples samples;
  for (int64_t first = 0; first < count; first += options.batch_size) {
    std::vector<std::vector<int64_t>> batch;
    for (int64_t i = first; i < std::min(first + options.batch_size, count); ++i)
      batch.push_back(wide(tokenizer.encode(texts[static_cast<std::size_t>(order[i].item<int64_t>())]), length));
    samples.batches.push_back(make_batch(batch));
  }
  if (!held_out.empty()) samples.held_out = at::stack(held_out);
  samples.source_sha256 = sha256_hex(content);
  samples.key = key_of(samples.batches);
  return samples;
}

CalibrationSamples hold_out_last_quarter(const CalibrationSamples& all) {
  const std::size_t count = all.batches.size(), held = std::max<std::size_t>(1, count / 4);
  if (count < 2) fail<ConfigError>("calibration", "wanted at least 2 batches to hold one out for the search, got ", count, "; give the option as a number");
  CalibrationSamples rest = all;
  rest.batches.resize(count - held);
  rest.key = key_of(rest.batches);
  int64_t shortest = std::numeric_limits<int64_t>::max();
  for (std::size_t i = count - held; i < count; ++i) shortest = std::min(shortest, all.batches[i].mask.sum(1).min().item<int64_t>());
  if (shortest < 2) fail<ConfigError>("calibration", "wanted held-out samples of at least 2 tokens, got ", shortest);
  std::vector<at::Tensor> windows;  // padding stands behind the tokens
  for (std::size_t i = count - held; i < count; ++i) windows.push_back(all.batches[i].ids.narrow(1, 0, shortest));
  rest.held_out = at::cat(windows);
  return rest;
}

CalibrationSamples samples_from_ids(const std::filesystem::path& path, int64_t vocab_size) {
  const Json json = read_json_file(path);
  const auto bad = [&](const std::string& what) { fail<CheckpointError>("calibration", path.string(), ": ", what); };
  if (!json.is_object() || !json.contains("batches") || !json["batches"].is_array() || json["batches"].empty())
    bad("wanted an object with a list \"batches\" of {\"input_ids\": [[...]]}");
  CalibrationSamples samples;
  for (const Json& entry : json["batches"]) {
    if (!entry.is_object() || !entry.contains("input_ids") || !entry["input_ids"].is_array() || entry["input_ids"].empty())
      bad("wanted input_ids, a list of lists, in each batch");
    std::vector<std::vector<int64_t>> rows;
    for (std::size_t r = 0; r < entry["input_ids"].size(); ++r) {
      const Json& row = entry["input_ids"][r];
      const Json mask = entry.contains("attention_mask") && entry["attention_mask"].size() > r ? entry["attention_mask"][r] : Json();
      if (!row.is_array() || row.empty()) bad("wanted each sample to be a list of token ids");
      std::vector<int64_t> ids;
      for (std::size_t i = 0; i < row.size(); ++i) {
        if (!row[i].is_number_unsigned() || row[i].get<uint64_t>() >= static_cast<uint64_t>(vocab_size))
          bad("wanted token ids in [0, " + std::to_string(vocab_size) + "), got " + row[i].dump());
        if (mask.is_array() && mask.size() > i && mask[i] == 0) break;
        ids.push_back(row[i].get<int64_t>());
      }
      if (ids.empty()) bad("a sample is masked out whole");
      rows.push_back(std::move(ids));
    }
    samples.batches.push_back(make_batch(rows));
  }
  samples.source_sha256 = sha256_of_file(path);
  samples.key = key_of(samples.batches);
  return samples;
}

}  // namespace mla
