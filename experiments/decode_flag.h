// --decode, of every command that generates.
#pragma once
#include <CLI/CLI.hpp>
#include <string>

#include "core/engine/decode_path.h"

namespace mla {

// `more`: what else `auto` means to this command.
CLI::Option* add_decode_flag(CLI::App& command, std::string& decode, const std::string& more = "");

// Of a command that reads a text and generates nothing. Throws UsageError where the engine was asked for.
void refuse_engine(const std::string& decode, const char* command);

}  // namespace mla
