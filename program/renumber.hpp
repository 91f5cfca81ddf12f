// One layout, many plans: gives the leaves of a program the numbers of another plan.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "program/step_templates.hpp"

namespace meshsim {

// Whether every size of `program` says where it comes from, and every Repeat inside a Parallel
// counts layers: then its layout serves all plans whose templates have the same forms.
bool is_traced(const StepProgram& program);

Bytes amount_of(std::span<const AmountTerm> terms, std::span<const std::int64_t> numbers);

// Templates whose operations are looked up by their number. Those of slots that no leaf refers to
// may be absent.
class Operations {
 public:
  explicit Operations(const StepTemplates& templates);
  const OpTemplate& at(std::int32_t slot, std::int32_t op) const;  // as in a WorkSource

 private:
  std::vector<std::vector<const OpTemplate*>> by_slot_;
};

// Sets the bytes of a leaf that no operation of a template describes (and the group that it goes
// over).
void renumber_bytes(Leaf& leaf, std::span<const std::int64_t> numbers);

// Sets the work of every leaf of `node`, which is of a traced program.
void renumber(ProgramNode& node, const Operations& operations,
              std::span<const std::int64_t> numbers);

}  // namespace meshsim
