#pragma once

namespace lowbank {

/// From here on Ctrl-C (SIGINT), SIGTERM and a closed terminal (SIGHUP, unless nohup ignores it)
/// only set a flag; a second Ctrl-C ends the process.
/// A closed pipe or a file size limit becomes a failed write instead of a signal.
void install_signal_handlers();

/// True after Ctrl-C, SIGTERM or SIGHUP. Long loops ask at each step, save their work, and throw
/// Interrupted.
bool interrupt_requested();

/// For the loops of a stage that has nothing to save. Errors: Interrupted if interrupt_requested().
void stop_if_interrupted();

}  // namespace lowbank
