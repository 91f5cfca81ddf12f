// The commands of meshsim-moe, which `meshsim moe` starts. Each puts its exit code into `result`.
#pragma once

namespace CLI {
class App;
}

namespace meshsim {

void add_moe_check(CLI::App& app, int& result);
void add_moe_run(CLI::App& app, int& result);

}  // namespace meshsim
