// The plans of a space, one after the other: every choice of one entry per axis that meets all
// conditions.
//
// A condition is looked at as soon as the axes that it reads are chosen, so that a choice of the
// first axes that can lead to no plan is left at once: the cost is that of the choices that
// survive, not of the product of the axes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "studies/sweep/space.hpp"

namespace meshsim {

// The machine of a choice, as conditions and reports know it; 0 where the choice names none.
struct ChosenMachine {
  std::int64_t chips = 0, slices = 0, devices = 0;
};

using Choice = std::vector<std::uint32_t>;  // per axis, the index of its entry

// What an axis' entries change, laid together: the difference of a choice from the base.
Change change_of(const SweepSpace& space, const Choice& choice);
// The same in place of what `change` held: of neighbours, most of it stays.
void find_change(const SweepSpace& space, const Choice& choice, Change& change);

class Enumeration {
 public:
  // Throws Error as resolve_config does, for a base that no plan could have. `space` must outlive
  // it.
  explicit Enumeration(const SweepSpace& space);

  // The next choice, or false after the last one. Throws Error(invalid_input) for a condition that
  // cannot be computed.
  bool next() { return advance(axes_.size()); }

  // Asked now and then on the way to a choice, which may be long: conditions may leave little of a
  // space. If it says so, there is no next one.
  void stop_when(std::function<bool()> stop) { stop_ = std::move(stop); }

  // How many choices there are, of an enumeration that has not begun; nothing if it was stopped.
  // Axes behind the last one that a condition reads are not walked: their entries are multiplied.
  std::optional<std::int64_t> count();

  const ResolvedConfig& base_config() const { return configs_.at(""); }
  const Choice& choice() const { return choice_; }  // that next() found, and its machine
  const ChosenMachine& machine() const { return machine_; }

 private:
  struct Assigned {
    std::size_t variable;
    Value value;
  };
  struct Entry {
    std::vector<Assigned> variables;             // those it sets
    std::map<std::size_t, std::string> machine;  // index of machine_keys -> text
    std::string model;                           // of model_name, or ""
  };
  struct Condition {
    const Expression* expression;
    std::vector<std::size_t> variables;  // per variable of the expression
    mutable std::vector<const Value*> values;
  };
  struct Axis {
    std::vector<Entry> entries;
    std::vector<std::size_t> variables;  // that some entry sets
    bool sets_machine = false;
    bool sets_model = false;
  };

  bool advance(std::size_t axes);  // to the next choice of the first `axes`
  void read_axes();
  void read_defaults();
  void read_conditions();
  void choose(std::size_t axis, std::uint32_t entry);
  void find_machine();
  bool holds(std::size_t chosen) const;  // the conditions that read the first `chosen` axes

  const SweepSpace& space_;
  std::vector<std::string> names_;  // of the variables; the first three are of the machine
  std::vector<Axis> axes_;
  std::map<std::string, std::vector<Value>> defaults_;  // by the model, where an axis chooses it
  std::map<std::string, ResolvedConfig> configs_;       // that defaults_ refers to
  bool models_differ_ = false;
  const std::vector<Value>* now_ = nullptr;  // of the model that is chosen
  std::vector<std::string> base_machine_;    // per machine key
  static constexpr std::size_t no_axis = ~std::size_t{0};
  std::size_t last_machine_axis_ = no_axis;
  std::map<std::vector<std::string>, ChosenMachine> machines_;
  std::vector<std::vector<Condition>> conditions_;  // by how many axes must be chosen
  std::vector<Value> values_;                       // per variable, now
  ChosenMachine machine_;
  Choice choice_;
  bool started_ = false;
  std::function<bool()> stop_;
  std::uint64_t steps_ = 0;
  bool stopped_ = false;
};

}  // namespace meshsim
