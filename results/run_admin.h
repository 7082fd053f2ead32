// What is done to whole runs: tags, merging two stores, throwing away what nothing needs.
#pragma once
#include <string>
#include <vector>

#include "results/store.h"

namespace mla {

// A name of 1 to 200 characters on a run; a second time changes nothing. Throws ConfigError where there is no such run or name.
void tag_run(Store& store, int64_t id, const std::string& name);
bool untag_run(Store& store, int64_t id, const std::string& name);  // false where it had no such tag

struct MergeReport {
  int64_t added = 0, known = 0, unfinished = 0, jobs = 0;
};
// Copies the finished runs of `from` whose identity has no finished run in `into`, with all their rows, and the done and
// failed jobs of sweeps. In one transaction; doing it again changes nothing. Ids are new; attempts count on. `from` may be of an older schema.
MergeReport merge_runs(Store& into, const Store& from);

struct GcReport {
  int64_t unfinished = 0, superseded = 0, jobs = 0;
};
// Removes failed and interrupted runs that a finished one of the same identity replaces (all of them with `all_unfinished`), finished ones
// that a later one replaces with `superseded`, and jobs that no sweep names; then gives the space back to the file system.
GcReport collect_garbage(Store& store, bool all_unfinished, bool superseded);

}  // namespace mla
