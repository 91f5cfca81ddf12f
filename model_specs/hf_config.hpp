// Hugging Face config.json files as models.
#pragma once

#include <string>

#include "inputs/source.hpp"
#include "model_specs/model_spec.hpp"

namespace meshsim {

// Reads a config.json of model_type deepseek_v4, deepseek_v3, mixtral, llama, qwen3_moe or gpt_oss
// and says the same in MaxText's keys. Keys that have no part in shapes or FLOPs are passed over.
// Multi-token prediction blocks (num_nextn_predict_layers) are left out, as MaxText leaves them out
// by default. Throws Error(invalid_input): another model_type, a missing or malformed key;
// Error(io).
ModelSource read_hf_config(const std::string& path);
ModelSource parse_hf_config(const Source& file);

}  // namespace meshsim
