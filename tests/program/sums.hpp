// What a program does in all, for tests.
#pragma once

#include <map>
#include <string>

#include "program/step_program.hpp"

namespace meshsim::testing {

using Bag = std::map<std::string, std::int64_t>;

// Operation name -> bytes sent by one device in `pass`.
inline Bag sent(const StepProgram& program, Pass pass) {
  Bag bytes;
  for_each_leaf(program.root, [&](const Leaf& leaf, std::int64_t times) {
    const auto* work = std::get_if<Collective>(&leaf.work);
    if (work != nullptr && leaf.pass == pass) bytes[leaf.name] += work->sent().value() * times;
  });
  return bytes;
}

// Of the mathematics.
inline FlopCount flops(const StepProgram& program, Pass pass) {
  FlopCount sum;
  for_each_leaf(program.root, [&](const Leaf& leaf, std::int64_t times) {
    const auto* work = std::get_if<Compute>(&leaf.work);
    if (work != nullptr && leaf.pass == pass) sum += work->model_flops * times;
  });
  return sum;
}

// By pass and name: "forward gather_tokens".
struct Sums {
  std::map<std::string, Bytes> sent;         // by one device
  std::map<std::string, std::int64_t> runs;  // of collectives
  std::map<std::string, Bytes> hbm;
  FlopCount executed;  // of products
  FlopCount model;     // of the mathematics
};

inline Sums sums_of(const StepProgram& program) {
  Sums sums;
  for_each_leaf(program.root, [&](const Leaf& leaf, std::int64_t times) {
    const std::string key = std::string(name(leaf.pass)) + " " + leaf.name;
    if (const auto* work = std::get_if<Collective>(&leaf.work)) {
      sums.sent[key] += work->sent() * times;
      sums.runs[key] += times;
    }
    if (const auto* work = std::get_if<Compute>(&leaf.work)) {
      sums.hbm[key] += work->hbm_bytes * times;
      sums.model += work->model_flops * times;
      for (const Matmul& p : work->matmuls)
        sums.executed += FlopCount(2 * p.count * p.m * p.k * p.n * times);
    }
  });
  return sums;
}

}  // namespace meshsim::testing
