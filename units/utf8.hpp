// What of a text is well-formed UTF-8.
#pragma once

#include <cstddef>
#include <string_view>

namespace meshsim {

// The length in bytes of the UTF-8 sequence that starts at text[at], at < text.size(); 0 if there
// is none: a stray or missing continuation byte, an overlong form, a surrogate, or beyond U+10FFFF.
std::size_t utf8_length(std::string_view text, std::size_t at);

}  // namespace meshsim
