#include "moe/run_memory.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include "units/error.hpp"

namespace meshsim {

double run_memory(const RunConfig& run, std::int64_t launched_ranks) {
  const auto real = [](std::int64_t value) { return static_cast<double>(value); };
  const MoeConfig& moe = run.moe;
  const double element = run.bfloat16 ? 2 : 4, d = real(moe.embedding), width = real(moe.width);
  const double experts = real(moe.rule.experts), k = real(moe.rule.top_k);
  // Ranks that are here, as a share of the experts and of the tokens; one more compares them all.
  const double here = launched_ranks == 0 ? 1 : 1 / real(run.ranks);
  const double gates = launched_ranks == 0 ? real(run.ranks) : 1;
  const double copy = run.compare_single_rank && run.ranks > 1 ? 1 : 0;
  const double weights = real(run.layers) * element *
                         (3 * experts * d * width * (here + copy) +
                          (experts + 3 * real(moe.shared_width)) * d * (gates + copy));
  // x, its normalised form and y; rows with gate and up, or h and y, of every choice.
  const double layer = real(run.tokens) * element * (3 * d + k * (d + 2 * width)) * (here + copy);
  const double tokens = 8 * real(run.steps) * real(run.tokens);
  const double table = moe.num_hash_layers > 0 ? 4 * real(moe.vocab) * k : 0;
  const double counts =
      8 * real(run.steps) * real(run.layers) * real(run.expert_ranks()) * experts * gates;
  return weights + layer + tokens + table + counts;
}

void check_run_memory(const RunConfig& run, std::int64_t launched_ranks) {
  const double needed = run_memory(run, launched_ranks);
  const double memory =
      static_cast<double>(::sysconf(_SC_PHYS_PAGES)) * static_cast<double>(::sysconf(_SC_PAGESIZE));
  if (needed < memory) return;
  throw Error(ErrorKind::resource_limit,
              fmt::format("this run needs {:.1f} GiB and this machine has {:.1f} GiB",
                          needed / 0x1p30, memory / 0x1p30),
              "fewer layers=, steps=, tokens= or num_experts=, a smaller base_emb_dim= or "
              "base_moe_mlp_dim=, dtype=bfloat16, or compare_single_rank=false");
}

}  // namespace meshsim
