// `sweep --launcher slurm`: what is left of a plan becomes a job array.
#pragma once
#include "experiments/sweep_plan.h"

namespace mla {

// Brings in what earlier arrays of this sweep measured, writes an array of the configurations that are then neither done nor failed
// (failed ones too with --retry-failed), and submits it unless --no-submit. Throws UsageError without --threads (a node's cores are not
// this machine's, and threads are part of a run's identity), ConfigError while an earlier array is still in the queue, ResourceError.
void sweep_on_slurm(const SweepFlagSet& flags, const SweepPlan& plan);

}  // namespace mla
