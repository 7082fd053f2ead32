// What this machine has of what mlaforge can use, and whether a store is whole.
#pragma once
#include <string>
#include <vector>

namespace mla {

enum class Finding { ok, missing, warning, broken };
const char* name_of(Finding finding);

struct Check {
  std::string section;  // program, machine, tools, texts, tasks, cache, store
  std::string name;
  Finding finding = Finding::ok;
  std::string found;    // version, path, size, or what is wrong
  std::string needed;   // what it is for, or how to get it; empty where nothing is to be done
};

// A line of /proc/meminfo ("MemAvailable:") in MiB; 0 where there is none.
double memory_mib(const char* key);

// Looks at everything and changes nothing. `store`: a run database to check whole, which may be absent; `data_root`: --data-root.
std::vector<Check> examine(const std::string& store, const std::string& data_root);

}  // namespace mla
