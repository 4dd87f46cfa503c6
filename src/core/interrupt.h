#pragma once

namespace lowbank {

/// From here on Ctrl-C (SIGINT) and SIGTERM only set a flag; a second Ctrl-C ends the process.
/// A closed pipe or a file size limit becomes a failed write instead of a signal.
void install_signal_handlers();

/// True after Ctrl-C or SIGTERM. Long loops ask at each step, save their work, and throw
/// Interrupted.
bool interrupt_requested();

}  // namespace lowbank
