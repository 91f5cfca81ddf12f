#include "cli/launched_run.hpp"

#include <algorithm>
#include <cstddef>
#include <string>
#include <vector>

#include "cli/exit_code.hpp"
#include "cli/guarded_main.hpp"
#include "ranks/launched_ranks.hpp"

namespace meshsim {
namespace {

// One byte of every rank, by rank.
std::vector<std::byte> of_all_ranks(Communicator& ranks, int mine) {
  const auto size = static_cast<std::size_t>(ranks.size());
  std::vector<std::byte> send(size, static_cast<std::byte>(mine)), received(size);
  std::vector<Block> blocks(size);
  for (std::size_t i = 0; i < size; ++i) blocks[i] = {static_cast<std::int64_t>(i), 1};
  ranks.all_to_all(send.data(), blocks, received.data(), blocks);
  return received;
}

}  // namespace

int run_launched(const std::function<std::function<int()>(Ranks*)>& prepare) {
  if (launched_ranks() < 2) return prepare(nullptr)();
  LaunchedWorld world;
  Ranks& ranks = world.ranks();
  std::function<int()> run;
  std::string fault;
  int code = exit_done;
  try {
    run = prepare(&ranks);
  } catch (const Error& error) {
    fault = error.what();
    code = exit_code(error.kind());
  }
  const std::vector<std::byte> codes = of_all_ranks(ranks, code);
  const auto failing = std::find_if(codes.begin(), codes.end(),
                                    [](std::byte each) { return each != std::byte{exit_done}; });
  if (failing != codes.end()) {
    if (failing - codes.begin() == ranks.rank()) say(fault);
    return std::to_integer<int>(*failing);
  }
  int result = exit_done;
  bool ended = false;
  const int failed = guarded_main([&] {
    result = run();
    ended = true;
    return exit_done;
  });
  if (!ended) world.abort(failed);  // the others would wait for this rank
  return result;
}

}  // namespace meshsim
