#include "cli/fidelity_option.hpp"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "units/error.hpp"

namespace meshsim {

std::shared_ptr<std::string> add_fidelity_option(CLI::App& command) {
  auto fidelity = std::make_shared<std::string>("closed-form");
  command.add_option("--fidelity", *fidelity, "closed-form (default) or event")->type_name("KIND");
  return fidelity;
}

Fidelity parse_fidelity(const std::string& text) {
  for (const Fidelity fidelity : {Fidelity::closed_form, Fidelity::event}) {
    if (text == name(fidelity)) return fidelity;
  }
  throw Error(ErrorKind::usage, "--fidelity " + printable(text) + " is not known",
              "closed-form or event");
}

}  // namespace meshsim
