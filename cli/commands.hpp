// The commands. Each adds itself to the application; when it is chosen, it puts its exit code into
// `result`.
#pragma once

namespace CLI {
class App;
}

namespace meshsim {

void add_fit(CLI::App& app, int& result);
void add_simulate(CLI::App& app, int& result);
void add_what_if(CLI::App& app, int& result);
void add_explain(CLI::App& app, int& result);
void add_calibrate(CLI::App& app, int& result);
void add_validate(CLI::App& app, int& result);
void add_search(CLI::App& app, int& result);
void add_sweep(CLI::App& app, int& result);
void add_collective(CLI::App& app, int& result);
void add_config(CLI::App& app, int& result);
void add_model(CLI::App& app, int& result);
void add_topology(CLI::App& app, int& result);
void add_moe(CLI::App& app, int& result);
void add_report(CLI::App& app, int& result);
void add_diff(CLI::App& app, int& result);
void add_schema(CLI::App& app, int& result);

}  // namespace meshsim
