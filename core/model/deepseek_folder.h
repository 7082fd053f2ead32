// Folders that transformers reads as DeepseekV3ForCausalLM, every layer dense: written, and read back to be checked.
#pragma once
#include "core/model/deepseek_form.h"
#include "core/model/model_folder.h"

namespace mla {

// config.json of a model in DeepSeek's form. `note` is what "mla_export" says of who may load it.
Json deepseek_config(const LayerStream& form, const std::string& note);

// Writes a model that to_deepseek_form made; rope rows interleaved (rope_interleave true), lm_head apart. Throws as DirectoryWriter does.
void save_deepseek(const LayerStream& form, const std::string& note, const FolderFiles& files, const Json& conversion, const std::filesystem::path& out,
                   const CheckWritten& check = {}, std::size_t shard_bytes = kShardBytes);

// Reads such a folder: dense DeepSeek-V3 layers alone. Nothing in it is trusted. Throws CheckpointError naming the field or tensor for
// what is missing, left over, of another shape, or would change the computation in a way that is not followed.
LayerStream open_deepseek(const std::filesystem::path& folder, at::Device device, at::ScalarType dtype);
Decoder load_deepseek(const std::filesystem::path& folder, at::Device device, at::ScalarType dtype);

}  // namespace mla
