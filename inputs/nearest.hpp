// "Did you mean": the names that are closest to one that is not known.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace meshsim {

// The up to `count` candidates with the smallest edit distance to `name` (insertions, deletions,
// substitutions and swaps of neighbours cost 1), nearest first, ties in the order given. Candidates
// that share less than half of their characters' length with it are left out.
std::vector<std::string> nearest(std::string_view name, std::span<const std::string> candidates,
                                 std::size_t count);

// "did you mean a, b or c?", or "" when nothing is near.
std::string did_you_mean(std::string_view name, std::span<const std::string> candidates,
                         std::size_t count = 3);

}  // namespace meshsim
