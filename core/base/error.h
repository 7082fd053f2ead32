// The error types of the libraries. Libraries throw; only main catches and maps a type to an exit code.
#pragma once
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>

namespace mla {

struct Error : std::runtime_error { using std::runtime_error::runtime_error; };
struct UsageError : Error { using Error::Error; };       // the command line is wrong: exit code 2
struct ConfigError : Error { using Error::Error; };      // the user can fix it in JSON or on the command line: 2
struct CheckpointError : Error { using Error::Error; };  // a model, tokenizer or data file is wrong: 3
struct ShapeError : Error { using Error::Error; };       // our caller is wrong: 1
struct NumericalError : Error { using Error::Error; };   // a NaN or an infinity where a number was due: 1
struct StoreError : Error { using Error::Error; };       // the run database: 4
struct ResourceError : Error { using Error::Error; };    // out of memory, disk full, unwritable: 4
struct CudaError : Error { using Error::Error; };        // a CUDA call failed: 4
struct Interrupted : Error { using Error::Error; };      // Ctrl-C: 130

// Throws E with "[part] " and the texts joined.
template <class E, class... Parts>
[[noreturn]] void fail(std::string_view part, const Parts&... text) {
  std::ostringstream out;
  out << '[' << part << "] ";
  (out << ... << text);
  throw E(out.str());
}

}  // namespace mla
