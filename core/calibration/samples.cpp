#include "core/calibration/samples.h"

#include <ATen/CPUGeneratorImpl.h>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/sha256.h"

namespace mla {
namespace {

// Rows as the datasets library gives a text file: lines with their newline, blank ones left out.
std::vector<std::string> rows_of(const std::string& text) {
  std::vector<std::string> rows;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t newline = text.find('\n', begin), end = newline == std::string::npos ? text.size() : newline + 1;
    std::string row = text.substr(begin, end - begin);
    if (row.find_first_not_of(" \t\r\n") != std::string::npos) rows.push_back(std::move(row));
    begin = end;
  }
  return rows;
}

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
  std::vector<std::string> rows = rows_of(content);
  const auto wanted = static_cast<std::size_t>(options.samples), length = static_cast<std::size_t>(options.max_seqlen);
  at::Generator generator = at::detail::createCPUGenerator(options.seed);
  std::vector<std::string> texts;
  while (texts.size() < wanted && !rows.empty()) {
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
    texts.push_back(tokenizer.decode(tokens, false));
  }
  if (texts.size() < wanted)
    fail<ConfigError>("calibration", "wanted ", wanted, " samples of ", length, " tokens from ", text.string(), ", got ", texts.size(),
                      "; use a longer text, or a smaller --cal-nsamples or --cal-max-seqlen");

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
  samples.source_sha256 = sha256_hex(content);
  samples.key = key_of(samples.batches);
  return samples;
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
