#include "core/interrupt.h"

#include <csignal>
#include <cstdlib>
#include <unistd.h>

#include "core/error.h"

namespace lowbank {
namespace {

volatile std::sig_atomic_t g_interrupted = 0;
volatile std::sig_atomic_t g_key_pressed = 0;

void on_signal(int signal) {
  // Only a second Ctrl-C means "at once": SIGTERM may come twice, to the group and passed on.
  if (signal == SIGINT) {
    if (g_key_pressed != 0) _exit(kExitInterrupted);
    g_key_pressed = 1;
  }
  g_interrupted = 1;
}

}  // namespace

void install_signal_handlers() {
  struct sigaction action {};
  action.sa_handler = on_signal;
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  struct sigaction hangup {};
  sigaction(SIGHUP, nullptr, &hangup);
  if (hangup.sa_handler != SIG_IGN) sigaction(SIGHUP, &action, nullptr);  // nohup ignores it
}

void ignore_write_signals() {
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);
}

bool interrupt_requested() { return g_interrupted != 0; }

void stop_if_interrupted() {
  if (interrupt_requested()) {
    throw Interrupted("stopped; nothing was saved, start the same command again");
  }
}

}  // namespace lowbank
