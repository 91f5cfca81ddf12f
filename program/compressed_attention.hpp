// DeepSeek-V4's attention: one latent key and value per token within a window, beside entries that
// pool `ratio` tokens each: of all earlier ones (HCA), or of those that an indexer chooses (CSA).
#pragma once

#include <string>

#include "program/layer_builder.hpp"

namespace meshsim {

// From the symbol `input` to `output`, both [T, emb_dim].
void build_compressed(LayerBuilder& build, const Attention& attention,
                      const CompressedAttention& form, Name input, Name output);

}  // namespace meshsim
