// One layout, many plans: gives the leaves of a program the numbers of another plan.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <variant>
#include <vector>

#include "program/step_templates.hpp"

namespace meshsim {

// Whether every size of `program` says where it comes from, and every Repeat inside a Parallel
// counts layers: then its layout serves all plans whose templates have the same forms.
bool is_traced(const StepProgram& program);

Bytes amount_of(std::span<const AmountTerm> terms, std::span<const std::int64_t> numbers);

// The work of a template's operations, by their index.
using TemplateWork = std::vector<std::variant<Compute, Collective>>;
TemplateWork work_of(const LayerTemplate& layer);

// That of the templates of a step, by slot. Those that no leaf refers to may be absent.
using StepWork = std::vector<std::shared_ptr<const TemplateWork>>;

// Sets the bytes of a leaf that no operation of a template describes (and the group that it goes
// over).
void renumber_bytes(Leaf& leaf, std::span<const std::int64_t> numbers);

}  // namespace meshsim
