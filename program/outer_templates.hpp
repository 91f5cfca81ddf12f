// What stands before and after the decoder's layers, as templates of the same kind.
#pragma once

#include "program/layer_template.hpp"

namespace meshsim {

// Token ids to the first layer's input.
LayerTemplate embedding_template(const Plan& plan, const LocalBatch& batch);

// The last layer's output to the loss: merge of the streams, final norm, logits, cross-entropy.
// `rows` tokens at a time: vocabulary tiling runs it several times.
LayerTemplate head_template(const Plan& plan, const LocalBatch& batch);

}  // namespace meshsim
