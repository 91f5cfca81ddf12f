// Which build of meshsim this is.
#pragma once

#include <string>

namespace meshsim {

// "0.1.0 (build 0ca398...)": the version and the linker's build id, which differs as soon as the
// program does.
std::string program_identity();

}  // namespace meshsim
