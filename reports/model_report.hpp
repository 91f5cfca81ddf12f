// A model as JSON and as a table: parameters, tensors, FLOPs per token.
#pragma once

#include <string>

#include "plans/plan.hpp"
#include "reports/document.hpp"

namespace meshsim {

// Schema https://meshsim.dev/schema/model/1. FLOPs are of the mathematics at the request's
// max_target_length: per token, averaged over the sequence.
Json model_json(const ModelRequest& request);
std::string model_table(const ModelRequest& request);

}  // namespace meshsim
