// Plans that MaxText refuses although every key by itself is fine (August 2026), each under an id.
//
// Some can be lifted for a what-if (`--allow ID`): the plan is then hypothetical, and the report
// says what was assumed.
#pragma once

#include <string>
#include <vector>

namespace meshsim {

struct Plan;

std::vector<std::string> refusal_ids();
std::vector<std::string> liftable_refusals();  // those of them that --allow takes

// Throws Error(invalid_input) with every refusal that `plan` meets and its user did not lift; adds
// the lifted ones to plan.lifted, and to plan.assumptions what they assume.
void refuse_what_maxtext_refuses(Plan& plan);

}  // namespace meshsim
