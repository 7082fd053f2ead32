// A model written for a named program, and checked before it is called done. docs/export.md.
#pragma once
#include <CLI/CLI.hpp>
#include <optional>
#include <string>

#include "core/calibration/samples.h"
#include "core/checkpoint/directory_writer.h"
#include "core/model/layer_stream.h"
#include "experiments/session.h"

namespace mla {

struct ExportFlags {
  std::string target = "mlaforge";  // mlaforge, transformers, vllm, llama.cpp
  std::optional<bool> check;        // by default for models of at most kCheckedParameters
  std::size_t shard_bytes = kShardBytes;
};
void add_export_flags(CLI::App& command, ExportFlags& flags);

inline constexpr int64_t kCheckedParameters = 1'000'000'000;

struct ExportSource {
  const LoadedModel& files;      // where tokenizer, chat template and name are taken from
  LayerStream model;             // what is written
  Json record;                   // becomes mla_conversion.json, with target, loads_in and parity
  const CalibrationSamples& samples;  // what parity is measured on; where a target wants a latent norm, its weight too
  std::optional<std::filesystem::path> scratch = {};  // folder for what waits on disk where the model streams; else all is in memory
};

// Writes the folder `out`; llama.cpp's has model.gguf in it. Returns what was measured: {"target", "loads_in", "parity": null or
// {"tokens", "max_logit_difference", "kl_nats", "bound_nats"}, "approximation": null or {"kl_nats", ...}}. Throws ConfigError where the
// target cannot hold the model, NumericalError where what was written does not compute what it should: then no folder is left.
Json export_model(const ExportSource& source, const ExportFlags& flags, const std::string& out);

// Reads back the folder `written` that was made for `target` and holds its logits against those of `wanted` over `ids` [1,T]. Returns and
// throws as require_parity does, and as the target's reader.
Json check_written(const LayerStream& wanted, const std::string& target, const std::filesystem::path& written, const at::Tensor& ids);

// One or two lines that say what `exported` holds.
std::string describe_export(const Json& exported, const std::string& out);

// A few hundred tokens of prose and code of our own, for models that come without samples.
CalibrationSamples built_in_samples(const Tokenizer& tokenizer, int64_t max_position);

// The tokenizer's files of a model: a folder's own, byte for byte; of a GGUF file what transformers wants, made from it.
FolderFiles tokenizer_files(const std::filesystem::path& model, const Tokenizer& tokenizer);

}  // namespace mla
