// The parts of a layer's tensor list; inventory.hpp puts them together.
#pragma once

#include <vector>

#include "model_specs/inventory.hpp"

namespace meshsim {

std::vector<Tensor> attention_tensors(const ModelSpec& spec, const Attention& attention);
std::vector<Tensor> mlp_tensors(const ModelSpec& spec, const Mlp& mlp);

// The scale (and, for LayerNorm, the bias) of a normalisation of `width` channels.
void append_norm(std::vector<Tensor>& tensors, const std::string& path, std::int64_t width,
                 bool layer_norm);

}  // namespace meshsim
