#include "experiments/recording.h"

#include <ATen/DeviceAccelerator.h>

#include "core/base/error.h"
#include "core/base/process.h"
#include "core/base/progress.h"

namespace mla {
namespace {

// Of ATen's allocator, in MiB as peak_rss_mb(); 0 without a card.
double peak_device_mb(const RunRecord& record) {
  if (record.device == "cpu") return 0;
  const auto stats = at::accelerator::getDeviceStats(at::accelerator::getDeviceIndex());
  return static_cast<double>(stats.allocated_bytes[static_cast<std::size_t>(c10::CachingAllocator::StatType::AGGREGATE)].peak) / 1048576.0;
}

}  // namespace

void record_metrics(Store& store, int64_t id, RunRecord& record, const std::function<std::vector<Metric>()>& measure) {
  try {
    const std::vector<Metric> metrics = measure();
    record.finished_at = utc_now();
    record.peak_rss_mb = peak_rss_mb();
    record.peak_device_mb = peak_device_mb(record);
    record.status = RunStatus::done;
    store.finish_run(id, record, metrics);
  } catch (const Interrupted&) {
    store.interrupt_run(id);
    throw;
  } catch (const std::exception& error) {
    store.fail_run(id, error.what());
    throw;
  }
}

int64_t record_run(Store& store, RunRecord& record,
                   const std::function<std::vector<StageScore>(RunRecord&, SampleSink&)>& measure,
                   std::vector<StageScore>& scores) {
  const int64_t id = store.begin_run(record);
  record_metrics(store, id, record, [&] {
    scores = measure(record, *store.sink(id));
    return to_metrics(scores, record.protocol);
  });
  return id;
}

void check_sanity(RunRecord& record, const std::vector<StageScore>& scores, int64_t vocab_size) {
  for (const StageScore& score : scores) {
    if (score.perplexity <= static_cast<double>(vocab_size)) continue;
    if (score.stage == "original")
      fail<NumericalError>("perplexity", "wanted the original model below its vocabulary's size ", vocab_size, ", got ", score.perplexity,
                           "; is this text in a language it knows, and the file whole?");
    record.warnings.push_back(score.stage + " perplexity is above the vocabulary's size: worse than guessing");
  }
  if (record.kv_values && record.kv_values_original && *record.kv_values > *record.kv_values_original)
    record.warnings.push_back("the converted cache is larger than the original's");
  for (const std::string& warning : record.warnings) warn(warning);
}

}  // namespace mla
