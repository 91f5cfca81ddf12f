// Files that are data rather than settings: traces, texts, vectors.
#pragma once

#include "inputs/source.hpp"

namespace meshsim {

inline constexpr std::size_t max_data_bytes = std::size_t{1} << 30;

// As read_source, for up to max_data_bytes.
Source read_data(const std::string& path);

}  // namespace meshsim
