// What of a run's row does not depend on what is measured.
#pragma once
#include "experiments/session.h"

namespace mla {

inline constexpr const char* kOriginal = "original";  // the method of a row that is no conversion's

bool is_converted(const LoadedModel& model);

// Of a model as it stands. The row of a converted folder names its method as the folder does; an original model has the method "original".
// `limit`: --limit; `has_reference`: --reference was given.
RunRecord model_record(const LoadedModel& model, int64_t limit, bool has_reference);

}  // namespace mla
