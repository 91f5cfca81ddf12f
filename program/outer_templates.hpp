// What stands before and after the decoder's layers, as templates of the same kind.
#pragma once

#include "program/layer_template.hpp"

namespace meshsim {

// Token ids to the first layer's input.
LayerTemplate embedding_template(const Plan& plan, const LocalBatch& batch);

// The last layer's output to the loss: merge of the streams, final norm, logits, cross-entropy.
// Vocabulary tiling runs it several times, for a share of the tokens each.
LayerTemplate head_template(const Plan& plan, const LocalBatch& batch);

}  // namespace meshsim
