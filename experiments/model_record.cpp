#include "experiments/model_record.h"
#include "experiments/program.h"

#include <cmath>

namespace mla {

bool is_converted(const LoadedModel& model) { return model.decoder.config.mla.has_value(); }

RunRecord model_record(const LoadedModel& model, int64_t limit, bool has_reference) {
  RunRecord record = new_record(model, program_arguments());
  const std::string method = is_converted(model) ? model.conversion.value("method", "converted") : kOriginal;
  record.method = method;
  record.config.update({{"command", "eval"}, {"method", method}, {"label", is_converted(model) ? model.conversion.value("label", method) : method},
                        {"conversion", model.conversion}, {"limit", limit}, {"reference", has_reference}});
  if (is_converted(model)) record.model = model.conversion.value("source_model", record.model);
  record.kv_values = std::llround(model.decoder.cache_values_per_token_per_layer());
  record.kv_values_by_layer = model.decoder.cache_values_by_layer();
  if (!is_converted(model)) record.kv_values_original = record.kv_values;
  else if (model.conversion.contains("kv_values_original")) record.kv_values_original = model.conversion["kv_values_original"].get<int64_t>();
  return record;
}

}  // namespace mla
