#pragma once
#include <filesystem>
#include <string>

namespace mla {

bool has_gnuplot();  // somewhere in PATH

// Runs a script in its own folder. Throws ResourceError with gnuplot's last words when it is absent or fails.
void run_gnuplot(const std::filesystem::path& script);

// 'text' as gnuplot reads it: single quotes substitute nothing, so a name from a database stays a name.
std::string gnuplot_quoted(const std::string& text);

}  // namespace mla
