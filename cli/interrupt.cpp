#include "cli/interrupt.hpp"

#include <csignal>
#include <initializer_list>

namespace meshsim {
namespace {

volatile std::sig_atomic_t interrupted = 0;

void remember(int /*signal*/) { interrupted = 1; }

void handle(void (*handler)(int)) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = static_cast<int>(SA_RESETHAND);  // the next one is not caught any more
  for (const int signal : {SIGINT, SIGTERM}) ::sigaction(signal, &action, nullptr);
}

}  // namespace

Interrupt::Interrupt() {
  interrupted = 0;
  handle(remember);
}

Interrupt::~Interrupt() { handle(SIG_DFL); }

bool Interrupt::happened() const { return interrupted != 0; }

}  // namespace meshsim
